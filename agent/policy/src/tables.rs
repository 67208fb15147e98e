//! What the compiler gives: the kernel's tables, with names where the kernel has numbers.

mod services;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use podwitness_wire::Direction;

use crate::evaluate::{Evaluation, Resolution, ServiceVerdict};
use crate::model::{NodeName, ObjectName, Protocol};
use crate::rule_set::RuleSet;

pub use services::{Backend, Frontend, MOST_FRONTENDS, PortOutcome, ServiceKind, ServiceTarget};

/// The compiled policy of one node.
///
/// It is a value: two compilations of the same input are equal, and the numbers of classes and subjects mean
/// something only within one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Who has an address, by longest prefix. An address without an entry is of class 0 and outside the cluster.
    pub addresses: BTreeMap<IpNet, Address>,
    /// The endpoints by the index of their host-side interface.
    pub endpoints: BTreeMap<u32, EndpointTable>,
    /// What is allowed, by longest prefix, sorted by subject, class, protocol, port and number of bits; no two have the same.
    pub ports: Vec<PortEntry>,
    /// Where this node translates connections to a Service. Only what leaves a pod is looked up here.
    pub services: BTreeMap<Frontend, ServiceTarget>,
    /// For each backend that is an endpoint of this node with a known pod: the frontends through which a packet may have
    /// come to it from a pod of this node with the pod's own address as its source, sorted, from 1 to [`MOST_FRONTENDS`] of
    /// them. One with more is not here. External addresses and node ports are no such frontends: what comes through them may
    /// have the node's address as its source.
    pub backends: BTreeMap<Backend, Vec<Frontend>>,
}

/// What is known of an address or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The peer class, on which policy is keyed: addresses that every rule in question treats alike share it. 0 is
    /// the class of a peer that only rules for everybody match.
    pub class: u32,
    /// Who it is.
    pub identity: IdentityRef,
}

/// Who an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityRef {
    /// A pod.
    Pod(ObjectName),
    /// Another node of the cluster.
    Node(NodeName),
    /// The node that the tables are for, on any of its addresses.
    LocalNode,
    /// The range of a node's pods, where no pod is known, or an address that more than one pod claims.
    PodRange,
    /// Nothing in the cluster.
    External,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTable {
    /// The pod behind the interface; `None` if it is not known, and then the sides are [`Side::Open`] and decide nothing.
    pub pod: Option<ObjectName>,
    /// Its own addresses, sorted: those that were read from the interface and those in the pod's status. It may send from no others.
    pub addresses: Vec<IpAddr>,
    /// How connections into it are decided.
    pub ingress: Side,
    /// How connections out of it are decided.
    pub egress: Side,
    /// Whether the pod's namespace is in audit mode; `None` where it says nothing and the node's own mode holds.
    pub audits: Option<bool>,
}

impl EndpointTable {
    /// The side that decides connections of this direction.
    pub fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// How one direction of an endpoint is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// No policy isolates it: everything is allowed.
    Open,
    /// Only what has a [`PortEntry`] is allowed.
    Isolated {
        /// The number, from 1, under which its entries stand. Endpoints that the same policies treat alike share it; no number
        /// stands for an ingress side and an egress side both.
        subject: u32,
        /// The policies that isolate it, to which a denial is attributed.
        isolating: RuleSet,
    },
}

/// One entry of the trie keyed by subject, class, protocol and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortEntry {
    /// The subject.
    pub subject: u32,
    /// The peer's class.
    pub class: u32,
    /// The number of the protocol in the IP header, or `None` for every protocol at all, ICMP and the like too.
    pub protocol: Option<u8>,
    /// The destination port, bits beyond `port_bits` zero; 0 where `protocol` is `None`.
    pub port: u16,
    /// How many leading bits of `port` matter, 0 to 16.
    pub port_bits: u8,
    /// All the rules that allow this, also those that allow more than this; for [`PortOutcome::MixedDenied`] the
    /// policies that isolate. It is empty only for [`PortOutcome::Deferred`] where no backend is allowed but those on the
    /// addresses of this node.
    pub rule_set: RuleSet,
    /// What becomes of it: [`PortOutcome::Allowed`] in all entries but those of a Service's own class.
    pub outcome: PortOutcome,
}

impl PortEntry {
    /// What the entries are sorted by.
    pub(crate) fn key(&self) -> (u32, u32, Option<u8>, u16, u8) {
        (self.subject, self.class, self.protocol, self.port, self.port_bits)
    }
}

/// What the kernel says about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The interface is not in the tables or its pod is not known: `unknownEndpoints` decides.
    UnknownEndpoint,
    /// As the policies say.
    Evaluated(Evaluation),
    /// As the policies say of the backends of a Service.
    Service {
        /// The Service.
        service: ObjectName,
        /// What is done.
        verdict: ServiceVerdict,
        /// What is known of the backend with that.
        resolution: Resolution,
    },
}

