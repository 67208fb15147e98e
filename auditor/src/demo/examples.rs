//! The demo's cluster: the files of `deploy/examples`, built into the program, or a folder of the user's own.

use std::fs;
use std::path::Path;

use podwitness_lab::NodeSpec;
use podwitness_manifests::{assemble, read_documents};
use podwitness_policy::{Cluster, Pod};

use super::oracle::Oracle;
use crate::failure::Failure;

/// One file of Kubernetes objects.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) text: String,
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../deploy/examples/", $name)))),+]
    };
}

const BUILT_IN: [(&str, &str); 6] = built_in![
    "10-node.yaml",
    "20-shop.yaml",
    "30-ops.yaml",
    "40-guests.yaml",
    "50-shop-policies.yaml",
    "60-ops-policies.yaml",
];

/// The files that are built in.
pub(super) fn built_in() -> Vec<Manifest> {
    BUILT_IN.iter().map(|(name, text)| Manifest { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}

/// The YAML and JSON files of a folder.
pub(super) fn in_folder(folder: &Path) -> Result<Vec<Manifest>, Failure> {
    let unreadable = |path: &Path, error| Failure::question(format_args!("cannot read {}: {error}", path.display()));
    let mut manifests = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if !path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known)) {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        manifests.push(Manifest { name, text });
    }
    manifests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(manifests)
}

/// What of the cluster is to be built: its one node, and the pods that run on it.
#[derive(Debug)]
pub(super) struct ClusterPlan {
    pub(super) cluster: Cluster,
    pub(super) node: NodeSpec,
    /// What the agent too will find wrong with the files.
    pub(super) faults: Vec<String>,
}

impl ClusterPlan {
    /// Reads the objects in the files.
    pub(super) fn read(manifests: &[Manifest]) -> Result<Self, Failure> {
        let mut objects = Vec::new();
        let mut faults = Vec::new();
        for Manifest { name, text } in manifests {
            let documents = read_documents(text, name);
            objects.extend(documents.objects);
            faults.extend(documents.faults);
        }
        let (cluster, conflicts) = assemble(objects);
        faults.extend(conflicts);
        let faults = faults.iter().map(ToString::to_string).collect();
        let nodes: Vec<_> = cluster.nodes.iter().collect();
        let [node] = nodes.as_slice() else {
            let found = nodes.len();
            return Err(refuse(&format!("the demo is one node, and the files have {found} Node objects"), faults));
        };
        let node = NodeSpec { name: node.name.clone(), addresses: node.addresses.clone() };
        let plan = Self { cluster, node, faults };
        if plan.pods().is_empty() {
            let what = format!("no Pod with status.podIPs has spec.nodeName {}", plan.node.name);
            return Err(refuse(&what, plan.faults));
        }
        Ok(plan)
    }

    /// The node's pods that have addresses of their own.
    pub(super) fn pods(&self) -> Vec<&Pod> {
        let here = |pod: &&Pod| pod.node.as_deref() == Some(self.node.name.as_str());
        self.cluster
            .pods
            .iter()
            .filter(here)
            .filter(|pod| pod.is_on_pod_network() && !pod.addresses.is_empty())
            .collect()
    }

    pub(super) fn oracle(&self) -> Oracle<'_> {
        Oracle { cluster: &self.cluster, node_addresses: &self.node.addresses }
    }
}

fn refuse(what: &str, faults: Vec<String>) -> Failure {
    Failure::question([vec![what.to_owned()], faults].concat().join("\n  "))
}
