//! What the demo says and leaves when it cannot go on, with scripts in the place of the node's programs. That it goes on
//! when it can is shown where the programs are built: in the workspace's `tests`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The command with two programs beside it, in a folder of its own.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new(agent: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["bin", "tmp", "work"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        install(Path::new(env!("CARGO_BIN_EXE_podwitness")), &folder.path().join("bin/podwitness"));
        let exporter = agent.map(|_| "exec sleep 1000");
        for (name, script) in [("podwitness-agent", agent), ("podwitness-exporter", exporter), ("duckdb", Some(""))] {
            let Some(script) = script else { continue };
            let text = folder.path().join("script");
            fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
            install(&text, &folder.path().join("bin").join(name));
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn demo(&self) -> Command {
        let mut command = Command::new(self.path("bin/podwitness"));
        command
            .arg("demo")
            .current_dir(self.path("work"))
            .env("TMPDIR", self.path("tmp"))
            .env("PODWITNESS_DUCKDB", self.path("bin/duckdb"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Nothing of a lab's folder, no evidence, and no process that knows of either.
    fn assert_nothing_is_left(&self) {
        for name in ["tmp", "work"] {
            let left: Vec<_> = fs::read_dir(self.path(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
        let tmp = self.path("tmp");
        let tmp = tmp.to_str().unwrap();
        for entry in fs::read_dir("/proc").unwrap() {
            let process = entry.unwrap().path();
            // A process that ends while it is looked at is not left behind.
            let command = fs::read(process.join("cmdline")).unwrap_or_default();
            let folder = fs::read_link(process.join("cwd")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            assert!(!command.contains(tmp), "{} is left: {command}", process.display());
            assert!(!folder.starts_with(tmp), "{} is left: {command}", process.display());
        }
    }
}

/// Copies a program in a process of its own: a file that this process has written to cannot be executed while a child of
/// another test, forked meanwhile, still holds it.
fn install(from: &Path, to: &Path) {
    assert!(Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success());
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn who_is_not_root_is_told_so_in_one_sentence() {
    let installed = Installed::new(Some(""));
    let output = installed.demo().uid(65534).gid(65534).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("must run as root"), "{said}");
}

#[test]
fn programs_that_are_not_built_are_named() {
    let installed = Installed::new(None);
    let output = installed.demo().output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cargo build -p podwitness-agent"), "{said}");
    installed.assert_nothing_is_left();
}

#[test]
fn without_duckdb_it_says_how_to_get_it() {
    let installed = Installed::new(Some(""));
    let without = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        said(&output)
    };
    let home = installed.path("work");
    let nowhere = without(installed.demo().env_remove("PODWITNESS_DUCKDB").env("PATH", "").env("XDG_CACHE_HOME", home));
    assert!(nowhere.contains("pip install duckdb-cli"), "{nowhere}");
    let wrong = without(installed.demo().env("PODWITNESS_DUCKDB", "/nowhere/duckdb"));
    assert!(wrong.contains("PODWITNESS_DUCKDB names /nowhere/duckdb"), "{wrong}");
    installed.assert_nothing_is_left();
}

#[test]
fn evidence_is_never_mixed_with_what_is_there() {
    let installed = Installed::new(Some(""));
    let folder = installed.path("bin");
    let output = installed.demo().arg("--evidence").arg(&folder).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("is not empty"), "{said}");
    installed.assert_nothing_is_left();
}

#[test]
fn examples_that_make_no_cluster_are_refused() {
    let installed = Installed::new(Some(""));
    let examples = installed.path("examples");
    fs::create_dir(&examples).unwrap();
    for (text, fault) in [
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n", "0 Node objects"),
        ("kind: [\n", "a.yaml, document 1"),
        ("apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\n", "has spec.nodeName node-a"),
    ] {
        fs::write(examples.join("a.yaml"), text).unwrap();
        let output = installed.demo().arg("--examples").arg(&examples).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(fault), "{said}");
    }
    installed.assert_nothing_is_left();
}

#[test]
fn an_agent_that_fails_ends_the_demo_with_its_log() {
    let installed = Installed::new(Some("echo the verifier said no >&2; exit 1"));
    let output = installed.demo().output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the verifier said no") && said.contains("exit status: 1"), "{said}");
    installed.assert_nothing_is_left();
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let installed = Installed::new(Some("exec sleep 1000"));
    let mut demo = installed.demo().spawn().unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("starting podwitness-agent")));
    kill(Pid::from_raw(demo.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(demo.wait().unwrap().code(), Some(130), "{rest:?}");
    installed.assert_nothing_is_left();
}

#[test]
fn a_killed_demo_takes_its_programs_and_mounts_with_it() {
    let installed = Installed::new(Some("exec sleep 1000"));
    let mut demo = installed.demo().spawn().unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("starting podwitness-agent")));
    let folder = fs::read_dir(installed.path("tmp")).unwrap().next().unwrap().unwrap().path();
    let working_there = || {
        let links =
            fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path().join("cwd")).ok());
        links.filter(|link| link.starts_with(&folder)).count()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let wait_for = |processes: usize| {
        while working_there() != processes {
            assert!(std::time::Instant::now() < deadline, "there are {} and not {processes}", working_there());
            std::thread::yield_now();
        }
    };
    wait_for(2);
    demo.kill().unwrap();
    demo.wait().unwrap();
    wait_for(0);
    // The folder is left, and nothing is in it: what was mounted on it went with the demo's mount namespace.
    assert_empty(&folder);
}

fn assert_empty(folder: &Path) {
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "{} is not empty", folder.display());
}
