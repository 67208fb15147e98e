//! The cluster, and its commands.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use podwitness_lab::NetNs;
pub(crate) use podwitness_tests::cluster::{outcome, repository, run, run_with};
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
    running: podwitness_tests::cluster::Cluster,
    /// What is installed on it.
    pub(crate) release: Option<Release>,
}

impl Deref for Cluster {
    type Target = podwitness_tests::cluster::Cluster;

    fn deref(&self) -> &Self::Target {
        &self.running
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
        let nodes = NODES.len().to_string();
        let running = podwitness_tests::cluster::Cluster::start("podwitness-kubernetes", &["--nodes", &nodes])?;
        Ok(Self { running, release: None })
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
        let first = self.first_process()?.to_string();
        // It is one of the cluster's own process numbers.
        let within = number(self.folder().join("nodes").join(node).join("pid"))?;
        Ok(Path::new("/proc").join(first).join("root/proc").join(within.trim()))
    }

    /// What a program of the node serves at a port of its own, such as `/metrics`.
    pub(crate) fn ask(&self, node: &str, port: u16, path: &str) -> Result<String> {
        let url = format!("http://127.0.0.1:{port}{path}");
        run(self.node_netns(node)?.command("curl").args(["--silent", "--show-error", "--max-time", "10", &url]))
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
        for node in NODES {
            // A test may have taken the node away.
            let Ok(netns) = self.node_netns(node) else { continue };
            let show = "ip neighbor; ip route show table all; nft list ruleset; nstat -az; \
                        grep . /proc/sys/net/ipv?/conf/*/forwarding";
            let (_, shown, errors) = outcome(netns.command("bash").args(["-c", show]))?;
            fs::write(kept.join(format!("{node}.network.txt")), shown + &errors)?;
        }
        // The logs of containers are those that the nodes have kept, also of those that are gone.
        let copy = r#"cp -r "$1/log" "$2/"; [ ! -e "$1/store" ] || cp -r "$1/store" "$2/"; for node in "$1"/nodes/*/; do
            mkdir -p "$2/$(basename "$node")"; cp -r "$node"log/pods "$2/$(basename "$node")/"; done"#;
        run(Command::new("bash").args(["-c", copy, "bash"]).args([self.folder(), &kept]))?;
        Ok(kept)
    }
}

/// Waits as [`wait_within`], with the limit of these tests.
pub(crate) fn wait(what: &str, holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_within(LIMIT, what, holds)
}
