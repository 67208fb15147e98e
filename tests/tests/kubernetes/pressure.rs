//! A node whose disk gets full, so that its kubelet evicts pods.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODES, on_cluster, run, wait};
use crate::pods::list;
use crate::release::{DAEMONSET, RELEASE};

/// The disk of the node's kubelet, and how many MiB of it a pod writes: less than a tenth is left then. It is enough
/// for what other tests do there.
const DISK: &str = "64M";
const WRITTEN: u32 = 60;
/// A class above that of pods without one, one below, and one below that. Under pressure the lowest goes first.
const HIGH: (&str, i32) = ("high", 1000);
const LOW: (&str, i32) = ("low", -1);
const LOWEST: (&str, i32) = ("lowest", -2);

/// The class that the chart gives the node's part has the kubelet spare it, whatever else goes. With one below the
/// others' it goes first, has a second to end in, and none like it is let in until there is room again: nothing is
/// lost, and how it ended is told.
#[test]
fn a_node_whose_disk_is_full_keeps_its_agent_and_one_that_is_evicted_loses_nothing() -> Result<()> {
    on_cluster("node-pressure", |cluster| {
        cluster.enforcing()?;
        let node = NODES[1];
        start_anew(cluster, node)?;
        cluster.apply(&list(&[HIGH, LOW, LOWEST].map(class)))?;

        let agent = cluster.agent_on(node)?;
        fill(cluster, node, "filler-1", HIGH.0)?;
        ensure!(cluster.agent_on(node)? == agent, "it was left alone");

        let spared = cluster.get(&["-n", RELEASE, "get", DAEMONSET])?;
        cluster.upgrade(&[&format!("priorityClassName={}", LOWEST.0)])?;
        cluster.under_traffic("evicted-first", |cluster| {
            let (pod, before) = (cluster.pod_on(node)?, cluster.agent_on(node)?);
            fill(cluster, node, "filler-2", LOW.0)?;
            ensure!(is_evicted(cluster, RELEASE, &pod)?, "{pod} was spared");
            wait("there is another pod", || Ok(cluster.agent_on(node).is_ok_and(|now| now.0 != before.0)))?;
            cluster.await_nodes()
        })?;
        every_end_is_told(cluster, node)?;

        let class = &spared["spec"]["template"]["spec"]["priorityClassName"];
        cluster.upgrade(&[&format!("priorityClassName={}", class.as_str().context("the chart gives one")?)])?;
        cluster.kubectl(&["delete", "priorityclass", HIGH.0, LOW.0, LOWEST.0]).map(drop)
    })
}

/// Cuts the power of a node and starts it with a small disk for its kubelet, until its pods run again.
fn start_anew(cluster: &Cluster, node: &str) -> Result<()> {
    let before = cluster.agent_on(node)?;
    run(cluster.command("node").args(["stop", node]))?;
    run(cluster.command("node").args(["start", node, "--disk", DISK]))?;
    wait("the agent runs again", || Ok(cluster.agent_on(node).is_ok_and(|now| now.0 != before.0)))?;
    cluster.await_nodes()
}

fn class((name, value): (&str, i32)) -> Value {
    json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value})
}

/// Fills the node's disk by a pod of this name and class that writes into its volume, and waits until the kubelet has
/// evicted it and has room again.
fn fill(cluster: &Cluster, node: &str, name: &str, class: &str) -> Result<()> {
    cluster.apply(
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": name},
            "spec": {
                "nodeName": node, "hostNetwork": true, "priorityClassName": class, "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "main", "image": "podwitness.test/traffic:1", "command": ["sh", "-c"],
                    "args": [format!("dd if=/dev/zero of=/room/file bs=1M count={WRITTEN}; exec sleep 1d")],
                    "volumeMounts": [{"name": "room", "mountPath": "/room"}],
                }],
                "volumes": [{"name": "room", "emptyDir": {}}],
            },
        })
        .to_string(),
    )?;
    wait("what fills the disk is evicted", || is_evicted(cluster, "default", name))?;
    wait("there is room again", || {
        let node = cluster.get(&["get", "node", node])?;
        let conditions = node["status"]["conditions"].as_array().context("a node has conditions")?;
        let pressure = conditions.iter().find(|condition| condition["type"] == "DiskPressure");
        Ok(pressure.is_some_and(|pressure| pressure["status"] == "False"))
    })?;
    cluster.kubectl(&["delete", "pod", name]).map(drop)
}

/// Whether the kubelet has said that it evicts this pod. The pod itself may be gone.
fn is_evicted(cluster: &Cluster, namespace: &str, pod: &str) -> Result<bool> {
    let which = format!("reason=Evicted,involvedObject.name={pod}");
    let events = cluster.get(&["-n", namespace, "get", "events", "--field-selector", &which])?;
    Ok(events["items"].as_array().is_some_and(|events| !events.is_empty()))
}

/// Waits until the evidence says of every agent of the node but the one that runs that it stopped, or that it was found
/// to have ended without saying so.
fn every_end_is_told(cluster: &Cluster, node: &str) -> Result<()> {
    let question = format!(
        "SELECT CAST(count(*) FILTER (event = 'agent-started') AS VARCHAR) || ' ' || CAST(count(*) FILTER (event IN \
         ('agent-stopped', 'agent-crashed')) AS VARCHAR) AS line FROM coverage WHERE node = '{node}'"
    );
    let mut told = String::new();
    wait("every end of an agent is told", || {
        told = cluster.question(&question)?.concat();
        let (starts, ends) = told.split_once(' ').context("there are two numbers")?;
        Ok(starts.parse::<u64>()? == ends.parse::<u64>()? + 1)
    })
    .with_context(|| format!("starts and ends: {told}"))
}
