//! One generation of compiled policy: filled in maps of its own, then put in force at a stroke.

use std::thread;

use aya::maps::{ArrayOfMaps, HashMap, LpmTrie, Map, MapData, lpm_trie::Key};
use podwitness_wire::{
    Address, AddressEntry, EndpointEntry, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress, names,
};

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
    /// What stands behind the Services' addresses.
    pub services: Vec<(TransportAddress, ServiceEntry)>,
    /// Through which of them the endpoints on this node may be reached.
    pub frontends: Vec<(TransportAddress, Frontends)>,
}

type Addresses = LpmTrie<MapData, Address, AddressEntry>;
type Endpoints = HashMap<MapData, u32, EndpointEntry>;
type OwnAddresses = HashMap<MapData, OwnAddressKey, u32>;
type Policy = LpmTrie<MapData, PolicyKeyData, PolicyEntry>;
type Services = HashMap<MapData, TransportAddress, ServiceEntry>;
type FrontendsOf = HashMap<MapData, TransportAddress, Frontends>;

/// The two slots of each table. The lowest bit of a generation says which one is its.
pub(crate) struct Slots {
    addresses: ArrayOfMaps<MapData, Addresses>,
    endpoints: ArrayOfMaps<MapData, Endpoints>,
    own_addresses: ArrayOfMaps<MapData, OwnAddresses>,
    policy: ArrayOfMaps<MapData, Policy>,
    services: ArrayOfMaps<MapData, Services>,
    frontends: ArrayOfMaps<MapData, FrontendsOf>,
}

impl Slots {
    pub(crate) fn new(mut take: impl FnMut(&'static str) -> Result<Map, Error>) -> Result<Self, Error> {
        Ok(Self {
            addresses: outer(take(names::ADDRESSES)?, names::ADDRESSES)?,
            endpoints: outer(take(names::ENDPOINTS)?, names::ENDPOINTS)?,
            own_addresses: outer(take(names::OWN_ADDRESSES)?, names::OWN_ADDRESSES)?,
            policy: outer(take(names::POLICY)?, names::POLICY)?,
            services: outer(take(names::SERVICES)?, names::SERVICES)?,
            frontends: outer(take(names::FRONTENDS)?, names::FRONTENDS)?,
        })
    }

    /// Fills new maps with the tables and puts them into the slot of a generation that is not in force. Each map is as
    /// large as its contents, so that none can be full.
    pub(crate) fn fill(&mut self, generation: u64, tables: &Tables) -> Result<(), Error> {
        let slot = u32::from(generation & 1 == 1);
        let addresses = tables.addresses.iter().map(|(prefix, entry)| (Key::new(prefix.bits, prefix.address), entry));
        let addresses: Addresses = trie(names::ADDRESSES, tables.addresses.len(), addresses)?;
        let policy = tables.policy.iter().map(|(prefix, entry)| (Key::new(prefix.bits, prefix.data), entry));
        let policy: Policy = trie(names::POLICY, tables.policy.len(), policy)?;
        let endpoints: Endpoints = hash(names::ENDPOINTS, &tables.endpoints)?;
        let own_addresses: Vec<(OwnAddressKey, u32)> = tables.own_addresses.iter().map(|key| (*key, 0)).collect();
        let own_addresses: OwnAddresses = hash(names::OWN_ADDRESSES, &own_addresses)?;
        let services: Services = hash(names::SERVICES, &tables.services)?;
        let frontends: FrontendsOf = hash(names::FRONTENDS, &tables.frontends)?;

        // Each update of a map of maps waits until the programs that are running have ended (see `Grace`), some
        // milliseconds: waiting for all of them at once takes no longer than for one.
        thread::scope(|scope| {
            let updates = [
                scope.spawn(|| put(&mut self.addresses, names::ADDRESSES, slot, &addresses)),
                scope.spawn(|| put(&mut self.endpoints, names::ENDPOINTS, slot, &endpoints)),
                scope.spawn(|| put(&mut self.own_addresses, names::OWN_ADDRESSES, slot, &own_addresses)),
                scope.spawn(|| put(&mut self.policy, names::POLICY, slot, &policy)),
                scope.spawn(|| put(&mut self.services, names::SERVICES, slot, &services)),
                scope.spawn(|| put(&mut self.frontends, names::FRONTENDS, slot, &frontends)),
            ];
            updates.into_iter().try_for_each(|update| update.join().expect("an update does not panic"))
        })
    }
}

/// A new trie of its contents.
fn trie<'a, K: aya::Pod, V: aya::Pod>(
    name: &'static str,
    length: usize,
    entries: impl Iterator<Item = (Key<K>, &'a V)>,
) -> Result<LpmTrie<MapData, K, V>, Error> {
    let mut map = LpmTrie::<MapData, K, V>::create(size(length), NO_PREALLOCATION).map_err(Error::map("make", name))?;
    for (key, value) in entries {
        map.insert(&key, value, 0).map_err(Error::map("fill", name))?;
    }
    Ok(map)
}

/// A new hash table of its contents.
fn hash<K: aya::Pod, V: aya::Pod>(name: &'static str, entries: &[(K, V)]) -> Result<HashMap<MapData, K, V>, Error> {
    let mut map = HashMap::<MapData, K, V>::create(size(entries.len()), 0).map_err(Error::map("make", name))?;
    for (key, value) in entries {
        map.insert(key, value, 0).map_err(Error::map("fill", name))?;
    }
    Ok(map)
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
