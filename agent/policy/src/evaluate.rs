//! The oracle: what the `NetworkPolicy` API says about one connection, by going through everything.
//!
//! It is written to be held against the API's text, which is quoted where a rule is decided, and not to be fast.

mod services;

use std::net::IpAddr;

use podwitness_wire::Direction;

use crate::model::{Cluster, NetworkPolicy, Peer, Peers, Pod, PortMatch, Ports, Rule};
use crate::rule_set::{PolicyRule, RuleSet};

pub use services::{Resolution, ServiceEvaluation, ServiceOutcome, ServiceVerdict, evaluate_service};

/// The pod that a question is about, and where it runs.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The addresses of the node on which it runs: those of its interfaces and those of its Node object.
    pub node_addresses: &'a [IpAddr],
}

/// What the policies say about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// Allowed, because the peer is the pod's own node.
    Node,
    /// Allowed, because no policy isolates the pod in this direction.
    NotIsolated,
    /// Allowed by these rules, which are all that allow it.
    Allowed(RuleSet),
    /// Denied: these policies isolate the pod in this direction, and none of their rules allows it.
    Denied(RuleSet),
}

/// Decides one connection of the subject by all policies of the cluster.
///
/// `port` is the connection's destination port: for ingress the pod's own, for egress the peer's; `None` where the
/// protocol has no ports. `protocol` is the number in the IP header.
pub fn evaluate(
    cluster: &Cluster,
    subject: &Subject<'_>,
    direction: Direction,
    peer: IpAddr,
    protocol: u8,
    port: Option<u16>,
) -> Evaluation {
    // "Pods cannot block access from the node they run on", and traffic to it is "always allowed".
    if subject.node_addresses.contains(&peer) {
        return Evaluation::Node;
    }

    let isolating: Vec<&NetworkPolicy> = isolating_policies(cluster, subject.pod, direction).collect();
    if isolating.is_empty() {
        return Evaluation::NotIsolated;
    }

    // "Network policies do not conflict; they are additive. [...] the connections allowed in that direction from that
    // pod is the union of what the applicable policies allow."
    let connection = Connection { cluster, subject: subject.pod, direction, peer, protocol, port };
    let allowing: RuleSet = isolating
        .iter()
        .flat_map(|policy| {
            (0..).zip(policy.rules(direction).into_iter().flatten()).map(move |(index, rule)| (*policy, index, rule))
        })
        .filter(|(policy, _, rule)| connection.is_allowed_by(policy, rule))
        .map(|(policy, index, _)| PolicyRule::of(policy, Some(index)))
        .collect();
    if allowing.is_empty() {
        Evaluation::Denied(isolating_set(cluster, subject.pod, direction))
    } else {
        Evaluation::Allowed(allowing)
    }
}

/// "By default, a pod is non-isolated for egress; all outbound connections are allowed. A pod is isolated for egress if there is
/// any `NetworkPolicy` that both selects the pod and has "Egress" in its `policyTypes`", and likewise for ingress.
fn isolating_policies<'a>(
    cluster: &'a Cluster,
    pod: &'a Pod,
    direction: Direction,
) -> impl Iterator<Item = &'a NetworkPolicy> {
    cluster.policies.iter().filter(move |policy| policy.selects(pod) && policy.rules(direction).is_some())
}

/// The policies that isolate a pod in a direction; empty where it is not isolated.
fn isolating_set(cluster: &Cluster, pod: &Pod, direction: Direction) -> RuleSet {
    isolating_policies(cluster, pod, direction).map(|policy| PolicyRule::of(policy, None)).collect()
}

struct Connection<'a> {
    cluster: &'a Cluster,
    subject: &'a Pod,
    direction: Direction,
    peer: IpAddr,
    protocol: u8,
    port: Option<u16>,
}

impl Connection<'_> {
    /// "Each rule allows traffic which matches both the from [to] and ports sections."
    fn is_allowed_by(&self, policy: &NetworkPolicy, rule: &Rule) -> bool {
        match rule {
            Rule::Usable { peers, ports } => self.is_with(policy, peers) && self.is_to(ports),
            Rule::Unusable => false,
        }
    }

    /// "Items in this list are combined using a logical OR operation. If this field is empty or missing, this rule matches
    /// all sources [destinations]."
    fn is_with(&self, policy: &NetworkPolicy, peers: &Peers) -> bool {
        match peers {
            Peers::Everybody => true,
            Peers::Listed(peers) => peers.iter().any(|peer| match peer {
                Peer::Block(block) => block.contains(self.peer),
                Peer::Pods { namespaces, pods } => self.cluster.pod_at(self.peer).is_some_and(|pod| {
                    let in_namespace = match namespaces {
                        // "Otherwise it selects the pods matching podSelector in the policy's own namespace."
                        None => pod.name.namespace() == policy.name.namespace(),
                        // "If podSelector is also set, then the NetworkPolicyPeer as a whole selects the pods matching
                        // podSelector in the namespaces selected by namespaceSelector."
                        Some(selector) => self
                            .cluster
                            .namespaces
                            .get(pod.name.namespace())
                            .is_some_and(|namespace| selector.matches(&namespace.labels)),
                    };
                    in_namespace && pods.matches(&pod.template.labels)
                }),
            }),
        }
    }

    /// "Each item in this list is combined using a logical OR. If this field is empty or missing, this rule matches all
    /// ports (traffic not restricted by port)."
    fn is_to(&self, ports: &Ports) -> bool {
        match ports {
            Ports::Every => true,
            Ports::Listed(ports) => ports.iter().any(|port| match port {
                // "If this field is not provided, this matches all port names and numbers", of the protocol.
                PortMatch::Protocol(protocol) => protocol.number() == self.protocol,
                // "endPort indicates that the range of ports from port to endPort if set, inclusive, should be allowed."
                PortMatch::Range(protocol, range) => {
                    protocol.number() == self.protocol && self.port.is_some_and(|port| range.contains(port))
                }
                // "This can either be a numerical or named port on a pod": on the one that is connected to.
                PortMatch::Named(protocol, name) => {
                    protocol.number() == self.protocol
                        && self.destination().is_some_and(|pod| {
                            pod.template.ports.iter().any(|named| {
                                named.name == *name
                                    && named.protocol == *protocol
                                    && Some(named.port.get()) == self.port
                            })
                        })
                }
            }),
        }
    }

    /// The pod that is connected to, where it is one.
    fn destination(&self) -> Option<&Pod> {
        match self.direction {
            Direction::Ingress => Some(self.subject),
            Direction::Egress => self.cluster.pod_at(self.peer),
        }
    }
}
