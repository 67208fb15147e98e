//! The maps, save for the tables of policy ([`tables`](crate::tables)). Their sizes here are those of a small node; user space sets them from the configuration when it loads.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use podwitness_wire::{Connection, ConnectionKey, Counter, Denial, DenialKey, Event, Loss, LossKey, Settings, State};

use crate::fragments::FragmentKey;

/// User space maps the element into its memory.
const BPF_F_MMAPABLE: usize = 1 << 10;

#[btf_map(name = "PW_STATE")]
pub(crate) static STATE: Array<State, 1, BPF_F_MMAPABLE> = Array::new();
#[btf_map(name = "PW_SETTINGS")]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();
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

/// What user space updates to wait until no program runs that began before: the kernel waits for all of them when a map
/// of maps is updated (commit 1ae80cf31938, Linux 4.18). Of those that read tables it knows sooner: see
/// [`readers`](crate::readers).
#[btf_map(name = "PW_GRACE")]
pub(crate) static GRACE: ArrayOfMaps<Array<u32, 1>, 1> = ArrayOfMaps::new();
