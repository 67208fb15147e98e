//! The kernel seen from the agent: loads the programs, keeps their maps and links pinned, and speaks of policy tables,
//! endpoints, events and denials instead of map names and file descriptors.
//!
//! Everything that outlives the agent is a pin under the configured folder of the BPF file system:
//!
//! ```text
//! <bpffs>/v<LAYOUT>/maps/<NAME> every map of podwitness_wire::names::MAPS, in the layout of this number
//! <bpffs>/v<LAYOUT>/counters-1  the counters of layout 1, where the maps were taken over from it
//! <bpffs>/maps/<NAME>           the maps of layout 1, as long as they are being taken over
//! <bpffs>/links/<ifindex>-from  the hook on what leaves the pod
//! <bpffs>/links/<ifindex>-to    the hook on what enters the pod
//! <bpffs>/pw_sweep              the program that sweeps the connection table
//! <bpffs>/pw_learn              the program that tells connections their Services' backends
//! ```
//!
//! On kernels without `tcx` the hooks are filters of the interface instead of links, which need no pin.
//!
//! [`Datapath::open`] takes over what is there: the maps keep their contents, and each link gets the new program in one
//! step. The parts that it opens can be used by different threads: [`Control`] says what is in force, [`Hooking`] where, and
//! [`Outlet`] brings out what happened.

mod bpf;
mod chain;
mod clsact;
mod control;
mod counters;
mod denials;
mod detach;
mod error;
mod grace;
mod hooking;
mod hooks;
mod layout1;
mod load;
mod older;
mod outlet;
mod pins;
mod privileges;
mod records;
mod ring;
mod shared_state;
mod slots;
mod tables;

pub use chain::{Chain, Link, Owner, chain};
pub use control::{Control, Next};
pub use counters::Counters;
pub use denials::{DenialRecord, LossRecord};
pub use detach::{detach, unhook};
pub use error::Error;
pub use hooking::Hooking;
pub use hooks::{Attachment, HookError, HookFault, Interface};
pub use load::{Datapath, KeptSize, Options};
pub use outlet::{Outlet, Sweep};
pub use pins::has_maps;
pub use privileges::check_privileges;
pub use ring::Position;
pub use tables::{AddressPrefix, PolicyPrefix, Tables};
