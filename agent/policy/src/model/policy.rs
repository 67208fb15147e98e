//! `NetworkPolicy`, with every field of it as a type that cannot hold what the API would refuse.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;

use podwitness_wire::{Direction, SCTP, TCP, UDP};

use super::{LabelSelector, ObjectName, Pod, PolicyText, Uid};

/// A `NetworkPolicy`. Most namespaces have some that others have too: what they ask for a source shares between them
/// ([`Sharing`](super::Sharing)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Its namespace and name.
    pub name: ObjectName,
    /// Its uid; empty where the source has none.
    pub uid: Uid,
    /// `metadata.generation`, which grows with each change of the spec; 0 where the source has none.
    pub generation: i64,
    /// `metadata.resourceVersion`; empty where the source has none.
    pub resource_version: String,
    /// Which pods of its namespace it selects.
    pub pod_selector: LabelSelector,
    /// The ingress rules in the API's order; `None` where the policy does not isolate in this direction, after
    /// the defaulting of `policyTypes`.
    pub ingress: Option<Arc<[Rule]>>,
    /// The egress rules in the API's order; `None` where the policy does not isolate in this direction, after
    /// the defaulting of `policyTypes`.
    pub egress: Option<Arc<[Rule]>>,
    /// The text as applied: canonical JSON with sorted keys. It is evidence; no decision reads it.
    pub text: PolicyText,
    /// What could not be understood and is closed because of it, one sentence each; empty where all was understood. No decision
    /// reads it.
    pub faults: Vec<String>,
}

impl NetworkPolicy {
    /// The rules of one direction, or `None` where the policy does not isolate in it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Whether the policy applies to a pod: same namespace, labels selected, on the pod network and not ended.
    pub fn selects(&self, pod: &Pod) -> bool {
        self.name.namespace() == pod.name.namespace()
            && pod.is_on_pod_network()
            && self.pod_selector.matches(&pod.template.labels)
    }
}

/// One rule of a policy. What it allows is each of its ports with each of its peers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A rule that is understood.
    Usable {
        /// `from` or `to`.
        peers: Peers,
        /// `ports`.
        ports: Ports,
    },
    /// A rule that holds something that the API would refuse. It keeps its place, so that the others keep their
    /// index, and allows nothing.
    Unusable,
}

/// The other sides that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peers {
    /// `from` or `to` is empty or missing: every address.
    Everybody,
    /// Whoever matches at least one of these.
    Listed(Vec<Peer>),
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Pods by selectors.
    Pods {
        /// `namespaceSelector`: the pod's namespace must match it; `None` means the policy's own namespace.
        namespaces: Option<LabelSelector>,
        /// `podSelector`; a peer with `namespaceSelector` alone has the one that selects everything.
        pods: LabelSelector,
    },
    /// Addresses, whoever has them.
    Block(IpBlock),
}

/// `ipBlock`: a network without the networks excepted from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    cidr: IpNet,
    except: Vec<IpNet>,
}

impl IpBlock {
    /// The block `cidr` without `except`, host bits cut off. `None` if an exception does not lie within the block, or is all
    /// of it, which the API refuses.
    pub fn new(cidr: IpNet, except: impl IntoIterator<Item = IpNet>) -> Option<Self> {
        let cidr = cidr.trunc();
        let mut except: Vec<IpNet> = except.into_iter().map(|net| net.trunc()).collect();
        except.sort_unstable();
        except.dedup();
        except.iter().all(|net| cidr.contains(net) && *net != cidr).then_some(Self { cidr, except })
    }

    /// The network.
    pub fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// The networks excepted from it, sorted.
    pub fn except(&self) -> &[IpNet] {
        &self.except
    }

    /// Whether the address is in the network and in none of its exceptions.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|except| except.contains(&address))
    }

    /// Whether all of a network that no exception divides is in the block.
    pub(crate) fn covers(&self, net: IpNet) -> bool {
        self.cidr.contains(&net) && !self.except.iter().any(|except| except.contains(&net))
    }
}

/// The ports that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ports {
    /// `ports` is empty or missing: every port of every protocol, also of those that have no ports.
    Every,
    /// Whatever matches at least one of these.
    Listed(Vec<PortMatch>),
}

/// One entry of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// Only `protocol` is given: every port of it.
    Protocol(Protocol),
    /// `port` as a number, or the range up to `endPort`.
    Range(Protocol, PortRange),
    /// `port` as a name, which stands for what the destination pod calls so.
    Named(Protocol, String),
}

/// Port numbers from a first to a last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: NonZeroU16,
    last: NonZeroU16,
}

impl PortRange {
    /// The range, or `None` if the last number is below the first.
    pub fn new(first: NonZeroU16, last: NonZeroU16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The range of one number.
    pub fn single(port: NonZeroU16) -> Self {
        Self { first: port, last: port }
    }

    /// The first number in it.
    pub fn first(self) -> u16 {
        self.first.get()
    }

    /// The last number in it.
    pub fn last(self) -> u16 {
        self.last.get()
    }

    /// Whether the number is in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first()..=self.last()).contains(&port)
    }
}

/// The transport protocols that a policy can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, the API's default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Sctp => SCTP,
        }
    }

    /// The API's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
