//! One pod with policies, and those it may talk to.

use std::net::{IpAddr, SocketAddr};

use podwitness_datapath::{AddressPrefix, PolicyPrefix, Tables};
use podwitness_wire::{
    Address, AddressEntry, Direction, EndpointEntry, OwnAddressKey, PolicyEntry, PolicyKeyData, address_flags,
    endpoint_flags, ipv4_mapped,
};

use crate::frames::{Pair, SCTP, TCP, UDP};

/// The interface of packets under `BPF_PROG_TEST_RUN`: the loopback of the namespace.
pub(crate) const INTERFACE: u32 = 1;

pub(crate) const POD_IDENTITY: u32 = 100;
pub(crate) const PEER_IDENTITY: u32 = 200;

pub(crate) const INGRESS_ISOLATING: u32 = 901;
pub(crate) const EGRESS_ISOLATING: u32 = 902;
pub(crate) const TO_PEER_HTTPS: u32 = 11;
pub(crate) const TO_PEER_ANY_UDP: u32 = 12;
pub(crate) const TO_BLOCK: u32 = 13;
pub(crate) const TO_ANYBODY_RANGE: u32 = 14;
pub(crate) const TO_PEER_SCTP: u32 = 15;
pub(crate) const FROM_PEER_HTTP: u32 = 21;

const INGRESS_SUBJECT: u32 = 1;
pub(crate) const EGRESS_SUBJECT: u32 = 2;
pub(crate) const PEER_CLASS: u32 = 7;
const BLOCK_CLASS: u32 = 8;

/// The addresses of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) pod: IpAddr,
    /// A pod of [`PEER_IDENTITY`].
    pub(crate) peer: IpAddr,
    pub(crate) node: IpAddr,
    /// In the ipBlock that policy allows.
    pub(crate) in_block: IpAddr,
    /// In its exception.
    pub(crate) in_exception: IpAddr,
    /// In no table.
    pub(crate) outside: IpAddr,
    /// No address of the pod.
    pub(crate) not_own: IpAddr,
}

pub(crate) fn families() -> [Family; 2] {
    let family = |texts: [&str; 7]| {
        let [pod, peer, node, in_block, in_exception, outside, not_own] = texts.map(|text| text.parse().unwrap());
        Family { pod, peer, node, in_block, in_exception, outside, not_own }
    };
    [
        family(["10.1.0.5", "10.2.0.7", "192.168.0.1", "203.0.113.9", "203.0.113.200", "198.51.100.1", "10.1.0.6"]),
        family(["fd01::5", "fd02::7", "fd00::1", "2001:db8:1::9", "2001:db8:1:8000::9", "2001:db8:2::1", "fd01::6"]),
    ]
}

impl Family {
    /// From the pod's port 40000.
    pub(crate) fn to(&self, peer: IpAddr, port: u16) -> Pair {
        Pair { pod: SocketAddr::new(self.pod, 40_000), peer: SocketAddr::new(peer, port) }
    }

    /// From the peer's port 50000.
    pub(crate) fn from(&self, peer: IpAddr, port: u16) -> Pair {
        Pair { pod: SocketAddr::new(self.pod, port), peer: SocketAddr::new(peer, 50_000) }
    }

    /// What policy allows out.
    pub(crate) fn https(&self) -> Pair {
        self.to(self.peer, 443)
    }
}

/// What the policies say, as one generation of tables.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) interface: u32,
    pub(crate) endpoint_flags: u32,
    pub(crate) has_endpoint: bool,
    /// Whether there are rules; without them, nothing is allowed to an isolated pod.
    pub(crate) has_rules: bool,
    /// Added to the number of each rule set, to tell one generation from another.
    pub(crate) rule_set_offset: u32,
}

impl World {
    /// A pod that policies isolate in both directions, with rules.
    pub(crate) fn isolated() -> Self {
        Self {
            interface: INTERFACE,
            endpoint_flags: endpoint_flags::KNOWN | endpoint_flags::ISOLATED_INGRESS | endpoint_flags::ISOLATED_EGRESS,
            has_endpoint: true,
            has_rules: true,
            rule_set_offset: 0,
        }
    }

    /// The same, but no rule allows anything.
    pub(crate) fn closed() -> Self {
        Self { has_rules: false, ..Self::isolated() }
    }

