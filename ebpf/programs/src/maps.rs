//! The maps. Their sizes here are those of a small node; user space sets them from the configuration when it loads.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use podwitness_packet::Packet;
use podwitness_wire::{
    AddressEntry, AddressKeyData, Connection, ConnectionKey, Counter, Denial, DenialKey, EndpointEntry, Event, Loss,
    LossKey, OwnAddressKey, PolicyEntry, PolicyKeyData, Settings, State,
};

use crate::{flow::Flow, fragments::FragmentKey};

/// User space maps the element into its memory.
const BPF_F_MMAPABLE: usize = 1 << 10;

/// The tables of one generation. Each is filled before it is put into its slot and not changed while in force.
pub(crate) type Addresses = LpmTrie<AddressKeyData, AddressEntry, 1024>;
pub(crate) type Endpoints = HashMap<u32, EndpointEntry, 256>;
pub(crate) type OwnAddresses = HashMap<OwnAddressKey, u32, 1024>;
pub(crate) type Policy = LpmTrie<PolicyKeyData, PolicyEntry, 1024>;

#[btf_map(name = "PW_STATE")]
pub(crate) static STATE: Array<State, 1, BPF_F_MMAPABLE> = Array::new();
#[btf_map(name = "PW_SETTINGS")]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();
#[btf_map(name = "PW_ADDRESSES")]
pub(crate) static ADDRESSES: ArrayOfMaps<Addresses, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_ENDPOINTS")]
pub(crate) static ENDPOINTS: ArrayOfMaps<Endpoints, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_OWN")]
pub(crate) static OWN_ADDRESSES: ArrayOfMaps<OwnAddresses, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_POLICY")]
pub(crate) static POLICY: ArrayOfMaps<Policy, 2> = ArrayOfMaps::new();
#[btf_map(name = "PW_CONNECTIONS")]
pub(crate) static CONNECTIONS: HashMap<ConnectionKey, Connection, 262_144> = HashMap::new();
#[btf_map(name = "PW_DENIALS")]
pub(crate) static DENIALS: HashMap<DenialKey, Denial, 65_536> = HashMap::new();
#[btf_map(name = "PW_LOSSES")]
pub(crate) static LOSSES: HashMap<LossKey, Loss, 4096> = HashMap::new();
#[btf_map(name = "PW_FRAGMENTS")]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, u64, 8192> = LruHashMap::new();
#[btf_map(name = "PW_EVENTS")]
pub(crate) static EVENTS: RingBuf<Event, 8_388_608> = RingBuf::new();
#[btf_map(name = "PW_COUNTERS")]
pub(crate) static COUNTERS: PerCpuArray<u64, { Counter::COUNT }> = PerCpuArray::new();

/// Room for what is too large for the stack of 512 bytes. It is a CPU's own, and a classifier is not interrupted by
/// another one: the hooks run with bottom halves disabled.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) flow: Flow,
    pub(crate) packet: Packet,
    pub(crate) connection: Connection,
    pub(crate) denial_key: DenialKey,
    pub(crate) denial: Denial,
}

#[btf_map(name = "PW_SCRATCH")]
pub(crate) static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// This CPU's room.
#[inline(always)]
pub(crate) fn scratch() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}

/// What user space updates to wait until no program runs that began before: the kernel waits for all of them when a map
/// of maps is updated (commit 1ae80cf31938, Linux 4.18).
#[btf_map(name = "PW_GRACE")]
pub(crate) static GRACE: ArrayOfMaps<Array<u32, 1>, 1> = ArrayOfMaps::new();
