//! Runs each test in namespaces of its own.
//!
//! A network namespace belongs to a thread and a mount namespace to a process: so a test runs its own executable again,
//! under `unshare`, for itself alone.

use std::{any::type_name_of_val, env, fs, os::unix::fs::MetadataExt as _, process::Command};

const ISOLATED: &str = "PODWITNESS_TEST_ISOLATED";
/// A BPF file system of the test's own.
pub(crate) const BPFFS: &str = "/run/bpf";

/// Runs `test`, the whole body of a test function, in a network namespace, with a /run and a BPF file system of its own.
pub(crate) fn isolated(test: impl FnOnce()) {
    // The closure's path has the crate's name before the test's, and its own after it.
    let path = type_name_of_val(&test);
    let name = path.split_once("::").and_then(|(_, path)| path.strip_suffix("::{{closure}}")).unwrap();
    if env::var_os(ISOLATED).is_some_and(|isolated| isolated == name) {
        run("mount -t tmpfs tmpfs /run");
        fs::create_dir(BPFFS).unwrap();
        run(&format!("mount -t bpf bpf {BPFFS}"));
        run("ip link set lo up");
        return test();
    }
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    assert!(is_root, "this test loads programs into the kernel: run it as root");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ISOLATED, name)
        .output()
        .expect("unshare (util-linux) is installed");
    let out = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{error}");
    assert!(out.contains("1 passed"), "the test did not run in its namespaces: {out}\n{error}");
    print!("{out}");
}

/// Runs a command line, whose words have no blanks in them.
pub(crate) fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}
