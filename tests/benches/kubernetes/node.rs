//! The node that the agent is on.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use podwitness_lab::{Installation, Lab, NodeSpec, Pod, PodSpec, Program, Programs};
use podwitness_tests::cluster::{Cluster, run};
use serde_json::json;

use crate::objects::{self, CLIENT, PORT, SERVER, Which, namespace_name};
use crate::probe::Probe;

/// `spec.nodeName` of its pods.
pub(crate) const NAME: &str = "ip-10-0-255-1.eu-west-1.compute.internal";

/// In the network of the API server, the bridge to which nodes are wired; the first host number that none of
/// `tests/cluster` has.
const BRIDGE: &str = "nodes";
const FIRST_HOST: usize = 200;

/// A node without a kubelet: its pods are network namespaces, and it reaches the API server.
pub(crate) struct Node {
    pods: Vec<(Which, Pod)>,
    installation: Installation,
    kubeconfig: PathBuf,
    // Last: its folder outlives what is in it.
    _lab: Lab,
}

/// Its addresses, one of each family.
pub(crate) fn addresses() -> Vec<IpAddr> {
    NodeSpec::default().addresses
}

impl Node {
    /// A new one, whose kernel has nothing of an agent.
    pub(crate) fn make(cluster: &Cluster) -> Result<Self> {
        let lab = Lab::with_node(&NodeSpec { name: NAME.to_owned(), addresses: addresses() })?;
        wire(&lab, cluster)?;
        let pods = objects::here().map(|which| {
            let spec = PodSpec::new(&namespace_name(which.namespace), &which.name(), &which.addresses());
            Ok((which, lab.pod(spec)?))
        });
        let pods = pods.collect::<Result<_>>()?;
        let kubeconfig = lab.path().join("kubeconfig");
        fs::write(&kubeconfig, cluster.administrator().kubeconfig_of_agent()?.to_string())?;
        let installation = lab.install(&Programs::beside_this()?, None)?.set("source", json!({"kubernetes": {}}));
        Ok(Self { pods, installation, kubeconfig, _lab: lab })
    }

    pub(crate) fn start_agent(&self) -> Result<Program> {
        Ok(self.installation.start_agent_with(|command| {
            command.env("KUBECONFIG", &self.kubeconfig);
        })?)
    }

    /// Traffic between the two pods that the timed policy is about.
    pub(crate) fn probe(&self) -> Result<Probe> {
        let find = |wanted: Which| {
            let found = self.pods.iter().find(|(which, _)| *which == wanted);
            found.map(|(_, pod)| pod).context("the pod is on this node")
        };
        Probe::start(find(CLIENT)?, find(SERVER)?, PORT)
    }
}

/// Brings the node into the network of the API server.
fn wire(lab: &Lab, cluster: &Cluster) -> Result<()> {
    // The kernel takes a namespace apart some time after its end: another node is another host until then.
    static NODES: AtomicUsize = AtomicUsize::new(FIRST_HOST);
    let host = NODES.fetch_add(1, Ordering::Relaxed);
    let of_cluster = cluster.netns()?;
    let ip_here = |line: &str| run(lab.node().command("ip").args(line.split(' ')));
    let ip_there = |line: &str| run(of_cluster.command("ip").args(line.split(' ')));
    let first = cluster.first_process()?;
    ip_here(&format!("link add uplink type veth peer name host{host} netns {first}"))?;
    ip_there(&format!("link set host{host} master {BRIDGE} up"))?;
    ip_here(&format!("address add 10.90.0.{host}/24 dev uplink"))?;
    ip_here("link set uplink up").map(drop)
}
