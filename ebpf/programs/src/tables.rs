//! The tables of the generation in force. Nothing is inserted into or removed from them, so that what is found in one may
//! be copied.
//!
//! Their values are declared as words, because kernels before 6.2 (commit aa3496accc41) take a map without type
//! information, as user space makes it, for another kind than one whose values are a struct (`bpf_map_meta_equal`). Here
//! is the one place where words become entries.

use aya_ebpf::{
    btf_maps::{ArrayOfMaps, HashMap, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use podwitness_wire::{
    Address, AddressEntry, AddressKeyData, EndpointEntry, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData,
    ServiceEntry, TransportAddress,
};

use crate::flow::Snapshot;

/// As many words as an entry has.
macro_rules! words {
    ($entry:ty) => {
        [u32; size_of::<$entry>() / 4]
    };
}

type Addresses = LpmTrie<AddressKeyData, words!(AddressEntry), 1024>;
type Endpoints = HashMap<u32, words!(EndpointEntry), 256>;
type OwnAddresses = HashMap<OwnAddressKey, u32, 1024>;
type Policy = LpmTrie<PolicyKeyData, words!(PolicyEntry), 1024>;
type Services = HashMap<TransportAddress, words!(ServiceEntry), 1024>;
type FrontendsOf = HashMap<TransportAddress, words!(Frontends), 256>;

#[btf_map(name = "PW_ADDRESSES")]
static ADDRESSES: ArrayOfMaps<Addresses, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_ENDPOINTS")]
static ENDPOINTS: ArrayOfMaps<Endpoints, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_OWN")]
static OWN_ADDRESSES: ArrayOfMaps<OwnAddresses, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_POLICY")]
static POLICY: ArrayOfMaps<Policy, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_SERVICES")]
static SERVICES: ArrayOfMaps<Services, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_FRONTENDS")]
static FRONTENDS: ArrayOfMaps<FrontendsOf, 2> = ArrayOfMaps::new();

/// What an address means; nothing in particular where no prefix holds it.
#[inline(always)]
pub(crate) fn address(snapshot: &Snapshot, address: &Address) -> AddressEntry {
    let Some(addresses) = ADDRESSES.get(snapshot.slot()) else { return AddressEntry::default() };
    match addresses.get(&Key::new(128, *address)) {
        // SAFETY: the words are the entry.
        Some(words) => unsafe { *core::ptr::from_ref(words).cast() },
        None => AddressEntry::default(),
    }
}

/// The endpoint behind an interface.
#[inline(always)]
pub(crate) fn endpoint(snapshot: &Snapshot, interface: u32) -> Option<EndpointEntry> {
    let endpoints = ENDPOINTS.get(snapshot.slot())?;
    // SAFETY: nothing is removed from the table, and the words are the entry.
    unsafe { endpoints.get(interface).map(|words| *core::ptr::from_ref(words).cast()) }
}

/// Whether an interface belongs to an endpoint of a generation; before the first, all do.
#[inline(always)]
pub(crate) fn has_endpoint(generation: u64, interface: u32) -> bool {
    match ENDPOINTS.get((generation & 1) as u32) {
        Some(endpoints) => endpoints.get_ptr(interface).is_some(),
        None => true,
    }
}

/// Whether an endpoint may send from an address.
#[inline(always)]
pub(crate) fn is_own_address(snapshot: &Snapshot, interface: u32, address: &Address) -> bool {
    let key = OwnAddressKey { interface, address: *address };
    OWN_ADDRESSES.get(snapshot.slot()).is_some_and(|own| own.get_ptr(key).is_some())
}

/// What the policy says of a class of traffic.
#[inline(always)]
pub(crate) fn policy(snapshot: &Snapshot, key: PolicyKeyData) -> Option<PolicyEntry> {
    let words = POLICY.get(snapshot.slot())?.get(&Key::new(PolicyKeyData::BITS, key))?;
    // SAFETY: the words are the entry.
    Some(unsafe { *core::ptr::from_ref(words).cast() })
}

/// What stands behind a Service's address and port.
#[inline(always)]
pub(crate) fn service(snapshot: &Snapshot, key: TransportAddress) -> Option<ServiceEntry> {
    let services = SERVICES.get(snapshot.slot())?;
    // SAFETY: nothing is removed from the table, and the words are the entry.
    unsafe { services.get(key).map(|words| *core::ptr::from_ref(words).cast()) }
}

/// Through which addresses of Services a packet to a backend may have come.
#[inline(always)]
pub(crate) fn frontends(snapshot: &Snapshot, key: TransportAddress) -> Option<&'static Frontends> {
    let frontends = FRONTENDS.get(snapshot.slot())?;
    // SAFETY: nothing is removed from the table, whose memory outlives the program's run; the words are the entry.
    frontends.get_ptr(key).map(|words| unsafe { &*words.cast() })
}
