"""Runs auditor/verify.py for each line of arguments (a JSON list) that comes in, each in a process of its own that has the
libraries loaded; for each a line goes out, with the exit code and what was said."""
import importlib.util
import json
import os
import sys
import traceback

script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../auditor/verify.py")
spec = importlib.util.spec_from_file_location("verify", script)
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)

for line in sys.stdin:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.dup2(writes, 1)
            sys.argv = [script, *json.loads(line)]
            code = verify.main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        told = pipe.read()
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told]), flush=True)
