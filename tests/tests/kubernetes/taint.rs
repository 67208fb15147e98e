//! The taint with which nodes are registered so that no pod comes before it is witnessed.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODES, on_cluster, wait};
use crate::pods::{namespace, pod_spec};
use crate::release::RELEASE;

const TAINT: &str = "podwitness.io/agent-not-ready";
/// What the role needs for it, as the agent's sentence says it.
const RULE: &str = r#"{apiGroups: [""], resources: ["nodes"], verbs: ["get", "patch"]}"#;
const NAMESPACE: &str = "tainted";

/// The scheduler brings no pod to the node until its agent is ready and has taken the taint away. Where it may not, its
/// log names the rule to add, and adding it is enough.
#[test]
fn no_pod_comes_to_a_node_before_its_agent_has_taken_the_taint_away() -> Result<()> {
    on_cluster("taint", |cluster| {
        cluster.enforcing()?;
        let node = NODES[1];
        cluster.upgrade(&["startupTaint.enabled=true"])?;
        let role = cluster.role(RELEASE)?;
        let mut less = role.clone();
        let rules = less["rules"].as_array_mut().context("a role has rules")?;
        rules.retain(|rule| !rule["verbs"].to_string().contains("patch"));
        ensure!(less != role, "the chart gives the right: {role}");
        cluster.put(&less)?;

        // As a node that is registered with it, and whose agent has not been there.
        cluster.kubectl(&["taint", "node", node, &format!("{TAINT}=:NoSchedule")])?;
        cluster.kubectl(&["-n", RELEASE, "delete", "pod", &cluster.pod_on(node)?])?;
        cluster.apply(&namespace(NAMESPACE).to_string())?;
        let mut spec = pod_spec(node);
        // By the scheduler this time.
        spec.as_object_mut().context("it is an object")?.remove("nodeName");
        spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        cluster.apply(
            &json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": "early"}, "spec": spec,
            })
            .to_string(),
        )?;
        let mut said = String::new();
        wait("the agent says which rule it lacks", || {
            let Ok(pod) = cluster.pod_on(node) else { return Ok(false) };
            said = cluster.kubectl(&["-n", RELEASE, "logs", &pod, "-c", "agent"]).unwrap_or_default().replace('\\', "");
            Ok(said.contains(&format!("the rule {RULE}")))
        })
        .with_context(|| said.clone())?;
        cluster.await_nodes()?;
        ensure!(taints(cluster, node)?.contains(TAINT), "the taint is there still");
        let early = cluster.get(&["-n", NAMESPACE, "get", "pod", "early"])?;
        ensure!(early["spec"]["nodeName"].is_null() && early.to_string().contains("untolerated taint"), "{early}");

        cluster.put(&role)?;
        cluster.pods(NAMESPACE)?;
        ensure!(!taints(cluster, node)?.contains(TAINT), "the agent has taken it away");
        cluster.kubectl(&["delete", "namespace", NAMESPACE])?;
        cluster.upgrade(&["startupTaint.enabled=false"]).map(drop)
    })
}

fn taints(cluster: &Cluster, node: &str) -> Result<String> {
    let node: Value = cluster.get(&["get", "node", node])?;
    Ok(node["spec"]["taints"].to_string())
}