    /// A pod that policies isolate in what enters it alone.
    pub(crate) fn isolated_with_everything_out() -> Self {
        let world = Self::isolated();
        Self { endpoint_flags: world.endpoint_flags & !endpoint_flags::ISOLATED_EGRESS, ..world }
    }

    /// A pod that policies isolate in what leaves it alone.
    pub(crate) fn open_to_ingress() -> Self {
        let world = Self::isolated();
        Self { endpoint_flags: world.endpoint_flags & !endpoint_flags::ISOLATED_INGRESS, ..world }
    }

    /// A pod that no policy selects.
    pub(crate) fn open() -> Self {
        Self { endpoint_flags: endpoint_flags::KNOWN, ..Self::isolated() }
    }

    /// As the world is, in audit mode.
    pub(crate) fn audited(mut self) -> Self {
        self.endpoint_flags |= endpoint_flags::AUDIT;
        self
    }

    pub(crate) fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        if self.has_endpoint {
            tables.endpoints.put((self.interface, self.endpoint()));
        }
        for family in families() {
            tables.own_addresses.put((OwnAddressKey { interface: self.interface, address: address(family.pod) }, 0));
            let pod = AddressEntry { class: 0, identity: POD_IDENTITY, flags: 0, ..AddressEntry::default() };
            let peer = AddressEntry { class: PEER_CLASS, identity: PEER_IDENTITY, flags: 0, ..AddressEntry::default() };
            let node = address_flags::LOCAL_NODE | address_flags::NODE;
            let node = AddressEntry { class: 0, identity: 0, flags: node, ..AddressEntry::default() };
            for (host, entry) in [(family.pod, pod), (family.peer, peer), (family.node, node)] {
                tables.addresses.put((AddressPrefix { address: address(host), bits: 128 }, entry));
            }
        }
        let block = AddressEntry { class: BLOCK_CLASS, identity: 0, flags: 0, ..AddressEntry::default() };
        for (prefix, bits, entry) in [
            ("203.0.113.0", 96 + 24, block),
            ("203.0.113.128", 96 + 25, AddressEntry::default()),
            ("2001:db8:1::", 48, block),
            ("2001:db8:1:8000::", 49, AddressEntry::default()),
        ] {
            let prefix = AddressPrefix { address: address(prefix.parse().unwrap()), bits };
            tables.addresses.put((prefix, entry));
        }
        if self.has_rules {
            tables.policy = self.rules().into_iter().collect();
        }
        tables
    }

    fn endpoint(&self) -> EndpointEntry {
        EndpointEntry {
            identity: POD_IDENTITY,
            flags: self.endpoint_flags,
            ingress_subject: INGRESS_SUBJECT,
            ingress_isolating: self.rule_set_offset + INGRESS_ISOLATING,
            egress_subject: EGRESS_SUBJECT,
            egress_isolating: self.rule_set_offset + EGRESS_ISOLATING,
        }
    }

    fn rules(&self) -> Vec<(PolicyPrefix, PolicyEntry)> {
        let rule = |bits, subject, class, protocol, port, rule_set| {
            let data = PolicyKeyData::new(subject, class, protocol, port);
            (
                PolicyPrefix { data, bits },
                PolicyEntry { rule_set: rule_set + self.rule_set_offset, ..PolicyEntry::default() },
            )
        };
        let (any_protocol, any_port, whole) =
            (PolicyKeyData::ANY_PROTOCOL_BITS, PolicyKeyData::ANY_PORT_BITS, PolicyKeyData::BITS);
        vec![
            rule(whole, EGRESS_SUBJECT, PEER_CLASS, TCP, 443, TO_PEER_HTTPS),
            rule(any_port, EGRESS_SUBJECT, PEER_CLASS, UDP, 0, TO_PEER_ANY_UDP),
            rule(whole, EGRESS_SUBJECT, PEER_CLASS, SCTP, 38412, TO_PEER_SCTP),
            rule(any_protocol, EGRESS_SUBJECT, BLOCK_CLASS, 0, 0, TO_BLOCK),
            // Ports 8080 to 8095.
            rule(any_port + 12, EGRESS_SUBJECT, 0, TCP, 8080, TO_ANYBODY_RANGE),
            rule(whole, INGRESS_SUBJECT, PEER_CLASS, TCP, 80, FROM_PEER_HTTP),
        ]
    }
}

pub(crate) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => ipv4_mapped(ip.octets()),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The other direction.
pub(crate) fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}
