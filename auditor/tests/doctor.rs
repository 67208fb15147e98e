//! `podwitness doctor` as a person runs it, on the node of a lab with the programs of this build on it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwitness_lab::{Installation, Lab, Pod, PodSpec, Program, Programs};
use serde_json::Value;

const DOCTOR: &str = env!("CARGO_BIN_EXE_podwitness");
const LIMIT: Duration = Duration::from_secs(60);

/// A node with its agent and exporter, and one pod.
struct Node {
    agent: Option<Program>,
    exporter: Program,
    installation: Installation,
    pod: Pod,
    lab: Lab,
}

impl Node {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let installation = lab.install(&Programs::beside_this().unwrap(), None).unwrap();
        lab.cluster().node().unwrap();
        lab.cluster().namespace("shop", &[]).unwrap();
        let spec = PodSpec::new("shop", "api", &["10.1.0.1".parse().unwrap()]);
        lab.cluster().pod(&spec).unwrap();
        let pod = lab.pod(spec).unwrap();
        let mut agent = installation.start_agent().unwrap();
        let mut exporter = installation.start_exporter().unwrap();
        agent.wait_ready(LIMIT).unwrap();
        exporter.wait_ready(LIMIT).unwrap();
        Self { agent: Some(agent), exporter, installation, pod, lab }
    }

    /// Asks on the node, with this configuration.
    fn ask(&self, configuration: &Path) -> Answer {
        self.ask_more(configuration, &[])
    }

    fn ask_more(&self, configuration: &Path, more: &[&str]) -> Answer {
        let mut command = self.lab.node().command(DOCTOR);
        command.args(["doctor", "-o", "json", "--config"]).arg(configuration).args(more);
        Answer::of(&command.output().unwrap())
    }

    fn ask_as_installed(&self) -> Answer {
        self.ask(&self.installation.configuration_path())
    }

    /// The names of the checks of one program alone.
    fn names_of_one(&self, program: &str) -> Vec<String> {
        let answer = self.ask_more(&self.installation.configuration_path(), &["--only", program]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.checks.iter().map(|check| check["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The node's configuration with a key of the outermost section replaced.
    fn configured(&self, key: &str, value: Value) -> PathBuf {
        let text = fs::read_to_string(self.installation.configuration_path()).unwrap();
        let mut settings: Value = serde_saphyr::from_str(&text).unwrap();
        settings[key] = value;
        let path = self.lab.path().join(format!("other-{key}.yaml"));
        fs::write(&path, settings.to_string()).unwrap();
        path
    }
}

/// What the doctor printed, and its exit code.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    checks: Vec<Value>,
    said: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let checks = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        Self { code: output.status.code(), checks, said }
    }

    fn all(&self, name: &str) -> Vec<&Value> {
        self.checks.iter().filter(|check| check["name"] == name).collect()
    }

    /// The one check of this name.
    fn one(&self, name: &str) -> &Value {
        let found = self.all(name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0]
    }

    fn state(&self, name: &str) -> &str {
        self.one(name)["state"].as_str().unwrap()
    }

    fn found(&self, name: &str) -> &str {
        self.one(name)["found"].as_str().unwrap()
    }

    /// The names of those that failed, each once.
    fn failed(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|check| check["state"] == "failed");
        let mut names: Vec<&str> = failed.map(|check| check["name"].as_str().unwrap()).collect();
        names.dedup();
        names
    }
}

#[test]
fn a_node_that_works_has_no_failure_and_the_checks_that_scripts_know() {
    let node = Node::new();
    let answer = node.ask_as_installed();
    assert_eq!(answer.failed(), Vec::<&str>::new(), "{answer:#?}");
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    // The names, in their order: what scripts may rely on.
    let names: Vec<&str> = answer.checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    let golden = include_str!("doctor.names.txt");
    assert_eq!(names, golden.lines().collect::<Vec<_>>());
    for check in &answer.checks {
        let keys: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["advice", "found", "name", "state", "subject"], "{check}");
        assert_eq!(check["advice"].is_null(), check["state"] == "ok", "{check}");
        assert!(!check["found"].as_str().unwrap().is_empty(), "{check}");
    }
    for name in ["kernel.programs", "bpffs", "endpoints.hooks", "endpoints.pods", "store", "agent", "exporter"] {
        assert_eq!(answer.state(name), "ok", "{:?}", answer.one(name));
    }
    assert!(answer.found("store").contains("layout 1"), "{answer:#?}");
    // A lab is a tmpfs.
    assert_eq!(answer.state("spool.file-system"), "warning");
}