impl Tables {
    /// Decides one connection by the kernel's steps: the endpoint, for egress the frontend of a Service, the peer's address, the
    /// side, the entries of the peer's class, and then those for everybody.
    ///
    /// `port` is the connection's destination port; a packet without ports looks up port 0, which no rule about numbered
    /// ports allows.
    pub fn decide(
        &self,
        interface: u32,
        direction: Direction,
        peer: IpAddr,
        protocol: u8,
        port: Option<u16>,
    ) -> Decision {
        let Some(endpoint) = self.endpoints.get(&interface).filter(|endpoint| endpoint.pod.is_some()) else {
            return Decision::UnknownEndpoint;
        };
        if direction == Direction::Egress
            && let Some(target) = self.target(peer, protocol, port)
        {
            let verdict = self.service_verdict(&endpoint.egress, target, protocol);
            let resolution = match (target.kind, &verdict) {
                (ServiceKind::Empty, _) => Resolution::None,
                (_, ServiceVerdict::Deferred(_) | ServiceVerdict::MixedDenied(_)) => Resolution::Mixed,
                _ => Resolution::AllBackends,
            };
            return Decision::Service { service: target.service.clone(), verdict, resolution };
        }
        let address = self.address(peer);
        if address.is_some_and(|address| address.identity == IdentityRef::LocalNode) {
            return Decision::Evaluated(Evaluation::Node);
        }
        Decision::Evaluated(match endpoint.side(direction) {
            Side::Open => Evaluation::NotIsolated,
            Side::Isolated { subject, isolating } => {
                let class = address.map_or(0, |address| address.class);
                match self.allowing(*subject, class, protocol, port.unwrap_or(0)) {
                    Some(entry) => Evaluation::Allowed(entry.rule_set.clone()),
                    None => Evaluation::Denied(isolating.clone()),
                }
            }
        })
    }

    fn target(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> Option<&ServiceTarget> {
        let protocol = Protocol::ALL.into_iter().find(|known| known.number() == protocol)?;
        self.services.get(&Frontend { address, protocol, port: port? })
    }

    fn service_verdict(&self, side: &Side, target: &ServiceTarget, protocol: u8) -> ServiceVerdict {
        let (subject, isolating) = match (target.kind, side) {
            (ServiceKind::Node, _) => return ServiceVerdict::Node,
            (_, Side::Open) => return ServiceVerdict::NotIsolated,
            (_, Side::Isolated { subject, isolating }) => (*subject, isolating),
        };
        let entry = match target.kind {
            ServiceKind::Alike => self.allowing(subject, target.class, protocol, target.port),
            ServiceKind::Own => self.entry(subject, target.class, protocol, target.port),
            ServiceKind::Node | ServiceKind::Empty => None,
        };
        entry.map_or_else(
            || ServiceVerdict::Denied(isolating.clone()),
            |entry| match entry.outcome {
                PortOutcome::Allowed => ServiceVerdict::Allowed(entry.rule_set.clone()),
                PortOutcome::Deferred => ServiceVerdict::Deferred(entry.rule_set.clone()),
                PortOutcome::MixedDenied => ServiceVerdict::MixedDenied(entry.rule_set.clone()),
            },
        )
    }

    /// What the longest prefix that holds the address says of it.
    pub fn address(&self, address: IpAddr) -> Option<&Address> {
        let longest = IpNet::from(address);
        std::iter::successors(Some(longest), IpNet::supernet).find_map(|net| self.addresses.get(&net.trunc()))
    }

    /// The entry that allows a connection with a peer of a class: the class's own, or else the one for everybody.
    pub(crate) fn allowing(&self, subject: u32, class: u32, protocol: u8, port: u16) -> Option<&PortEntry> {
        self.entry(subject, class, protocol, port)
            .or_else(|| (class != 0).then(|| self.entry(subject, 0, protocol, port)).flatten())
    }

    /// The longest prefix of the trie that holds the key.
    fn entry(&self, subject: u32, class: u32, protocol: u8, port: u16) -> Option<&PortEntry> {
        let of_protocol = (0..=16).rev().map(|bits| (subject, class, Some(protocol), leading_bits(port, bits), bits));
        of_protocol.chain([(subject, class, None, 0, 0)]).find_map(|key| {
            let index = self.ports.binary_search_by_key(&key, PortEntry::key).ok()?;
            self.ports.get(index)
        })
    }
}

/// The port with all but its leading `bits` bits (0 to 16) zero.
fn leading_bits(port: u16, bits: u8) -> u16 {
    port & u16::MAX.checked_shl(16 - u32::from(bits)).unwrap_or(0)
}
