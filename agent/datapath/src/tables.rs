//! What one generation of compiled policy holds.

use podwitness_wire::{
    Address, AddressEntry, EndpointEntry, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress,
};

/// Leading bits of an address that matter (0 to 128; an IPv4 prefix has 96 more than in its own notation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressPrefix {
    /// The address; bits behind the prefix are zero.
    pub address: Address,
    /// How many bits matter.
    pub bits: u32,
}

/// Leading bits of a policy key that matter (see [`PolicyKeyData`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyPrefix {
    /// The key; bits behind the prefix are zero.
    pub data: PolicyKeyData,
    /// How many bits matter.
    pub bits: u32,
}

/// What one generation holds. No table has a key twice; it costs less where keys are in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// What each address means, by the longest prefix.
    pub addresses: Vec<(AddressPrefix, AddressEntry)>,
    /// The endpoints by interface index.
    pub endpoints: Vec<(u32, EndpointEntry)>,
    /// From which addresses each endpoint may send.
    pub own_addresses: Vec<OwnAddressKey>,
    /// What allows what.
    pub policy: Vec<(PolicyPrefix, PolicyEntry)>,
    /// What stands behind the Services' addresses.
    pub services: Vec<(TransportAddress, ServiceEntry)>,
    /// Through which of them the endpoints on this node may be reached.
    pub frontends: Vec<(TransportAddress, Frontends)>,
}
