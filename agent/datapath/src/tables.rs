//! One generation of compiled policy: filled in maps of its own, then put in force at a stroke.

use std::thread;

use aya::maps::{ArrayOfMaps, HashMap, LpmTrie, Map, MapData, lpm_trie::Key};
use podwitness_wire::{Address, AddressEntry, EndpointEntry, OwnAddressKey, PolicyEntry, PolicyKeyData, names};

use crate::Error;

/// `BPF_F_NO_PREALLOC`, which tries must have.
const NO_PREALLOCATION: u32 = 1;

/// Leading bits of an address that matter (0 to 128; an IPv4 prefix has 96 more than in its own notation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressPrefix {
    /// The address; bits behind the prefix are zero.
    pub address: Address,
    /// How many bits matter.
    pub bits: u32,
}

/// Leading bits of a policy key that matter (see [`PolicyKeyData`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub addresses: Vec<(AddressPrefix, AddressEntry)>,
    /// The endpoints by interface index.
    pub endpoints: Vec<(u32, EndpointEntry)>,
    /// From which addresses each endpoint may send.
    pub own_addresses: Vec<OwnAddressKey>,
    /// What allows what.
    pub policy: Vec<(PolicyPrefix, PolicyEntry)>,
}

type Addresses = LpmTrie<MapData, Address, AddressEntry>;
type Endpoints = HashMap<MapData, u32, EndpointEntry>;
type OwnAddresses = HashMap<MapData, OwnAddressKey, u32>;
type Policy = LpmTrie<MapData, PolicyKeyData, PolicyEntry>;

/// The two slots of each table. The lowest bit of a generation says which one is its.
pub(crate) struct Slots {
    addresses: ArrayOfMaps<MapData, Addresses>,
    endpoints: ArrayOfMaps<MapData, Endpoints>,
    own_addresses: ArrayOfMaps<MapData, OwnAddresses>,
    policy: ArrayOfMaps<MapData, Policy>,
}

impl Slots {
    pub(crate) fn new(mut take: impl FnMut(&'static str) -> Result<Map, Error>) -> Result<Self, Error> {
        Ok(Self {
            addresses: outer(take(names::ADDRESSES)?, names::ADDRESSES)?,
            endpoints: outer(take(names::ENDPOINTS)?, names::ENDPOINTS)?,
            own_addresses: outer(take(names::OWN_ADDRESSES)?, names::OWN_ADDRESSES)?,
            policy: outer(take(names::POLICY)?, names::POLICY)?,
        })
    }

    /// Fills new maps with the tables and puts them into the slot of a generation that is not in force. Each map is as
    /// large as its contents, so that none can be full.
    pub(crate) fn fill(&mut self, generation: u64, tables: &Tables) -> Result<(), Error> {
        let slot = u32::from(generation & 1 == 1);

        let mut addresses = Addresses::create(size(tables.addresses.len()), NO_PREALLOCATION)
            .map_err(Error::map("make", names::ADDRESSES))?;
        for (prefix, entry) in &tables.addresses {
            addresses
                .insert(&Key::new(prefix.bits, prefix.address), entry, 0)
                .map_err(Error::map("fill", names::ADDRESSES))?;
        }
        let mut endpoints =
            Endpoints::create(size(tables.endpoints.len()), 0).map_err(Error::map("make", names::ENDPOINTS))?;
        for (interface, entry) in &tables.endpoints {
            endpoints.insert(interface, entry, 0).map_err(Error::map("fill", names::ENDPOINTS))?;
        }
        let mut own_addresses = OwnAddresses::create(size(tables.own_addresses.len()), 0)
            .map_err(Error::map("make", names::OWN_ADDRESSES))?;
        for key in &tables.own_addresses {
            own_addresses.insert(key, 0, 0).map_err(Error::map("fill", names::OWN_ADDRESSES))?;
        }
        let mut policy =
            Policy::create(size(tables.policy.len()), NO_PREALLOCATION).map_err(Error::map("make", names::POLICY))?;
        for (prefix, entry) in &tables.policy {
            policy.insert(&Key::new(prefix.bits, prefix.data), entry, 0).map_err(Error::map("fill", names::POLICY))?;
        }

        // Each update of a map of maps waits until the programs that are running have ended (see `Grace`), some
        // milliseconds: waiting for all four at once takes no longer than for one.
        let Self { addresses: addresses_of, endpoints: endpoints_of, own_addresses: own_of, policy: policy_of } = self;
        thread::scope(|scope| {
            let updates = [
                scope.spawn(|| put(addresses_of, names::ADDRESSES, slot, &addresses)),
                scope.spawn(|| put(endpoints_of, names::ENDPOINTS, slot, &endpoints)),
                scope.spawn(|| put(own_of, names::OWN_ADDRESSES, slot, &own_addresses)),
                scope.spawn(|| put(policy_of, names::POLICY, slot, &policy)),
            ];
            updates.into_iter().try_for_each(|update| update.join().expect("an update does not panic"))
        })
    }
}

fn put<V: aya::maps::InnerMap>(
    outer: &mut ArrayOfMaps<MapData, V>,
    name: &'static str,
    slot: u32,
    inner: &V,
) -> Result<(), Error> {
    outer.set(slot, inner, 0).map_err(Error::map("update", name))
}

/// A map has room for one entry at the least.
fn size(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX).max(1)
}

fn outer<V: aya::maps::InnerMap>(map: Map, name: &'static str) -> Result<ArrayOfMaps<MapData, V>, Error> {
    ArrayOfMaps::try_from(map).map_err(Error::map("use", name))
}
