//! What may happen to the node's part in a cluster, under steady traffic.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::cluster::{Cluster, NODES, on_cluster, run, wait};
use crate::release::{DAEMONSET, RELEASE};

#[test]
fn rolling_update() -> Result<()> {
    on_cluster("rolling-update", |cluster| {
        cluster.under_traffic_in_order("rolling", |cluster| {
            let before = [cluster.agent_on(NODES[0])?, cluster.agent_on(NODES[1])?];
            cluster.bring_image("two")?;
            cluster.upgrade(&["image.tag=two"])?;
            for (node, before) in NODES.iter().zip(before) {
                ensure!(cluster.agent_on(node)?.0 != before.0, "the pod of {node} is another one");
            }
            Ok(())
        })
    })
}

/// Deletes the pod of a node, and waits until there is another.
fn delete_pod(cluster: &Cluster, node: &str, how: &[&str]) -> Result<()> {
    let before = cluster.agent_on(node)?;
    cluster.kubectl(&[&["-n", RELEASE, "delete", "pod", &cluster.pod_on(node)?], how].concat())?;
    wait("there is another pod", || Ok(cluster.agent_on(node).is_ok_and(|now| now.0 != before.0)))?;
    cluster.await_nodes()
}

#[test]
fn pod_deleted() -> Result<()> {
    on_cluster("pod-deleted", |cluster| {
        cluster.under_traffic_in_order("deleted", |cluster| delete_pod(cluster, NODES[0], &["--wait=true"]))
    })
}

#[test]
fn pod_deleted_by_force() -> Result<()> {
    on_cluster("pod-deleted-by-force", |cluster| {
        cluster.under_traffic("forced", |cluster| delete_pod(cluster, NODES[0], &["--force", "--grace-period=0"]))
    })
}

#[test]
fn pod_evicted() -> Result<()> {
    on_cluster("pod-evicted", |cluster| {
        cluster.under_traffic_in_order("evicted", |cluster| {
            let (pod, before) = (cluster.pod_on(NODES[1])?, cluster.agent_on(NODES[1])?);
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": RELEASE, "name": pod},
            });
            let place = format!("/api/v1/namespaces/{RELEASE}/pods/{pod}/eviction");
            cluster.kubectl_with(&["create", "--raw", &place, "-f", "-"], &eviction.to_string())?;
            wait("there is another pod", || Ok(cluster.agent_on(NODES[1]).is_ok_and(|now| now.0 != before.0)))?;
            cluster.await_nodes()
        })
    })
}

#[test]
fn kubelet_restarted() -> Result<()> {
    on_cluster("kubelet-restarted", |cluster| {
        cluster.under_traffic("kubelet", |cluster| {
            let before = cluster.agent_on(NODES[0])?;
            cluster.program(NODES[0], "restart", "kubelet")?;
            cluster.kubectl(&["-n", RELEASE, "get", DAEMONSET])?;
            cluster.kubectl_wait(&["--for=condition=Ready", "node", NODES[0]])?;
            ensure!(cluster.agent_on(NODES[0])? == before, "it was left alone");
            Ok(())
        })
    })
}

/// Something else in the agent's container takes all the memory that it may have, and the kernel ends the agent.
#[test]
fn agent_out_of_memory() -> Result<()> {
    on_cluster("agent-out-of-memory", |cluster| {
        cluster.enforcing()?;
        cluster.upgrade(&["agent.resources.limits.memory=300Mi"])?;
        cluster.under_traffic("memory", |cluster| {
            let (id, restarts) = cluster.agent_on(NODES[0])?;
            let id = id.split("//").last().context("an id follows its runtime")?;
            let groups = run(Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", id]))?;
            // Of version 1 that of memory; of version 2 the only one.
            let group = groups.lines().find(|path| path.contains("/memory/")).or(groups.lines().next());
            let file = tempfile::NamedTempFile::new_in("/dev/shm")?;
            // It is not to be ended itself where the agent is protected more than others.
            let hog = r#"echo $$ >"$1/cgroup.procs"; (echo -1000 >/proc/self/oom_score_adj) 2>/dev/null || true
                exec head --bytes 2G /dev/zero >"$2""#;
            let mut hog = Command::new("bash")
                .args(["-c", hog, "bash", group.context("the container has a control group")?])
                .arg(file.path())
                .spawn()?;
            let restarted = wait("the agent was started again", || {
                Ok(cluster.agent_on(NODES[0]).is_ok_and(|(_, now)| now > restarts))
            });
            // It may have been ended too.
            let _ = hog.kill();
            hog.wait()?;
            drop(file);
            restarted?;
            let pod = cluster.get(&["-n", RELEASE, "get", "pod", &cluster.pod_on(NODES[0])?])?;
            ensure!(pod.to_string().contains("OOMKilled"), "it was ended for want of memory: {pod}");
            cluster.await_nodes()
        })
    })
}
