//! Room for what is too large for the stack: a chain of calls has 512 bytes, and kernels before 6.8 round each frame up
//! to 32.
//!
//! The room is a CPU's own, and a classifier is not interrupted by another one: the hooks run with bottom halves
//! disabled. It is reached through raw pointers alone, because the functions that the verifier looks at once each (see
//! the crate's documentation) take numbers and find it by themselves.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use podwitness_packet::{LinkMessage, Packet};
use podwitness_wire::{Connection, Denial, DenialKey};

use crate::{decide::Decision, flow::Flow};

/// A connection, and what was decided of it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Case {
    pub(crate) flow: Flow,
    pub(crate) decision: Decision,
}

/// Everything.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Room {
    pub(crate) own: Case,
    pub(crate) other: Case,
    pub(crate) packet: Packet,
    pub(crate) quoted: Packet,
    pub(crate) link_message: LinkMessage,
    pub(crate) connection: Connection,
    pub(crate) denial_key: DenialKey,
    pub(crate) denial: Denial,
}

#[btf_map(name = "PW_ROOM")]
static ROOM: PerCpuArray<Room, 1> = PerCpuArray::new();

/// This CPU's room.
#[inline(always)]
pub(crate) fn room() -> Option<*mut Room> {
    ROOM.get_ptr_mut(0)
}

/// Which case is meant, as a number that a function can take.
pub(crate) type Which = u32;
/// The packet's own connection.
pub(crate) const OWN: Which = 0;
/// Another one that the packet bears upon: the client's behind a Service, or one that an error quotes.
pub(crate) const OTHER: Which = 1;

/// One of the two cases.
#[inline(always)]
pub(crate) fn case(which: Which) -> Option<*mut Case> {
    let room = room()?;
    // SAFETY: the pointer is to the map's element, which lives as long as the map.
    Some(unsafe { if which == OWN { &raw mut (*room).own } else { &raw mut (*room).other } })
}
