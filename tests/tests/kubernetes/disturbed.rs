//! What may happen to the node's part in a cluster, under steady traffic between pods on two nodes: nothing passes that should
//! not, nothing that should is stopped, and every connection and every denied attempt is in the evidence once.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::NetNs;
use podwitness_tests::check;
use podwitness_tests::field::{Field, Party, account, one_port};
use serde_json::json;

use crate::cluster::{Cluster, NODES, on_cluster, wait};
use crate::pods::{Pod, list, namespace, policy};
use crate::release::{DAEMONSET, RELEASE};

struct Member {
    pod: Pod,
    netns: NetNs,
}

impl Party for Member {
    fn netns(&self) -> &NetNs {
        &self.netns
    }

    fn addresses(&self) -> [IpAddr; 2] {
        [self.pod.addresses[0], self.pod.addresses[1]]
    }
}

impl Cluster {
    /// Podwitness enforces on both nodes, whatever was before.
    fn enforcing(&mut self) -> Result<()> {
        if self.release.is_none() {
            self.prepare("disturbed")?;
            self.install(&["mode=enforce"])?;
        }
        self.await_nodes()
    }

    /// A namespace of its own with two pods on each node, of which policy opens one port.
    fn field(&self, name: &str) -> Result<Field<Member>> {
        let spec = serde_saphyr::from_str(&one_port())?;
        let mut objects = vec![namespace(name)];
        for (number, node) in NODES.iter().chain(&NODES).enumerate() {
            objects.push(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": name, "name": format!("pod-{number}")},
                "spec": {
                    "nodeName": node, "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "main", "image": "podwitness.test/pause:1"}],
                },
            }));
        }
        let hooked = |node: &str| self.agent_metric(node, "podwitness_agent_endpoints");
        let before = [hooked(NODES[0])?, hooked(NODES[1])?];
        self.apply(&list(&objects))?;
        let pods = self.pods(name)?;
        for (node, before) in NODES.iter().zip(before) {
            wait("the pods have hooks", || Ok(hooked(node)? == before + 2))?;
        }
        // The pods are known before there is a policy: when that is in force, it is so for all of them.
        self.changing_tables(&NODES, || self.apply(&policy(name, "one-port", &spec).to_string()))?;
        let members = pods.into_iter().map(|pod| Ok(Member { netns: self.pod_netns(&pod)?, pod }));
        Field::serve(members.collect::<Result<_>>()?)
    }

    /// Traffic in a field while something is done, and the account of it.
    fn under_traffic(&mut self, name: &str, work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.enforcing()?;
        let field = self.field(name)?;
        let cluster = &*self;
        let sent = field.send_while(|| work(cluster))?;
        let compare = || {
            let evidence = cluster.evidence()?.of_namespace(name);
            account(&evidence, &sent)?;
            ensure!(check::lost(&evidence) == 0, "records were lost");
            check::sequences(&evidence)
        };
        wait("the account is settled", || Ok(compare().is_ok())).or_else(|_| compare().map(drop))?;
        println!("{name}: {} probes", sent.len());
        cluster.verify()?;
        cluster.kubectl(&["delete", "namespace", name]).map(drop)
    }

    /// The agent's container on a node: its id, and how often it was started again.
    fn agent_on(&self, node: &str) -> Result<(String, i64)> {
        let pod = self.get(&["-n", RELEASE, "get", "pod", &self.pod_on(node)?])?;
        let statuses = pod["status"]["containerStatuses"].as_array().context("it has containers")?;
        let agent = statuses.iter().find(|status| status["name"] == "agent").context("it has the agent")?;
        let id = agent["containerID"].as_str().context("it has an id")?.to_owned();
        Ok((id, agent["restartCount"].as_i64().context("it is counted")?))
    }
}

#[test]
fn rolling_update() -> Result<()> {
    on_cluster("rolling-update", |cluster| {
        cluster.under_traffic("rolling", |cluster| {
            let before = [cluster.agent_on(NODES[0])?, cluster.agent_on(NODES[1])?];
            cluster.bring_image("2")?;
            cluster.upgrade(&["image.tag=2"])?;
            for (node, before) in NODES.iter().zip(before) {
                ensure!(cluster.agent_on(node)?.0 != before.0, "the pod of {node} is another one");
            }
            Ok(())
        })
    })
}

#[test]
fn pod_deleted() -> Result<()> {
    on_cluster("pod-deleted", |cluster| {
        cluster.under_traffic("deleted", |cluster| {
            for more in [&["--wait=true"][..], &["--force", "--grace-period=0"]] {
                let before = cluster.agent_on(NODES[0])?;
                cluster.kubectl(&[&["-n", RELEASE, "delete", "pod", &cluster.pod_on(NODES[0])?], more].concat())?;
                wait("there is another pod", || Ok(cluster.agent_on(NODES[0]).is_ok_and(|now| now.0 != before.0)))?;
                cluster.await_nodes()?;
            }
            Ok(())
        })
    })
}

#[test]
fn pod_evicted() -> Result<()> {
    on_cluster("pod-evicted", |cluster| {
        cluster.under_traffic("evicted", |cluster| {
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
