//! The cluster, and its commands.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_lab::NetNs;
use podwitness_tests::scenario::wait_within;
use serde_json::Value;

use crate::release::Release;

/// How long anything of a cluster is waited for: its programs start, stop and time out in seconds, on a machine that does
/// other things too.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// Its nodes.
pub(crate) const NODES: [&str; 2] = ["node-1", "node-2"];

static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);

/// A running cluster.
pub(crate) struct Cluster {
    folder: PathBuf,
    /// What is installed on it.
    pub(crate) release: Option<Release>,
    /// Ends the cluster when this program ends, however it ends: then its standard input is closed.
    end: Child,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.end.stdin.take());
        // It says itself what it cannot do.
        let _ = self.end.wait();
    }
}

/// Does something on the cluster, which nothing else does at that time. Starts it where it does not run; where the work fails, the
/// logs are kept and the cluster ends.
pub(crate) fn on_cluster(test: &str, work: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = match &mut *shared {
        Some(cluster) => cluster,
        none => none.insert(Cluster::start()?),
    };
    let worked = work(cluster).map_err(|error| {
        let kept = cluster.keep_logs(test).map_or_else(|error| format!("{error:#}"), |path| path.display().to_string());
        error.context(format!("logs: {kept}"))
    });
    if worked.is_err() {
        // The next test does not find what this one has left.
        *shared = None;
    }
    worked
}

impl Cluster {
    fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("podwitness-kubernetes-{}", std::process::id()));
        let end = Command::new("bash")
            .args(["-c", r#"read -r _; exec "$1" -C "$2""#, "bash"])
            .args([&script("down"), &folder])
            .stdin(Stdio::piped())
            .spawn()?;
        let cluster = Self { folder, release: None, end };
        run(cluster.command("up").args(["--nodes", &NODES.len().to_string()]))?;
        Ok(cluster)
    }

    /// A command of `tests/cluster`, on this cluster.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(script(name));
        command.arg("-C").arg(&self.folder);
        command
    }

    /// `kubectl`, and what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(self.command("kubectl").args(arguments))
    }

    /// `kubectl` with a text on its standard input, and what it prints.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        run_with(self.command("kubectl").args(arguments), input)
    }

    /// `kubectl ... -o json`.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&[arguments, &["-o", "json"]].concat())?)?)
    }

    /// `kubectl apply` of one object, or of several in one text.
    pub(crate) fn apply(&self, objects: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-f", "-"], objects).map(drop)
    }

    /// `kubectl wait` with the limit of these tests.
    pub(crate) fn kubectl_wait(&self, arguments: &[&str]) -> Result<()> {
        let limit = format!("--timeout={}s", LIMIT.as_secs());
        self.kubectl(&[&["wait", &limit], arguments].concat()).map(drop)
    }

    /// Does something (`start`, `stop`, `kill`, `restart`) with a program of a node.
    pub(crate) fn program(&self, node: &str, action: &str, program: &str) -> Result<()> {
        run(self.command("program").args(["-n", node, action, program])).map(drop)
    }

    /// A command beside the control plane, with the machine's files.
    pub(crate) fn beside(&self, program: &Path) -> Command {
        let mut command = self.command("enter");
        command.arg(program);
        command
    }

    /// The network namespace of a node.
    pub(crate) fn node_netns(&self, node: &str) -> Result<NetNs> {
        Ok(NetNs::open(self.node_process(node)?.join("ns/net"))?)
    }

    /// A file as the node sees it.
    pub(crate) fn node_path(&self, node: &str, path: &str) -> Result<PathBuf> {
        Ok(self.node_process(node)?.join("root").join(path.trim_start_matches('/')))
    }

    /// The first process of a node, in this machine's `/proc`.
    fn node_process(&self, node: &str) -> Result<PathBuf> {
        let number =
            |path: PathBuf| fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
        let first = number(self.folder.join("pid"))?;
        // It is one of the cluster's own process numbers.
        let within = number(self.folder.join("nodes").join(node).join("pid"))?;
        Ok(Path::new("/proc").join(first.trim()).join("root/proc").join(within.trim()))
    }

    /// What a program of the node serves at a port of its own, such as `/metrics`.
    pub(crate) fn ask(&self, node: &str, port: u16, path: &str) -> Result<String> {
        let url = format!("http://127.0.0.1:{port}{path}");
        run(self.node_netns(node)?.command("curl").args(["--silent", "--show-error", "--max-time", "10", &url]))
    }

    /// Where the cluster's files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything that helps to see why a test failed, put where it stays.
    fn keep_logs(&self, test: &str) -> Result<PathBuf> {
        let kept = podwitness_tests::cache().context("there is no HOME")?.join("kubernetes-test-logs").join(test);
        let _ = fs::remove_dir_all(&kept);
        fs::create_dir_all(&kept)?;
        let said = |arguments: &[&str]| self.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}"));
        fs::write(kept.join("objects.txt"), said(&["get", "all,audittrails,networkpolicies", "-A", "-o", "wide"]))?;
        fs::write(kept.join("pods.txt"), said(&["describe", "pods", "-A"]))?;
        fs::write(kept.join("events.txt"), said(&["get", "events", "-A", "--sort-by=.lastTimestamp"]))?;
        // The logs of containers are those that the nodes have kept, also of those that are gone.
        let copy = r#"cp -r "$1/log" "$2/"; for node in "$1"/nodes/*/; do
            mkdir -p "$2/$(basename "$node")"; cp -r "$node"log/pods "$2/$(basename "$node")/"; done"#;
        run(Command::new("bash").args(["-c", copy, "bash"]).args([&self.folder, &kept]))?;
        Ok(kept)
    }
}

/// Waits as [`wait_within`], with the limit of these tests.
pub(crate) fn wait(what: &str, holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_within(LIMIT, what, holds)
}

/// Below the repository's root.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn script(name: &str) -> PathBuf {
    repository("tests/cluster").join(name)
}

/// Runs it, and returns what it prints. It must succeed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    run_with(command, "")
}

/// The same, with a text on its standard input.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Result<String> {
    let (code, out, said) = outcome_with(command, input)?;
    ensure!(code == Some(0), "{command:?} ended with {code:?}: {said}{out}");
    Ok(out)
}

/// Runs it, and returns its exit code, what it prints, and what it says on standard error.
pub(crate) fn outcome(command: &mut Command) -> Result<(Option<i32>, String, String)> {
    outcome_with(command, "")
}

fn outcome_with(command: &mut Command, input: &str) -> Result<(Option<i32>, String, String)> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run {command:?}"))?;
    match child.stdin.take().context("its input is piped")?.write_all(input.as_bytes()) {
        // It ended before it had read all: its exit code says why.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => bail!("cannot write to {command:?}: {error}"),
        Ok(()) => {}
    }
    let output = child.wait_with_output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}
