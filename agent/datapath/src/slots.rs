//! The maps of two generations: one that is in force, and one that is not.
//!
//! A generation comes into force in one of two ways.
//!
//! **By the other slot.** What differs from the content of the slot that is not in force is put into its maps, or into
//! new ones where that is less work, and then one word is stored (see [`Control`](crate::Control)). No program may be
//! reading the maps of that slot by then: [`Grace`](crate::grace::Grace) has seen to that since the slot went out of force.
//!
//! **In place.** Where nothing differs but what addresses elsewhere mean, their entries are changed in the maps in force.
//! No packet sees half of two generations by that. All that a decision looks up besides is the same before and after; of
//! the address table it looks up the one entry of its peer, once ([`is_elsewhere`] says for which entries that holds; it does
//! of the programs of every build of this layout, since hooks may still have those of an agent before); and the kernel
//! exchanges an entry of a trie as a whole, under readers (`kernel/bpf/lpm_trie.c`). So each decision is made wholly by the
//! tables before or wholly by those after. The word is stored last, and has live connections decided anew.
//!
//! What is in the maps is known only of those that this agent has filled. What an agent before has left is replaced.

mod kept;

use std::thread;

use aya::maps::{ArrayOfMaps, HashMap, LpmTrie, Map, MapData, MapError};
use podwitness_wire::{
    Address, AddressEntry, EndpointEntry, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress, address_flags, names,
};

use crate::{
    Error,
    tables::{AddressPrefix, Tables},
};
use kept::{Edit, Entries, Kept, edits};

type Addresses = LpmTrie<MapData, Address, AddressEntry>;
type Endpoints = HashMap<MapData, u32, EndpointEntry>;
type OwnAddresses = HashMap<MapData, OwnAddressKey, u32>;
type Policy = LpmTrie<MapData, PolicyKeyData, PolicyEntry>;
type Services = HashMap<MapData, TransportAddress, ServiceEntry>;
type FrontendsOf = HashMap<MapData, TransportAddress, Frontends>;

/// The two slots of each table. The lowest bit of a generation says which one is its.
pub(crate) struct Slots {
    addresses: Table<Addresses>,
    endpoints: Table<Endpoints>,
    own_addresses: Table<OwnAddresses>,
    policy: Table<Policy>,
    services: Table<Services>,
    frontends: Table<FrontendsOf>,
}

/// What differs of addresses elsewhere.
#[derive(Debug)]
pub(crate) struct AddressEdits(Vec<Edit<AddressPrefix, AddressEntry>>);

impl AddressEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Slots {
    pub(crate) fn new(mut take: impl FnMut(&'static str) -> Result<Map, Error>) -> Result<Self, Error> {
        Ok(Self {
            addresses: Table::new(names::ADDRESSES, &mut take)?,
            endpoints: Table::new(names::ENDPOINTS, &mut take)?,
            own_addresses: Table::new(names::OWN_ADDRESSES, &mut take)?,
            policy: Table::new(names::POLICY, &mut take)?,
            services: Table::new(names::SERVICES, &mut take)?,
            frontends: Table::new(names::FRONTENDS, &mut take)?,
        })
    }

    /// Whether it is known what the slot of a generation holds.
    pub(crate) fn are_known(&self, generation: u64) -> bool {
        let slot = slot(generation);
        self.addresses.slots[slot].is_some()
            && self.endpoints.slots[slot].is_some()
            && self.own_addresses.slots[slot].is_some()
            && self.policy.slots[slot].is_some()
            && self.services.slots[slot].is_some()
            && self.frontends.slots[slot].is_some()
    }

    /// What is to be changed in place for these tables, if that is possible.
    pub(crate) fn edits_in_place(&self, generation: u64, tables: &Tables) -> Option<AddressEdits> {
        let slot = slot(generation);
        let is_rest_alike = self.endpoints.has(slot, &tables.endpoints)
            && self.own_addresses.has(slot, &tables.own_addresses)
            && self.policy.has(slot, &tables.policy)
            && self.services.has(slot, &tables.services)
            && self.frontends.has(slot, &tables.frontends);
        if !is_rest_alike {
            return None;
        }
        let filled = self.addresses.slots[slot].as_ref()?;
        let edits = edits(&filled.entries, &tables.addresses);
        let is_elsewhere = |edit: &Edit<_, _>| edit.both().all(|(_, entry)| is_elsewhere(&entry));
        let is_possible = filled.takes(tables.addresses.len(), edits.len()) && edits.iter().all(is_elsewhere);
        is_possible.then_some(AddressEdits(edits))
    }

    /// Changes the maps of the generation in force, so that they hold these tables.
    pub(crate) fn edit_in_place(
        &mut self,
        generation: u64,
        edits: &AddressEdits,
        tables: &Tables,
    ) -> Result<(), Error> {
        self.addresses.edit(slot(generation), &edits.0, &tables.addresses)
    }

    /// Has the slot of a generation that is not in force hold these tables. No program may be reading its maps.
    pub(crate) fn fill(&mut self, generation: u64, tables: &Tables) -> Result<(), Error> {
        let slot = slot(generation);
        self.addresses.fill(slot, &tables.addresses)?;
        self.endpoints.fill(slot, &tables.endpoints)?;
        self.own_addresses.fill(slot, &tables.own_addresses)?;
        self.policy.fill(slot, &tables.policy)?;
        self.services.fill(slot, &tables.services)?;
        self.frontends.fill(slot, &tables.frontends)?;

        // Each update of a map of maps waits until the programs that are running have ended (see `Grace::wait`), some
        // milliseconds: waiting for all of them at once takes no longer than for one.
        thread::scope(|scope| {
            let puts = [
                self.addresses.is_new(slot).then(|| scope.spawn(|| self.addresses.put(slot))),
                self.endpoints.is_new(slot).then(|| scope.spawn(|| self.endpoints.put(slot))),
                self.own_addresses.is_new(slot).then(|| scope.spawn(|| self.own_addresses.put(slot))),
                self.policy.is_new(slot).then(|| scope.spawn(|| self.policy.put(slot))),
                self.services.is_new(slot).then(|| scope.spawn(|| self.services.put(slot))),
                self.frontends.is_new(slot).then(|| scope.spawn(|| self.frontends.put(slot))),
            ];
            puts.into_iter().flatten().try_for_each(|put| put.join().expect("an update does not panic"))
        })
    }
}

/// One table of both slots.
struct Table<M: Kept> {
    name: &'static str,
    outer: ArrayOfMaps<MapData, M>,
    /// The map of each slot; none where it is not known what is in it.
    slots: [Option<Filled<M>>; 2],
}

/// A map, and what is in it.
struct Filled<M: Kept> {
    map: M,
    entries: Entries<M>,
    room: usize,
    /// Whether it stands in its slot.
    is_put: bool,
}

/// So many edits are less work than a new map, however small, because of the wait that it costs.
const FEW: usize = 4096;

impl<M: Kept> Table<M> {
    fn new(name: &'static str, take: &mut impl FnMut(&'static str) -> Result<Map, Error>) -> Result<Self, Error> {
        let outer = ArrayOfMaps::try_from(take(name)?).map_err(Error::map("use", name))?;
        Ok(Self { name, outer, slots: [None, None] })
    }

