//! What one generation of compiled policy holds.

use podwitness_sorted::SortedList;
use podwitness_wire::{
    Address, AddressEntry, EndpointEntry, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress, ipv4_mapped,
};

/// Leading bits of an address that matter (0 to 128; an IPv4 prefix has 96 more than in its own notation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressPrefix {
    /// The address; bits behind the prefix are zero.
    pub address: Address,
    /// How many bits matter.
    pub bits: u32,
}

impl AddressPrefix {
    /// Whether the address is of the prefix's family and begins with it.
    pub fn holds(&self, address: &Address) -> bool {
        let is_ipv4 = |address: &Address| address[..12] == ipv4_mapped([0; 4])[..12];
        let differing = u128::from_be_bytes(self.address) ^ u128::from_be_bytes(*address);
        differing.leading_zeros() >= self.bits && is_ipv4(&self.address) == is_ipv4(address)
    }
}

/// Leading bits of a policy key that matter (see [`PolicyKeyData`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyPrefix {
    /// The key; bits behind the prefix are zero.
    pub data: PolicyKeyData,
    /// How many bits matter.
    pub bits: u32,
}

/// What one generation holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// What each address means, by the longest prefix.
    pub addresses: SortedList<(AddressPrefix, AddressEntry)>,
    /// The endpoints by interface index.
    pub endpoints: SortedList<(u32, EndpointEntry)>,
    /// From which addresses each endpoint may send; the value is 0.
    pub own_addresses: SortedList<(OwnAddressKey, u32)>,
    /// What allows what.
    pub policy: SortedList<(PolicyPrefix, PolicyEntry)>,
    /// What stands behind the Services' addresses.
    pub services: SortedList<(TransportAddress, ServiceEntry)>,
    /// Through which of them the endpoints on this node may be reached.
    pub frontends: SortedList<(TransportAddress, Frontends)>,
}
