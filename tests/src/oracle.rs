//! The records that there must be: what the slow evaluator says of a probe, as the evidence would put it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result};
use podwitness_lab::Lab;
use podwitness_manifests::{assemble, read_documents};
use podwitness_policy::{Cluster, Evaluation, Pod, Protocol, RuleSet, Subject, WitnessMode, evaluate, policy_sha256};
use podwitness_wire::{Direction, EventKind, Known, Reason, Verdict};

use crate::evidence::{PolicyRule, Row, Side};

/// `SYN` alone in the flags of a TCP header.
const SYN: i32 = 2;

/// A decision as a row says it, without times and numbers of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the columns are described in podwitness_schemas::verdicts")]
pub struct Decision {
    pub protocol: Option<String>,
    pub src: Side,
    pub dst: Side,
    pub direction: Option<String>,
    pub event: String,
    pub verdict: Option<String>,
    pub reason: Option<String>,
    pub namespace: String,
    pub count: i64,
    pub tcp_flags: Option<i32>,
    pub policies: Vec<PolicyRule>,
    pub policy_revision: Option<i64>,
    pub policy_sha256: Option<String>,
}

/// What must come of a probe.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Whether it is answered, where somebody listens.
    pub answered: bool,
    /// Each decision on its way: at its source, and at its destination if it got there.
    pub decisions: Vec<Decision>,
}

/// The cluster as it stands in the lab's folder, and the revision under which its policies are in force.
#[derive(Clone, Debug)]
pub struct Oracle {
    cluster: Cluster,
    node: String,
    node_addresses: Vec<IpAddr>,
    revision: i64,
    sha256: String,
    mode: WitnessMode,
}

impl Oracle {
    /// Reads the lab's cluster. `revision` is what the agent calls the policy in force.
    pub fn of(lab: &Lab, revision: u64) -> Result<Self> {
        let cluster = read_cluster(&lab.cluster_path())?;
        Self::new(cluster, lab.node().name(), lab.node().addresses(), revision)
    }

    /// The oracle of a cluster, for the node of this name that has these addresses.
    pub fn new(cluster: Cluster, node: &str, node_addresses: &[IpAddr], revision: u64) -> Result<Self> {
        Ok(Self {
            sha256: policy_sha256(&cluster),
            cluster,
            node: node.to_owned(),
            node_addresses: node_addresses.to_vec(),
            revision: i64::try_from(revision)?,
            mode: WitnessMode::Enforce,
        })
    }

    /// The same, of a node whose configuration says this mode; without it, it enforces.
    #[must_use]
    pub fn in_mode(self, mode: WitnessMode) -> Self {
        Self { mode, ..self }
    }

    /// The cluster that it read.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What must come of a probe: each pod of the node that it leaves or enters decides, until one denies.
    pub fn expect(&self, protocol: Protocol, local: SocketAddr, remote: SocketAddr) -> Expected {
        Self::until_denied(self.sides(protocol, local, remote))
    }

    /// What must come of a probe, by what each pod on its way says, in their order: nothing gets past the one that denies it.
    pub fn until_denied(mut decisions: Vec<Decision>) -> Expected {
        let denying = decisions.iter().position(|decision| decision.event == EventKind::Deny.name());
        if let Some(last) = denying {
            decisions.truncate(last + 1);
        }
        Expected { answered: denying.is_none(), decisions }
    }

    /// What each pod of the node says that a packet of a probe leaves or enters, whatever the others say.
    pub fn sides(&self, protocol: Protocol, local: SocketAddr, remote: SocketAddr) -> Vec<Decision> {
        let sides = [(Direction::Egress, local, remote), (Direction::Ingress, remote, local)];
        let sides = sides.into_iter().filter_map(|(direction, own, peer)| {
            let pod = self.cluster.pod_at(own.ip()).filter(|pod| pod.node.as_deref() == Some(self.node.as_str()))?;
            let evaluation = self.evaluate(pod, direction, peer.ip(), protocol, remote.port());
            Some(self.decision(pod, direction, protocol, local, remote, &evaluation))
        });
        sides.collect()
    }

    /// Whether the pod's namespace is audited: by its `AuditTrail`, or else as the node is.
    fn audits(&self, pod: &Pod) -> bool {
        let asked = self.cluster.trails.get(pod.name.namespace()).and_then(|trail| trail.mode);
        asked.unwrap_or(self.mode) == WitnessMode::Audit
    }

