//! Steady traffic between pods on two nodes while something happens, and the account of it: nothing passes that should not,
//! nothing that should is stopped, and every connection and every denied attempt is in the evidence once.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::NetNs;
use podwitness_tests::check;
use podwitness_tests::field::{Field, Party, account, one_port};
use podwitness_tests::traffic::Sent;
use serde_json::json;

use crate::cluster::{Cluster, NODES, wait};
use crate::pods::{Pod, list, namespace, policy};
use crate::release::RELEASE;

/// A pod of a field.
pub(crate) struct Member {
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
    pub(crate) fn enforcing(&mut self) -> Result<()> {
        if !self.is_installed() {
            self.prepare()?;
            self.install(&["mode=enforce"])?;
        }
        self.await_nodes()
    }

    /// A namespace of its own with two pods on each node, of which policy opens one port.
    pub(crate) fn field(&self, name: &str) -> Result<Field<Member>> {
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
        // Pods of the test before are gone from the API server sooner than from their node.
        self.await_hooks()?;
        self.apply(&list(&objects))?;
        let pods = self.pods(name)?;
        self.await_hooks()?;
        // The pods are known before there is a policy: when that is in force, it is so for all of them.
        self.changing_tables(&NODES, || self.apply(&policy(name, "one-port", &spec).to_string()))?;
        self.field_of(pods)
    }

    /// Waits until the pods that run on each node, and no others, have hooks.
    fn await_hooks(&self) -> Result<()> {
        NODES.iter().try_for_each(|node| {
            wait(&format!("the pods of {node} have hooks"), || {
                let selector = format!("spec.nodeName={node},status.phase=Running,spec.hostNetwork=false");
                let running = self.kubectl(&["get", "pods", "-A", "--field-selector", &selector, "-o", "name"])?;
                // An agent that starts does not answer yet.
                let Ok(hooked) = self.agent_metric(node, "podwitness_agent_endpoints") else { return Ok(false) };
                Ok(usize::try_from(hooked)? == running.lines().count())
            })
        })
    }

    /// A field of these pods.
    pub(crate) fn field_of(&self, pods: Vec<Pod>) -> Result<Field<Member>> {
        let members = pods.into_iter().map(|pod| Ok(Member { netns: self.pod_netns(&pod)?, pod }));
        Field::serve(members.collect::<Result<_>>()?)
    }

    /// Traffic in a field while something is done, and the account of it.
    pub(crate) fn under_traffic(&mut self, name: &str, work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.enforcing()?;
        let field = self.field(name)?;
        let cluster = &*self;
        let sent = field.send_while(|| work(cluster))?;
        cluster.await_account(name, &sent)?;
        println!("{name}: {} probes", sent.len());
        cluster.verify()?;
        cluster.kubectl(&["delete", "namespace", name]).map(drop)
    }

    /// The same, of something that stops the programs in good order: the evidence says that they did.
    pub(crate) fn under_traffic_in_order(&mut self, name: &str, work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.enforcing()?;
        let before = self.unclean_stops()?;
        self.under_traffic(name, work)?;
        let after = self.unclean_stops()?;
        ensure!(after == before, "the programs stopped in good order: {before} unclean stops before, {after} now");
        Ok(())
    }

    /// Waits until the evidence says of these probes what it must, and nothing more.
    pub(crate) fn await_account(&self, namespace: &str, sent: &[Sent]) -> Result<()> {
        let compare = || {
            let evidence = self.evidence()?.of_namespace(namespace);
            account(&evidence, sent)?;
            ensure!(check::lost(&evidence) == 0, "records were lost");
            check::sequences(&evidence).map(drop)
        };
        wait("the account is settled", || Ok(compare().is_ok())).or_else(|_| compare())
    }

    /// The agent's container on a node: its id, and how often it was started again.
    pub(crate) fn agent_on(&self, node: &str) -> Result<(String, i64)> {
        let pod = self.get(&["-n", RELEASE, "get", "pod", &self.pod_on(node)?])?;
        let statuses = pod["status"]["containerStatuses"].as_array().context("it has containers")?;
        let agent = statuses.iter().find(|status| status["name"] == "agent").context("it has the agent")?;
        let id = agent["containerID"].as_str().context("it has an id")?.to_owned();
        Ok((id, agent["restartCount"].as_i64().context("it is counted")?))
    }
}
