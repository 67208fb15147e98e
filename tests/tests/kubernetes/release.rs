//! The chart installed on the cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use podwitness_tests::evidence::Evidence;
use serde_json::{Value, json};

use crate::cluster::{Cluster, LIMIT, outcome, repository, run, run_with, wait};

/// The release and its namespace.
pub(crate) const RELEASE: &str = "podwitness";
/// How the cluster is called in the evidence.
pub(crate) const NAME: &str = "tested";
/// Where the agent serves its metrics, on each node.
pub(crate) const AGENT_PORT: u16 = 9464;
/// Where the containers have their configuration.
pub(crate) const CONFIGURATION: &str = "/etc/podwitness/podwitness.yaml";
const BUCKET: &str = "evidence";
const IMAGE: &str = "podwitness.test/podwitness";
/// What the chart installs on every node.
pub(crate) const DAEMONSET: &str = "daemonset/podwitness";

/// What is installed.
pub(crate) struct Release {
    store: Vec<(String, String)>,
    values: Value,
    is_installed: bool,
}

impl Cluster {
    /// The image of the built programs, under this tag, on every node.
    pub(crate) fn bring_image(&self, tag: &str) -> Result<()> {
        let root = tempfile::tempdir()?;
        let root = root.path().join("root");
        run(Command::new(repository("deploy/image/pack")).arg(programs()?).arg(&root))?;
        run(self.command("image").arg(format!("{IMAGE}:{tag}")).arg(&root)).map(drop)
    }

