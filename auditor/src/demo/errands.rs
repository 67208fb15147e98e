//! Who tries to reach whom, and what must come of it.

use std::fmt;
use std::net::IpAddr;

use podwitness_policy::{Pod, Protocol};
use podwitness_wire::{Direction, Reason, Verdict};

use super::oracle::Oracle;

/// One of those who send or receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// A pod, as `namespace/name`.
    Pod(String),
    /// A host outside the cluster.
    Outsider(&'static str),
    /// The node on which the pods run.
    Node,
}

/// Something that is tried, over each family that both sides have.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) from: Party,
    pub(super) to: Party,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// What it is, in the words of the cluster's owner; empty where only its ports are known.
    pub(super) about: &'static str,
    pub(super) over_v4: Expected,
    pub(super) over_v6: Expected,
}

/// What an errand must come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Else nothing comes back.
    pub(super) answered: bool,
    /// In the order in which a packet meets them.
    pub(super) decisions: Vec<Decision>,
}

/// What one side decides, as the evidence says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decision {
    pub(super) direction: String,
    pub(super) verdict: String,
    pub(super) reason: String,
    /// `namespace/name[rule]` each, in the order of the text.
    pub(super) policies: Vec<String>,
}

/// Every pod tries every named port of every other pod: for a cluster that the demo has not seen before. What must come of
/// it is what the evaluator makes of the policies.
pub(super) fn every_port(pods: &[&Pod], oracle: &Oracle<'_>) -> Vec<Errand> {
    let mut errands = Vec::new();
    for to in pods {
        // No probe here speaks SCTP.
        for port in to.template.ports.iter().filter(|port| port.protocol != Protocol::Sctp) {
            for from in pods.iter().filter(|from| from.name != to.name) {
                let over = |is_family: fn(&IpAddr) -> bool| {
                    let address = |pod: &Pod| pod.addresses.iter().find(is_family);
                    match (address(from), address(to)) {
                        (Some(from), Some(to)) => oracle.expect(from, to, port.protocol, port.port.get()),
                        // Never tried.
                        _ => Expected { answered: false, decisions: Vec::new() },
                    }
                };
                errands.push(Errand {
                    from: Party::Pod(from.name.to_string()),
                    to: Party::Pod(to.name.to_string()),
                    protocol: port.protocol,
                    port: port.port.get(),
                    about: "",
                    over_v4: over(IpAddr::is_ipv4),
                    over_v6: over(IpAddr::is_ipv6),
                });
            }
        }
    }
    errands
}

impl Errand {
    /// What must come of it over the family of `address`.
    pub(super) fn expected(&self, address: IpAddr) -> &Expected {
        if address.is_ipv4() { &self.over_v4 } else { &self.over_v6 }
    }
}

impl Decision {
    pub(super) fn new(direction: Direction, verdict: Verdict, reason: Reason, mut policies: Vec<String>) -> Self {
        policies.sort();
        let [direction, verdict, reason] = [direction.name(), verdict.name(), reason.name()].map(str::to_owned);
        Self { direction, verdict, reason, policies }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pod(name) => name,
            Self::Outsider(name) => name,
            Self::Node => "the node",
        })
    }
}

impl fmt::Display for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = format!("{}/{}", self.port, self.protocol.name());
        write!(f, "{:<14} -> {:<14} {port:<9}", self.from, self.to)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { direction, verdict, reason, policies } = self;
        write!(f, "{direction} {verdict} ({reason}) by [{}]", policies.join(", "))
    }
}
