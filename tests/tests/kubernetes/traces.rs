//! What an installation could leave behind: objects of the API, hooks, pins and files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::programs::TcAttachType;
use serde_json::Value;

use crate::cluster::{Cluster, NODES};

/// The folders of a node in which somebody may write, and what in them is that of the runtime and the kubelet, which come and
/// go as they like, or stays on purpose.
const FOLDERS: [&str; 4] = ["/run", "/sys/fs/bpf", "/var/lib", "/var/log"];
const NOT_OURS: [&str; 6] = [
    "/run/containerd",
    "/var/lib/containerd",
    "/var/lib/kubelet/pods",
    "/var/lib/podwitness",
    "/var/log/containers",
    "/var/log/pods",
];

/// Lines that name what is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces(BTreeSet<String>);

impl Traces {
    /// Everything that is there now.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let mut found = objects(cluster)?;
        for node in NODES {
            for folder in FOLDERS {
                list(&cluster.node_path(node, "/")?, Path::new(folder), node, &mut found)?;
            }
            found.extend(hooks(cluster, node)?);
        }
        Ok(Self(found))
    }

    /// What is there and was not `before`, and the other way round.
    pub(crate) fn differences(&self, before: &Self) -> Vec<String> {
        let more = self.0.difference(&before.0).map(|line| format!("more: {line}"));
        more.chain(before.0.difference(&self.0).map(|line| format!("less: {line}"))).collect()
    }

    /// How many lines have this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.iter().filter(|line| line.contains(text)).count()
    }
}

/// Every object of every kind that the API server lists, but events.
fn objects(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
    let kinds: Vec<&str> =
        kinds.lines().filter(|kind| !kind.starts_with("events") && *kind != "componentstatuses").collect();
    let template = "jsonpath={range .items[*]}object {.kind} {.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
    let found =
        cluster.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--ignore-not-found", "-o", template])?;
    ensure!(found.contains("object Node /node-1"), "these are not all objects: {found}");
    Ok(found.lines().map(str::to_owned).collect())
}

fn list(root: &Path, folder: &Path, node: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let place = root.join(folder.strip_prefix("/").unwrap_or(folder));
    let Ok(entries) = fs::read_dir(&place) else { return Ok(()) };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", place.display()))?;
        let path = folder.join(entry.file_name());
        if NOT_OURS.iter().any(|theirs| path.starts_with(theirs)) {
            continue;
        }
        found.insert(format!("file of {node}: {}", path.display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(root, &path, node, found)?;
        }
    }
    Ok(())
}

/// The programs on every interface of a node, by the kernel.
fn hooks(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let netns = cluster.node_netns(node)?;
    let links = netns.command("ip").args(["-json", "link"]).output()?.stdout;
    let links: Value = serde_json::from_slice(&links)?;
    let names: Vec<String> = links
        .as_array()
        .context("interfaces are a list")?
        .iter()
        .filter_map(|link| link["ifname"].as_str())
        .map(str::to_owned)
        .collect();
    let mut found = Vec::new();
    for name in &names {
        for (word, direction) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
            let (_, programs) = netns.run(|| aya::programs::SchedClassifier::query_tcx(name, direction))??;
            found.extend(
                programs.iter().map(|program| format!("hook of {node}: {name} {word} {:?}", program.name_as_str())),
            );
        }
        let filters = netns.command("tc").args(["filter", "show", "dev", name]).output()?.stdout;
        found.extend(String::from_utf8_lossy(&filters).lines().map(|line| format!("filter of {node}: {name} {line}")));
        let disciplines = netns.command("tc").args(["qdisc", "show", "dev", name]).output()?.stdout;
        found.extend(
            String::from_utf8_lossy(&disciplines).lines().map(|line| format!("discipline of {node}: {name} {line}")),
        );
    }
    Ok(found)
}