    /// Nothing is installed; there are a bucket with Object Lock and the namespace with the key to it, as a person makes them
    /// before `helm install`. The bucket is always the same: a node goes on with the chain that it has there.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        self.bring_image("1")?;
        if self.is_installed() {
            self.uninstall()?;
        }
        if self.release.is_some() {
            return Ok(());
        }
        let store = run(self.command("store").arg(BUCKET))?;
        let store: Vec<(String, String)> = store
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let _there_already = outcome(self.command("kubectl").args(["create", "namespace", RELEASE]))?;
        let is_secret = |name: &str| name.ends_with("_KEY") || name.ends_with("_KEY_ID");
        let secret: serde_json::Map<String, Value> = store
            .iter()
            .filter(|(name, _)| is_secret(name))
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store", "namespace": RELEASE}, "stringData": secret,
        }).to_string())?;
        let env: serde_json::Map<String, Value> = store
            .iter()
            .filter(|(name, _)| !is_secret(name))
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let timeouts: serde_json::Map<String, Value> =
            ["tcpSyn", "tcpFin", "tcpTimeWait", "tcpClose", "udp", "udpStream", "icmp"]
                .map(|state| (state.to_owned(), json!("3s")))
                .into_iter()
                .collect();
        let values = json!({
            "cluster": NAME,
            "image": {"repository": IMAGE, "tag": "1"},
            "store": {
                "url": format!("s3://{BUCKET}/evidence"),
                "objectLock": "required",
                "access": {"existingSecret": "store", "env": env},
            },
            // Times that a test can wait for.
            "config": {
                "batch": {"maxAge": "2s"},
                "seal": {"interval": "3s"},
                "connections": {"closeAfter": "1s", "timeouts": timeouts},
                "events": {"drainInterval": "500ms", "sweepInterval": "500ms"},
            },
        });
        self.release = Some(Release { store, values, is_installed: false });
        Ok(())
    }

    fn prepared(&self) -> Result<&Release> {
        self.release.as_ref().context("nothing was prepared")
    }

    /// `helm install`, with some values more; returns the notes that it prints. It waits until every pod is ready.
    pub(crate) fn install(&mut self, sets: &[&str]) -> Result<String> {
        let notes = self.helm(&["install", RELEASE], &["-f", "-"], sets)?;
        self.release.as_mut().context("it was prepared")?.is_installed = true;
        Ok(notes)
    }

    /// `helm upgrade --reuse-values`, as the notes say it. It waits until every pod is ready.
    pub(crate) fn upgrade(&self, sets: &[&str]) -> Result<String> {
        let notes = self.helm(&["upgrade", RELEASE], &["--reuse-values"], sets)?;
        // `--wait` lets one pod of a DaemonSet be away.
        self.await_nodes()?;
        Ok(notes)
    }

    fn helm(&self, action: &[&str], more: &[&str], sets: &[&str]) -> Result<String> {
        let mut command = self.command("helm");
        command.args(action).arg(repository("deploy/helm/podwitness")).args(["--namespace", RELEASE, "--wait"]);
        command.args(["--timeout", &format!("{}s", LIMIT.as_secs())]).args(more);
        for set in sets {
            command.args(["--set", set]);
        }
        let input = if more.contains(&"-") { self.prepared()?.values.to_string() } else { String::new() };
        run_with(&mut command, &input)
    }

    /// Waits until the newest pod of every node is ready.
    pub(crate) fn await_nodes(&self) -> Result<()> {
        let limit = format!("--timeout={}s", LIMIT.as_secs());
        self.kubectl(&["-n", RELEASE, "rollout", "status", DAEMONSET, &limit]).map(drop)
    }

    /// `helm uninstall`, as the notes say it.
    pub(crate) fn uninstall(&mut self) -> Result<()> {
        run(self.command("helm").args(["uninstall", RELEASE, "--namespace", RELEASE, "--timeout", "300s"]))?;
        self.release.as_mut().context("it was prepared")?.is_installed = false;
        Ok(())
    }

    /// Whether the chart is installed.
    pub(crate) fn is_installed(&self) -> bool {
        self.release.as_ref().is_some_and(|release| release.is_installed)
    }

    /// The evidence's URL.
    pub(crate) fn evidence_url(&self) -> Result<String> {
        self.prepared().map(|_| format!("s3://{BUCKET}/evidence"))
    }

    /// The evidence's folder, behind the store's back.
    pub(crate) fn evidence_path(&self) -> PathBuf {
        self.folder().join("store/objects").join(BUCKET).join("evidence")
    }

    /// The verdicts in it now.
    pub(crate) fn evidence(&self) -> Result<Evidence> {
        Evidence::read(&self.evidence_path())
    }

    /// `podwitness` on the cluster's network with the keys to the store: its exit code and what it says.
    pub(crate) fn podwitness(&self, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
        let mut command = self.beside(&programs()?.join("podwitness"));
        command.args(arguments).envs(self.prepared()?.store.iter().map(|(name, value)| (name, value)));
        outcome(&mut command)
    }

    /// A line of a shell beside the control plane, with `kubectl`, `helm` and `podwitness`, and the keys to the store.
    pub(crate) fn shell(&self, line: &str) -> Result<Command> {
        let mut command = self.beside(Path::new("bash"));
        command.args(["-c", &format!("PATH={}:$PATH; {line}", programs()?.display())]);
        command.envs(self.prepared()?.store.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// That `podwitness verify` finds nothing wrong; returns what it says.
    pub(crate) fn verify(&self) -> Result<String> {
        let (code, out, said) = self.podwitness(&["verify", &self.evidence_url()?])?;
        ensure!(code == Some(0), "podwitness verify ended with {code:?}: {out}{said}");
        Ok(out)
    }

    /// How often the evidence admits that a program or a node stopped without saying so, on all nodes.
    pub(crate) fn unclean_stops(&self) -> Result<i64> {
        let (code, out, said) = self.podwitness(&["verify", &self.evidence_url()?, "-o", "json"])?;
        ensure!(code == Some(0), "podwitness verify ended with {code:?}: {out}{said}");
        let outcome: Value = serde_json::from_str(&out)?;
        let admissions = outcome["admissions"].as_array().context("verify lists admissions")?;
        let unclean = admissions.iter().filter(|admission| admission["code"] == "not-clean");
        Ok(unclean.filter_map(|admission| admission["count"].as_i64()).sum())
    }

    /// A metric of a node's agent, with its labels where it has some.
    pub(crate) fn agent_metric(&self, node: &str, name: &str) -> Result<u64> {
        let metrics = self.ask(node, AGENT_PORT, "/metrics")?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.with_context(|| format!("{node} has no metric {name} in:\n{metrics}"))?.parse().context("it is a number")
    }

    /// Does something after which each of these nodes must have other tables in force, and waits until it has.
    pub(crate) fn changing_tables(&self, nodes: &[&str], work: impl FnOnce() -> Result<()>) -> Result<()> {
        let generation = |node: &&str| self.agent_metric(node, "podwitness_agent_table_generation");
        let before: Vec<u64> = nodes.iter().map(generation).collect::<Result<_>>()?;
        work()?;
        for (node, before) in nodes.iter().zip(before) {
            wait(&format!("other tables are in force on {node}"), || {
                Ok(generation(node).is_ok_and(|now| now != before))
            })?;
        }
        Ok(())
    }

    /// The name of the DaemonSet's pod on a node.
    pub(crate) fn pod_on(&self, node: &str) -> Result<String> {
        let name = self.kubectl(&[
            "-n",
            RELEASE,
            "get",
            "pods",
            "-l",
            "app.kubernetes.io/component=node",
            "--field-selector",
            &format!("spec.nodeName={node}"),
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ])?;
        ensure!(!name.is_empty() && !name.contains(' '), "the pods of {node} are: {name}");
        Ok(name)
    }
}

/// The folder of the built programs.
fn programs() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.ancestors().nth(2).context("this program is in target/PROFILE/deps")?;
    for name in ["podwitness", "podwitness-agent", "podwitness-exporter"] {
        ensure!(
            fs::exists(folder.join(name))?,
            "{name} is not in {}: build it with `cargo build -p {name}`",
            folder.display()
        );
    }
    Ok(folder.to_owned())
}