    fn evaluate(&self, pod: &Pod, direction: Direction, peer: IpAddr, protocol: Protocol, port: u16) -> Evaluation {
        let subject = Subject { pod, node_addresses: &self.node_addresses };
        evaluate(&self.cluster, &subject, direction, peer, protocol.number(), Some(port))
    }

    fn decision(
        &self,
        pod: &Pod,
        direction: Direction,
        protocol: Protocol,
        local: SocketAddr,
        remote: SocketAddr,
        evaluation: &Evaluation,
    ) -> Decision {
        let none = RuleSet::default();
        let (verdict, reason, rules) = match evaluation {
            Evaluation::Node => (Verdict::Allow, Reason::Node, &none),
            Evaluation::NotIsolated => (Verdict::Allow, Reason::NotIsolated, &none),
            Evaluation::Allowed(rules) => (Verdict::Allow, Reason::Rule, rules),
            Evaluation::Denied(policies) if self.audits(pod) => (Verdict::Audit, Reason::NoRule, policies),
            Evaluation::Denied(policies) => (Verdict::Deny, Reason::NoRule, policies),
        };
        let event = if verdict == Verdict::Deny { EventKind::Deny } else { EventKind::Open };
        Decision {
            protocol: Some(protocol.name().to_owned()),
            src: self.side(local),
            dst: self.side(remote),
            direction: Some(direction.name().to_owned()),
            event: event.name().to_owned(),
            verdict: Some(verdict.name().to_owned()),
            reason: Some(reason.name().to_owned()),
            namespace: pod.name.namespace().to_owned(),
            count: 1,
            tcp_flags: (protocol == Protocol::Tcp).then_some(SYN),
            policies: rules
                .iter()
                .map(|rule| PolicyRule {
                    namespace: rule.policy.namespace().to_owned(),
                    name: rule.policy.name().to_owned(),
                    uid: Some(rule.uid.to_string()).filter(|uid| !uid.is_empty()),
                    rule: rule.rule.and_then(|index| i32::try_from(index).ok()),
                })
                .collect(),
            policy_revision: Some(self.revision),
            policy_sha256: Some(self.sha256.clone()),
        }
    }

    fn side(&self, address: SocketAddr) -> Side {
        let plain = Side { ip: Some(address.ip()), port: Some(address.port()), ..Side::default() };
        let known = |known: Known| Some(known.name().to_owned());
        if self.node_addresses.contains(&address.ip()) {
            return Side { identity: known(Known::Node), node: Some(self.node.clone()), ..plain };
        }
        if let Some(node) = self.cluster.nodes.iter().find(|node| node.addresses.contains(&address.ip())) {
            return Side { identity: known(Known::Node), node: Some(node.name.clone()), ..plain };
        }
        let Some(pod) = self.cluster.pod_at(address.ip()) else {
            return Side { identity: known(Known::External), ..plain };
        };
        Side {
            identity: known(Known::Exact),
            namespace: Some(pod.name.namespace().to_owned()),
            pod: Some(pod.name.name().to_owned()),
            pod_uid: Some(pod.uid.to_string()),
            service_account: Some(pod.template.service_account.to_string()),
            node: pod.node.as_deref().map(str::to_owned),
            labels: Some(serde_json::json!(pod.template.labels.iter().collect::<BTreeMap<_, _>>()).to_string()),
            ..plain
        }
    }
}

impl From<&Row> for Decision {
    fn from(row: &Row) -> Self {
        Self {
            protocol: row.protocol.clone(),
            src: row.src.clone(),
            dst: row.dst.clone(),
            direction: row.direction.clone(),
            event: row.event.clone(),
            verdict: row.verdict.clone(),
            reason: row.reason.clone(),
            namespace: row.namespace.clone(),
            count: row.count,
            tcp_flags: row.tcp_flags,
            policies: row.policies.clone(),
            policy_revision: row.policy_revision,
            policy_sha256: row.policy_sha256.clone(),
        }
    }
}

fn read_cluster(folder: &Path) -> Result<Cluster> {
    let mut documents = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        documents.extend(read_documents(&text, &path.display().to_string()).objects);
    }
    Ok(assemble(documents).0)
}