    fn has(&self, slot: usize, entries: &Entries<M>) -> bool {
        self.slots[slot].as_ref().is_some_and(|filled| filled.entries == *entries)
    }

    /// Changes the map of a slot, so that it has these entries.
    fn edit(&mut self, slot: usize, edits: &[Edit<M::Key, M::Value>], after: &Entries<M>) -> Result<(), Error> {
        // Where an edit fails nobody knows what is in the map.
        let Some(mut filled) = self.slots[slot].take() else { return Ok(()) };
        filled.edit(edits, after).map_err(Error::map("change", self.name))?;
        self.slots[slot] = Some(filled);
        Ok(())
    }

    /// Has a map with these entries for a slot: its own, or a new one that is not put there yet.
    fn fill(&mut self, slot: usize, entries: &Entries<M>) -> Result<(), Error> {
        if let Some(filled) = &self.slots[slot] {
            let edits = edits(&filled.entries, entries);
            if filled.takes(entries.len(), edits.len()) {
                return self.edit(slot, &edits, entries);
            }
        }
        // What is in the slot is not touched before another map takes its place.
        let filled = Filled::new(entries.clone()).map_err(Error::map("make", self.name))?;
        self.slots[slot] = Some(filled);
        Ok(())
    }

    fn is_new(&self, slot: usize) -> bool {
        self.slots[slot].as_ref().is_some_and(|filled| !filled.is_put)
    }

    /// Puts the new map of a slot there.
    fn put(&mut self, slot: usize) -> Result<(), Error> {
        let Some(mut filled) = self.slots[slot].take() else { return Ok(()) };
        let place = u32::try_from(slot).expect("there are two slots");
        self.outer.set(place, &filled.map, 0).map_err(Error::map("update", self.name))?;
        filled.is_put = true;
        self.slots[slot] = Some(filled);
        Ok(())
    }
}

impl<M: Kept> Filled<M> {
    /// A new map. It has room to grow, so that it need not be made anew soon.
    fn new(entries: Entries<M>) -> Result<Self, MapError> {
        let room = entries.len() + entries.len() / 4 + 256;
        let mut map = M::create(u32::try_from(room).unwrap_or(u32::MAX))?;
        for (key, value) in entries.iter() {
            map.put(*key, value)?;
        }
        Ok(Self { map, entries, room, is_put: false })
    }

    /// Whether so many edits, to so many entries, are possible and less work than a new map.
    fn takes(&self, entries: usize, edits: usize) -> bool {
        // Kernels before 6.13 (commit 532d6b36b2bf) exchange no entry of a trie that is full.
        self.is_put && self.entries.len() < self.room && entries < self.room && edits <= entries + FEW
    }

    fn edit(&mut self, edits: &[Edit<M::Key, M::Value>], after: &Entries<M>) -> Result<(), MapError> {
        // First what goes, so that what comes has room.
        for edit in edits {
            if let Edit::Went((key, _)) = edit {
                self.map.take(*key)?;
            }
        }
        for (key, value) in edits.iter().filter_map(|edit| edit.after()) {
            self.map.put(key, &value)?;
        }
        self.entries = after.clone();
        Ok(())
    }
}

fn slot(generation: u64) -> usize {
    usize::from(generation & 1 == 1)
}

/// Whether an address is looked up as a packet's peer alone, and once for each decision. One of an endpoint here is not:
/// its own hook is asked about it too (`ebpf/programs/src/services.rs`). What belongs to this node is left alone with it.
fn is_elsewhere(entry: &AddressEntry) -> bool {
    entry.interface == 0 && entry.flags & address_flags::LOCAL_NODE == 0
}
