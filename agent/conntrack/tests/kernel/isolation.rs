//! Runs each test in namespaces of its own.
//!
//! A network namespace belongs to a thread and a mount namespace to a process: so a test runs its own executable again,
//! under `unshare`, for itself alone.

use std::{
    any::type_name_of_val,
    env, fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

const ISOLATED: &str = "PODWITNESS_TEST_ISOLATED";

/// Runs `test`, the whole body of a test function, in a network namespace and with a /run of its own.
pub(crate) fn isolated(test: impl FnOnce()) {
    isolated_under(&[], test);
}

/// The same, without the right to ask about the network namespace.
pub(crate) fn isolated_without_net_admin(test: impl FnOnce()) {
    isolated_under(&["setpriv", "--bounding-set", "-net_admin", "--"], test);
}

fn isolated_under(wrapper: &[&str], test: impl FnOnce()) {
    // The closure's path has the crate's name before the test's, and its own after it.
    let path = type_name_of_val(&test);
    let name = path.split_once("::").and_then(|(_, path)| path.strip_suffix("::{{closure}}")).unwrap();
    if env::var_os(ISOLATED).is_some_and(|isolated| isolated == name) {
        run("mount -t tmpfs tmpfs /run");
        return test();
    }
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    assert!(is_root, "this test makes network namespaces: run it as root");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .args(wrapper)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ISOLATED, name)
        .output()
        .expect("unshare (util-linux) is installed");
    let out = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{error}");
    assert!(out.contains("1 passed"), "the test did not run in its namespaces: {out}\n{error}");
}

/// Runs a command line, whose words have no blanks in them.
pub(crate) fn run(line: &str) {
    run_with(line, "");
}

/// The same, with something to read.
pub(crate) fn run_with(line: &str, input: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}
