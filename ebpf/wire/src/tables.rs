//! The compiled policy: what one table generation holds. Each generation is a set of maps of its own, so that a packet
//! sees all of one generation or all of another.

use crate::{Address, layout};

/// What an address means: the value in the address table, found by the longest prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct AddressEntry {
    /// The class that policy is keyed on; peers alike for every rule share one. 0 where no specific rule names it.
    pub class: u32,
    /// The incarnation (this pod, with these labels), never reused within a boot; 0 where it is none of the cluster's.
    pub identity: u32,
    /// [`address_flags`].
    pub flags: u32,
    /// The pod whatever its labels, never reused within a boot; 0 where it is none. A connection does not outlive it,
    /// though its address may be given to another pod at once.
    pub owner: u32,
    /// The interface index of the endpoint on this node that has the address, 0 where none has.
    pub interface: u32,
}
layout!(AddressEntry, 20, [class, identity, flags, owner, interface]);

/// The flags of an [`AddressEntry`].
pub mod address_flags {
    /// An address of the node on which the hook runs: always allowed.
    pub const LOCAL_NODE: u32 = 1;
    /// An address of any node of the cluster.
    pub const NODE: u32 = 1 << 1;
    /// In the pods' range of a node, but no pod is known to have it.
    pub const POD_RANGE: u32 = 1 << 2;
}

/// The data of a key in the policy table, matched from the left: subject, class, protocol, port.
///
/// Subject and class come first because they are always matched whole; the protocol stands before the port because a
/// rule may leave out the port alone, or both, but never the protocol alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct PolicyKeyData {
    /// The subject (policies of one direction that endpoints share), in network order.
    pub subject: [u8; 4],
    /// The peer's class, in network order.
    pub class: [u8; 4],
    /// The protocol of the IP header.
    pub protocol: u8,
    /// Always zero; it makes the value behind the key aligned.
    pub zero: u8,
    /// The destination port, in network order.
    pub port: [u8; 2],
}
layout!(PolicyKeyData, 12, [subject, class, protocol, zero, port]);

impl PolicyKeyData {
    /// Leading bits of an entry that holds for every protocol.
    pub const ANY_PROTOCOL_BITS: u32 = 64;
    /// Leading bits of an entry that holds for every port of one protocol; each bit of the port adds one.
    pub const ANY_PORT_BITS: u32 = 80;
    /// All bits: what a lookup asks with.
    pub const BITS: u32 = 96;

    /// The key with its numbers in network order.
    #[must_use]
    #[inline(always)]
    pub const fn new(subject: u32, class: u32, protocol: u8, port: u16) -> Self {
        Self { subject: subject.to_be_bytes(), class: class.to_be_bytes(), protocol, zero: 0, port: port.to_be_bytes() }
    }
}

/// What allows a class of traffic: the value in the policy table. No entry means that nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PolicyEntry {
    /// The rule set: exactly the rules that allow it, or the isolating policies where the outcome is `MIXED_DENIED`.
    pub rule_set: u32,
    /// [`policy_outcome`].
    pub outcome: u32,
}
layout!(PolicyEntry, 8, [rule_set, outcome]);

/// What a [`PolicyEntry`] says. Others than the first are said of Services whose backends are not decided alike.
pub mod policy_outcome {
    /// It is allowed.
    pub const ALLOWED: u32 = 0;
    /// Some backends are allowed, and every other is an endpoint on this node, at whose hook it is decided.
    pub const DEFERRED: u32 = 1;
    /// Some backends are allowed, but nobody could tell the others apart.
    pub const MIXED_DENIED: u32 = 2;
}

/// What is known of an endpoint: the value in the endpoint table, whose key is the interface index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EndpointEntry {
    /// The pod's incarnation, 0 while it is not known.
    pub identity: u32,
    /// [`endpoint_flags`].
    pub flags: u32,
    /// The subject of the ingress side in the policy table, where it is isolated.
    pub ingress_subject: u32,
    /// The rule set of the policies that isolate the ingress side.
    pub ingress_isolating: u32,
    /// The subject of the egress side in the policy table, where it is isolated.
    pub egress_subject: u32,
    /// The rule set of the policies that isolate the egress side.
    pub egress_isolating: u32,
}
layout!(EndpointEntry, 24, [identity, flags, ingress_subject, ingress_isolating, egress_subject, egress_isolating]);

/// The flags of an [`EndpointEntry`].
pub mod endpoint_flags {
    /// The pod behind the interface is known.
    pub const KNOWN: u32 = 1;
    /// At least one policy selects the pod for ingress.
    pub const ISOLATED_INGRESS: u32 = 1 << 1;
    /// At least one policy selects the pod for egress.
    pub const ISOLATED_EGRESS: u32 = 1 << 2;
    /// The witness mode is `audit`: what would be denied passes, and is recorded.
    pub const AUDIT: u32 = 1 << 3;
}

/// An address from which an endpoint may send: a key in the table of own addresses (the value has no meaning).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct OwnAddressKey {
    /// The host side's interface index.
    pub interface: u32,
    /// The address.
    pub address: Address,
}
layout!(OwnAddressKey, 20, [interface, address]);

/// An address with a port: where a Service is reached, or one of its backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct TransportAddress {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: u16,
    /// The protocol of the IP header.
    pub protocol: u8,
    /// Always zero.
    pub zero: u8,
}
layout!(TransportAddress, 20, [address, port, protocol, zero]);

/// What stands behind a Service's address and port: the value in the table of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ServiceEntry {
    /// The Service, by the number of its definition; never reused within a boot.
    pub service: u32,
    /// The class of the backends in the policy table.
    pub class: u32,
    /// The port under which the policy table has them.
    pub port: u16,
    /// [`service_kind`].
    pub kind: u8,
    /// Always zero.
    pub zero: u8,
}
layout!(ServiceEntry, 12, [service, class, port, kind, zero]);

/// How a [`ServiceEntry`] is decided.
pub mod service_kind {
    /// No backend is ready: nothing allows it.
    pub const EMPTY: u8 = 0;
    /// Every backend is of one class and has one port: what holds for a peer of that class.
    pub const ALIKE: u8 = 1;
    /// The class stands for this Service alone, and the entries for everybody say nothing of it.
    pub const OWN: u8 = 2;
    /// Every backend is on an address of this node, which is always allowed.
    pub const NODE: u8 = 3;
}

/// Through which addresses of Services a packet to a backend may have come: the value in the table of frontends, whose
/// key is the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frontends {
    /// How many there are.
    pub count: u32,
    /// The first so many of these; the protocol is the backend's.
    pub list: [Frontend; Frontends::MOST],
}
layout!(Frontends, 164, [count, list]);

impl Frontends {
    /// How many there may be. A backend with more stands in no table.
    pub const MOST: usize = 8;
}

/// Where a Service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Frontend {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: u16,
    /// Always zero.
    pub zero: [u8; 2],
}
layout!(Frontend, 20, [address, port, zero]);
