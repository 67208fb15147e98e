//! The packet that an ICMP error quotes.

use podwitness_wire::{ICMP, ICMPV6};

use crate::{Bytes, Extent, Fragment, Packet, bytes::Bounded, ipv4, ipv6};

/// Length of the header before the quoted packet, in both families.
const ICMP_HEADER_BYTES: u32 = 8;

/// Reads the packet that an ICMP or ICMPv6 error quotes (RFC 792, RFC 4443 section 3) into `quoted`. False where the message
/// is no error or what it quotes cannot be read; what is in `quoted` then means nothing.
///
/// An error goes to the source of the packet that it quotes: one that goes elsewhere is none, whatever it quotes. Nothing
/// is said about a later fragment, which has no ports (RFC 1122 section 3.2.2).
#[inline(always)]
pub fn read_quoted(bytes: &impl Bytes, error: &Packet, quoted: &mut Packet) -> bool {
    if !matches!(error.fragment, Fragment::Whole) {
        return false;
    }
    let offset = error.transport_offset + ICMP_HEADER_BYTES;
    let bytes = &Bounded { bytes, end: error.end };
    let read = match (error.protocol, error.icmp_type) {
        // Destination unreachable, source quench, redirect, time exceeded, parameter problem.
        (ICMP, 3 | 4 | 5 | 11 | 12) => ipv4::read(bytes, offset, Extent::Quoted, quoted),
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (ICMPV6, 1..=4) => ipv6::read(bytes, offset, Extent::Quoted, quoted),
        _ => return false,
    };
    read.is_ok() && quoted.source == error.destination && !matches!(quoted.fragment, Fragment::Later(_))
}
