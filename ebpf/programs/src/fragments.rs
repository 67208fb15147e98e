//! Fragments: later ones carry no ports, and follow the verdict of their first.
//!
//! The table is a cache: where a first fragment's entry was displaced, or never came, its later fragments are denied for
//! an isolated endpoint.

use podwitness_packet::{Fragment, Packet};
use podwitness_wire::{Address, is_ipv4_mapped};

use crate::maps::FRAGMENTS;

/// Which datagram a fragment belongs to (RFC 791 section 3.2, RFC 8200 section 4.5), at one interface.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FragmentKey {
    source: Address,
    destination: Address,
    identification: u32,
    interface: u32,
    /// In IPv4 alone: in IPv6 the identification is of the two addresses, and what the first fragment carries is behind
    /// headers which the later ones do not have.
    protocol: u32,
}

/// What a first fragment knows and the later ones do not: protocol, source port, destination port.
fn packed(packet: &Packet) -> u64 {
    u64::from(packet.protocol) << 32 | u64::from(packet.source_port) << 16 | u64::from(packet.destination_port)
}

/// Remembers a first fragment's ports, or gives them to a later one. False for a later one whose first was not seen.
#[inline(never)]
pub(crate) fn complete(packet: &mut Packet, interface: u32) -> bool {
    let (identification, is_first) = match packet.fragment {
        Fragment::Whole => return true,
        Fragment::First(identification) => (identification, true),
        Fragment::Later(identification) => (identification, false),
    };
    let key = FragmentKey {
        source: packet.source,
        destination: packet.destination,
        identification,
        interface,
        protocol: if is_ipv4_mapped(&packet.source) { u32::from(packet.protocol) } else { 0 },
    };
    if is_first {
        // The table displaces the oldest entry, so that an insertion fails only for want of memory; later fragments then
        // have no first.
        let _ = FRAGMENTS.insert(key, packed(packet), 0);
        return true;
    }
    // SAFETY: the value is one word, read whole; an entry that is displaced meanwhile gives another datagram's ports,
    // under which the fragment is decided like any packet of them.
    let Some(&packed) = (unsafe { FRAGMENTS.get(key) }) else {
        return false;
    };
    packet.protocol = (packed >> 32) as u8;
    packet.source_port = (packed >> 16) as u16;
    packet.destination_port = packed as u16;
    true
}