/// Neither program's container has what the other one's has.
#[test]
fn a_program_alone_is_not_asked_what_only_the_other_one_can_answer() {
    let node = Node::new();
    let agent = node.names_of_one("agent");
    assert!(
        agent.iter().any(|name| name == "kernel.programs") && agent.iter().all(|name| name != "store"),
        "{agent:?}"
    );
    let exporter = node.names_of_one("exporter");
    let of_agent = |name: &str| ["kernel.", "endpoints.", "routes."].iter().any(|part| name.starts_with(part));
    let others = ["privileges", "bpffs", "source"];
    assert!(exporter.iter().any(|name| name == "store"), "{exporter:?}");
    assert!(!exporter.iter().any(|name| of_agent(name) || others.contains(&name.as_str())), "{exporter:?}");
}

#[test]
fn a_person_gets_a_table_that_ends_with_a_count() {
    let output = Command::new(DOCTOR).arg("doctor").output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("kernel.btf") && table.contains("what to do"), "{table}");
    let last = table.trim_end().lines().last().unwrap();
    assert!(last.contains(" checks: ") && last.contains(" ok"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
}

#[test]
fn an_interface_without_hooks_fails_and_so_does_an_agent_that_is_gone() {
    let mut node = Node::new();
    node.agent.take().unwrap().terminate(LIMIT).unwrap();
    // Enforcement outlives the agent: what it had hooked stays hooked.
    let gone = node.ask_as_installed();
    assert_eq!((gone.code, gone.failed()), (Some(1), vec!["agent"]), "{gone:#?}");
    assert!(gone.said.contains("failed: agent"), "{}", gone.said);
    assert_eq!(gone.state("endpoints.hooks"), "ok");

    let late = PodSpec::new("shop", "late", &["10.1.0.2".parse().unwrap()]);
    node.lab.cluster().pod(&late).unwrap();
    let late = node.lab.pod(late).unwrap();
    let answer = node.ask_as_installed();
    assert_eq!((answer.code, answer.failed()), (Some(1), vec!["endpoints.hooks", "agent"]), "{answer:#?}");
    let hooks = answer.one("endpoints.hooks");
    assert_eq!(hooks["subject"], format!("{} (shop_late)", late.host_interface().name));
    assert!(hooks["found"].as_str().unwrap().starts_with("it has no hook"), "{hooks}");
}

#[test]
fn an_interface_that_cannot_be_hooked_is_named_with_its_reason() {
    let node = Node::new();
    // Between two pods, past the node.
    let spec = PodSpec::new("shop", "other", &["10.1.0.3".parse().unwrap()]);
    node.lab.cluster().pod(&spec).unwrap();
    let other = node.lab.pod(spec).unwrap();
    let mut pair = node.pod.command("ip");
    pair.args(["link", "add", "past0", "type", "veth", "peer", "name", "past0", "netns"]).arg(other.path());
    assert!(pair.status().unwrap().success());
    let answer = node.ask_as_installed();
    assert_eq!(answer.code, Some(1));
    let past = answer.all("endpoints.unhooked");
    assert_eq!(past.len(), 2, "{answer:#?}");
    assert_eq!(past[0]["subject"], "past0 of kind veth in shop_api");
    assert!(past[0]["found"].as_str().unwrap().contains("in another namespace than the agent's"), "{past:?}");
}

#[test]
fn a_pod_that_has_no_interface_here_is_named() {
    let node = Node::new();
    node.lab.cluster().pod(&PodSpec::new("shop", "ghost", &["10.1.0.9".parse().unwrap()])).unwrap();
    let answer = node.ask_as_installed();
    assert_eq!(answer.state("endpoints.pods"), "failed");
    assert!(answer.found("endpoints.pods").ends_with("shop/ghost"), "{answer:#?}");
}

#[test]
fn somebody_else_s_filter_at_an_interface_is_shown_in_its_place() {
    let node = Node::new();
    let interface = &node.pod.host_interface().name;
    let tc = |words: &[&str]| {
        assert!(node.lab.node().command("tc").args(words).status().unwrap().success(), "tc {words:?}");
    };
    tc(&["qdisc", "add", "dev", interface, "clsact"]);
    // Classic BPF that returns 0: a filter that matches nothing.
    tc(&["filter", "add", "dev", interface, "ingress", "pref", "9", "bpf", "bytecode", "1,6 0 0 0,"]);
    let answer = node.ask_as_installed();
    let order = answer.one("endpoints.order");
    assert_eq!(order["subject"], format!("{interface} (shop_api)"));
    let found = order["found"].as_str().unwrap();
    let (ours, theirs) = (found.find("pw_from_pod").unwrap(), found.find(", bpf (priority 9)").unwrap());
    assert!(ours < theirs, "{found}");
    assert_eq!((order["state"].as_str(), answer.code), (Some("ok"), Some(0)), "{answer:#?}");
}

#[test]
fn what_the_configuration_points_at_is_looked_at() {
    let node = Node::new();
    let nowhere = node.lab.path().join("nowhere");
    let cases = [
        ("bpffs", Value::from(nowhere.to_str()), vec!["bpffs", "endpoints.hooks"]),
        ("endpoints", serde_json::json!({"netns": nowhere}), vec!["endpoints.folder", "endpoints.pods"]),
        ("store", serde_json::json!({"url": nowhere}), vec!["store"]),
        ("spool", serde_json::json!({"path": nowhere}), vec!["spool.folder"]),
        ("source", serde_json::json!({"directory": nowhere}), vec!["source"]),
        ("listen", serde_json::json!({"agent": "127.0.0.1:1", "exporter": "127.0.0.1:9465"}), vec!["agent"]),
    ];
    for (key, value, failed) in cases {
        let answer = node.ask(&node.configured(key, value));
        assert_eq!((answer.failed(), answer.code), (failed, Some(1)), "{key}: {answer:#?}");
        assert!(!nowhere.exists(), "{key}: looking made it");
        if key == "bpffs" {
            // With other pins, whoever is at the hooks is another agent.
            assert_eq!(answer.state("endpoints.order"), "warning");
            assert!(answer.found("endpoints.order").contains("pw_from_pod (another agent's"), "{answer:#?}");
        }
    }
}

#[test]
fn a_program_that_is_not_ready_says_what_it_waits_for() {
    let node = Node::new();
    node.lab.cluster().write("broken.yaml", "kind: [\n").unwrap();
    let deadline = std::time::Instant::now() + LIMIT;
    let waits = loop {
        let answer = node.ask_as_installed();
        if answer.failed().contains(&"agent") {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:#?}");
    };
    assert!(waits.found("agent").contains("it still waits for: everything in the source can be read"), "{waits:#?}");
    assert!(waits.failed().contains(&"source"), "{waits:#?}");
    assert_eq!(node.exporter.get("/readyz").unwrap().0, 200);
}

#[test]
fn looking_changes_nothing_on_the_node() {
    let node = Node::new();
    let everything = || {
        let mut text = String::new();
        for words in ["ip -o link", "ip -o address", "ip route", "tc qdisc"] {
            let mut words = words.split(' ');
            let output = node.lab.node().command(words.next().unwrap()).args(words).output().unwrap();
            text.push_str(&String::from_utf8(output.stdout).unwrap());
        }
        for folder in [node.lab.bpffs_path(), node.lab.netns_path()] {
            walk(&folder, &mut text);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        // Other tests make and remove labs of their own meanwhile.
        let of_this =
            |line: &&str| !line.contains("podwitness-lab-") || line.contains(node.lab.path().to_str().unwrap());
        text + &mounts.lines().filter(of_this).collect::<Vec<_>>().join("\n")
    };
    let before = everything();
    node.ask_as_installed();
    assert_eq!(everything(), before);
}

fn walk(folder: &Path, text: &mut String) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        text.push_str(&entry.to_string_lossy());
        text.push('\n');
        if entry.is_dir() {
            walk(&entry, text);
        }
    }
}

#[test]
fn without_a_configuration_it_says_what_it_left_out() {
    let output = Command::new(DOCTOR).args(["doctor", "-o", "json"]).output().unwrap();
    let answer = Answer::of(&output);
    assert_eq!(answer.state("configuration"), "unknown");
    assert!(answer.found("configuration").contains("were left out"), "{answer:#?}");
    assert_eq!(answer.state("kernel.programs"), "ok");
    assert!(answer.all("endpoints.hooks").is_empty());
}

#[test]
fn a_configuration_that_is_wrong_is_a_wrong_question() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, "cluster: c\nsource: {directory: .}\nstore: {url: .}\nbpfs: /sys/fs/bpf\n").unwrap();
    for (file, words) in [(wrong, "bpfs"), (folder.path().join("nowhere.yaml"), "cannot be read")] {
        let output = Command::new(DOCTOR).args(["doctor", "--config"]).arg(file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let format = Command::new(DOCTOR).args(["doctor", "-o", "xml"]).output().unwrap();
    assert_eq!(format.status.code(), Some(2));
}

#[test]
fn who_is_not_root_learns_what_that_leaves_unknown_and_cannot_probe() {
    let folder = Installed::new("");
    let ask = |words: &[&str]| {
        let mut command = Command::new(folder.program());
        command.args(words).uid(65534).gid(65534).output().unwrap()
    };
    let answer = Answer::of(&ask(&["doctor", "-o", "json"]));
    assert_eq!((answer.code, answer.failed()), (Some(1), vec!["privileges"]), "{answer:#?}");
    assert_eq!(answer.state("kernel.programs"), "unknown");
    assert_eq!(answer.state("kernel.helpers"), "unknown");
    let probe = ask(&["doctor", "--probe"]);
    let said = String::from_utf8(probe.stderr).unwrap();
    assert_eq!((probe.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("must run as root"), "{said}");
}

#[test]
fn the_probe_shows_one_connection_allowed_and_one_denied_with_their_records() {
    let tmp = tempfile::tempdir().unwrap();
    fs::set_permissions(tmp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(DOCTOR);
    command.args(["doctor", "--probe", "-o", "json"]).env("TMPDIR", tmp.path());
    let answer = Answer::of(&command.output().unwrap());
    for (name, words) in [
        ("probe.allowed", ["10.1.0.2:8080/TCP was answered", "ingress allow (rule) by doctor/allow-one-port[0]"]),
        ("probe.denied", ["10.1.0.2:8081/TCP was not answered", "ingress deny (no-rule) by doctor/allow-one-port"]),
    ] {
        assert_eq!(answer.state(name), "ok", "{answer:#?}");
        for words in words {
            assert!(answer.found(name).contains(words), "{words}: {answer:#?}");
        }
    }
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn the_probe_comes_after_the_checks_of_the_node_and_leaves_its_programs_alone() {
    let node = Node::new();
    let mut command = node.lab.node().command(DOCTOR);
    command.args(["doctor", "--probe", "-o", "json", "--config"]).arg(node.installation.configuration_path());
    let answer = Answer::of(&command.output().unwrap());
    assert_eq!((answer.code, answer.failed()), (Some(0), vec![]), "{answer:#?}");
    assert_eq!([answer.state("agent"), answer.state("probe.allowed"), answer.state("probe.denied")], ["ok"; 3]);
    assert_eq!(node.ask_as_installed().failed(), Vec::<&str>::new());
}

/// The command with programs beside it that are scripts.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new(agent: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["bin", "tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        // In a process of its own: a file that this process has written to cannot be executed while a child of another
        // test, forked meanwhile, still holds it.
        let install = |from: &Path, name: &str| {
            let to = folder.path().join("bin").join(name);
            assert!(Command::new("install").args(["-m", "755"]).arg(from).arg(to).status().unwrap().success());
        };
        install(Path::new(DOCTOR), "podwitness");
        for (name, script) in [("podwitness-agent", agent), ("podwitness-exporter", "exec sleep 1000")] {
            let text = folder.path().join("script");
            fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
            install(&text, name);
        }
        Self { folder }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("bin/podwitness")
    }

    fn tmp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    fn probe(&self) -> Command {
        let mut command = Command::new(self.program());
        command.args(["doctor", "--probe", "-o", "json"]).env("TMPDIR", self.tmp()).stdin(Stdio::null());
        command
    }

    /// Nothing of a lab's folder, and no process that works in it.
    fn assert_nothing_is_left(&self) {
        assert_eq!(fs::read_dir(self.tmp()).unwrap().count(), 0);
        for entry in fs::read_dir("/proc").unwrap() {
            // A process that ends while it is looked at is not left behind.
            let works_in = fs::read_link(entry.unwrap().path().join("cwd")).unwrap_or_default();
            assert!(!works_in.starts_with(self.tmp()), "{}", works_in.display());
        }
    }
}

#[test]
fn a_probe_whose_agent_fails_is_a_failed_check_with_its_log() {
    let installed = Installed::new("echo the verifier said no >&2; exit 1");
    let answer = Answer::of(&installed.probe().output().unwrap());
    assert_eq!((answer.code, answer.failed()), (Some(1), vec!["probe"]), "{answer:#?}");
    assert!(answer.found("probe").contains("the verifier said no"), "{answer:#?}");
    assert_eq!(answer.state("kernel.programs"), "ok");
    installed.assert_nothing_is_left();
}

#[test]
fn an_interrupted_probe_leaves_nothing() {
    let installed = Installed::new("echo started >&2; exec sleep 1000");
    let mut probe = installed.probe().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(probe.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("waiting for the agent")));
    kill(Pid::from_raw(probe.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.collect();
    let mut printed = String::new();
    probe.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!((probe.wait().unwrap().code(), printed.as_str()), (Some(130), ""), "{rest:?}");
    installed.assert_nothing_is_left();
}

#[test]
fn programs_that_are_not_there_are_named_before_anything_is_looked_at() {
    let installed = Installed::new("");
    fs::remove_file(installed.folder.path().join("bin/podwitness-exporter")).unwrap();
    let output = installed.probe().output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.contains("cargo build -p podwitness-exporter"), "{said}");
}
