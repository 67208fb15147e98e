//! How the lab runs the node's programs, shown with scripts in their place.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use podwitness_config::Config;
use podwitness_lab::{Lab, LabError, Program, Programs};

const LIMIT: Duration = Duration::from_secs(10);

/// Two programs in a folder that only root may enter, as a home folder is.
fn scripts(agent: &str, exporter: &str) -> (tempfile::TempDir, Programs) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // One of them as a umask of 077 leaves it.
    for (name, script, mode) in [("podwitness-agent", agent, "755"), ("podwitness-exporter", exporter, "700")] {
        let text = folder.path().join("script");
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // In a process of its own: a file that this process has written to cannot be executed while a child of another
        // test, forked meanwhile, still holds it.
        let mut install = Command::new("install");
        install.args(["-m", mode]).args([&text, &folder.path().join(name)]);
        assert!(install.status().unwrap().success());
    }
    let programs = Programs::in_folder(folder.path()).unwrap();
    (folder, programs)
}

fn wait_for_log(program: &Program, text: &str) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let log = program.log_tail(1000);
        if log.contains(text) {
            return log;
        }
        assert!(Instant::now() < deadline, "`{text}` is not in the log:\n{log}");
        std::thread::yield_now();
    }
}

const SHOW_AND_STAY: &str = "cat /proc/self/status; echo \"arguments: $*\"; exec sleep 1000";

#[test]
fn the_exporter_has_no_privilege_and_shares_the_spool() {
    let lab = Lab::new().unwrap();
    let in_spool = lab.path().join("spool");
    let script =
        format!("umask 007; mkdir {0}/exporter && echo 1 > {0}/exporter/cursor\n{SHOW_AND_STAY}", in_spool.display());
    let (_folder, programs) = scripts(SHOW_AND_STAY, &script);
    let installation = lab.install(&programs, None).unwrap();
    let agent = installation.start_agent().unwrap();
    let exporter = installation.start_exporter().unwrap();
    let root = wait_for_log(&agent, "arguments:");
    let nobody = wait_for_log(&exporter, "arguments:");
    let configuration = format!("arguments: --config {}", installation.configuration_path().display());
    assert!(root.contains(&configuration) && nobody.contains(&configuration), "{nobody}");
    assert!(root.contains("\nUid:\t0\t0\t0\t0\n"), "{root}");
    for line in [
        "\nUid:\t65534\t65534\t65534\t65534\n",
        "\nGid:\t65534\t65534\t65534\t65534\n",
        "\nGroups:\t \n",
        "\nCapPrm:\t0000000000000000\n",
        "\nCapEff:\t0000000000000000\n",
        "\nCapAmb:\t0000000000000000\n",
        "\nNoNewPrivs:\t1\n",
    ] {
        assert!(nobody.contains(line), "{line:?} is not in {nobody}");
    }
    // What the agent makes in the spool belongs to the group that both share.
    fs::create_dir(in_spool.join("segments")).unwrap();
    assert_eq!(fs::metadata(in_spool.join("segments")).unwrap().gid(), 65534);
    assert_eq!(fs::metadata(in_spool.join("exporter/cursor")).unwrap().uid(), 65534);
}

#[test]
fn evidence_goes_to_the_folder_that_was_given() {
    let evidence = tempfile::tempdir().unwrap();
    let lab = Lab::new().unwrap();
    let root = lab.path().join("evidence");
    let (_folder, programs) = scripts("exit 0", &format!("echo row > {}/file && echo written", root.display()));
    let installation = lab.install(&programs, Some(evidence.path())).unwrap();
    assert_eq!(installation.evidence_path(), root);
    let exporter = installation.start_exporter().unwrap();
    wait_for_log(&exporter, "written");
    drop((exporter, installation, lab));
    assert_eq!(fs::read_to_string(evidence.path().join("file")).unwrap(), "row\n");
}

#[test]
fn the_configuration_is_one_that_the_programs_accept() {
    let lab = Lab::new().unwrap();
    let (_folder, programs) = scripts("exit 0", "exit 0");
    let installation =
        lab.install(&programs, None).unwrap().set("batch.maxAge", "2s").set("labels.columns", vec!["app"]);
    let _agent = installation.start_agent().unwrap();
    let config = Config::load(&installation.configuration_path(), &|_| None).unwrap();
    assert_eq!(config.node, "node-a");
    assert_eq!(config.endpoints.netns, lab.netns_path());
    assert_eq!(config.batch.max_age, Duration::from_secs(2));
    assert_eq!(config.labels.columns, ["app"]);
    assert!(config.bpffs.starts_with(lab.bpffs_path()));
    assert_eq!(config.store.url, format!("file://{}", lab.path().join("evidence").display()));
}

#[test]
fn a_program_that_ends_early_is_reported_with_its_log() {
    let lab = Lab::new().unwrap();
    let (_folder, programs) = scripts("echo no such map >&2; exit 3", "exit 0");
    let mut agent = lab.install(&programs, None).unwrap().start_agent().unwrap();
    let error = agent.wait_ready(LIMIT).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LabError::Ended { .. }), "{text}");
    assert!(
        text.contains("podwitness-agent") && text.contains("exit status: 3") && text.contains("no such map"),
        "{text}"
    );
}

#[test]
fn a_program_is_ready_when_it_says_so_on_the_node() {
    let lab = Lab::new().unwrap();
    let (_folder, programs) = scripts("exec sleep 1000", "exit 0");
    let mut agent = lab.install(&programs, None).unwrap().start_agent().unwrap();
    assert!(!agent.is_ready().unwrap(), "nobody listens yet");
    let listener = lab.on_node(|| std::net::TcpListener::bind("127.0.0.1:9464")).unwrap().unwrap();
    let answers =
        ["503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhooks", "200 OK\r\nContent-Length: 2\r\n\r\nok"];
    let server = std::thread::spawn(move || {
        for answer in [answers[0], answers[0], answers[1], answers[1]] {
            let (mut caller, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = caller.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            write!(caller, "HTTP/1.1 {answer}").unwrap();
        }
    });
    let error = agent.wait_ready(Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("503 hooks"), "{error}");
    agent.wait_ready(LIMIT).unwrap();
    assert_eq!(agent.get("/readyz").unwrap(), (200, "ok".to_owned()));
    server.join().unwrap();
}

#[test]
fn a_program_is_stopped_by_signal_and_started_again() {
    let lab = Lab::new().unwrap();
    let (_folder, programs) =
        scripts("trap 'echo stopping; exit 0' TERM; echo up; while :; do :; done", "exec sleep 1000");
    let installation = lab.install(&programs, None).unwrap();
    let agent = installation.start_agent().unwrap();
    wait_for_log(&agent, "up");
    let log = agent.log_path().to_owned();
    assert!(agent.terminate(LIMIT).unwrap().success());
    let again = installation.start_agent().unwrap();
    let pid = again.pid();
    again.kill().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(fs::read_to_string(log).unwrap().starts_with("up\nstopping\n"));
    let exporter = installation.start_exporter().unwrap();
    let pid = exporter.pid();
    drop(exporter);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn programs_that_are_not_built_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let error = Programs::in_folder(empty.path()).unwrap_err().to_string();
    assert!(
        error.contains("podwitness-agent is not in") && error.contains("cargo build -p podwitness-agent"),
        "{error}"
    );
}
