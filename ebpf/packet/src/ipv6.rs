//! The IPv6 header and its extension headers (RFC 8200).

use podwitness_wire::{Address, is_ipv4_mapped};

use crate::{Bytes, Extent, Fault, Fragment, Packet, bytes::Bounded, transport};

pub(crate) const HEADER_BYTES: u32 = 40;
const LARGEST_PAYLOAD: u32 = 0xffff;

/// More extension headers than this are not read. RFC 8200 section 4.1 has each occur once, save for the destination
/// options, which may stand twice: seven kinds with authentication, eight headers.
const MOST_EXTENSION_HEADERS: usize = 8;

pub(crate) const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

#[inline(always)]
pub(crate) fn read(bytes: &impl Bytes, offset: u32, extent: Extent, packet: &mut Packet) -> Result<(), Fault> {
    let start: [u8; 8] = bytes.load(offset).ok_or(Fault::Malformed)?;
    if start[0] >> 4 != 6 {
        return Err(Fault::Malformed);
    }
    let source: Address = bytes.load(offset + 8).ok_or(Fault::Malformed)?;
    let destination: Address = bytes.load(offset + 24).ok_or(Fault::Malformed)?;
    // Such addresses stand for IPv4 nodes inside a host and must not be on the wire (RFC 4942 section 2.2): here they
    // would pass for the IPv4 address that they hold.
    if is_ipv4_mapped(&source) || is_ipv4_mapped(&destination) {
        return Err(Fault::Malformed);
    }
    let payload_bytes = u32::from(u16::from_be_bytes([start[4], start[5]]));
    let mut transport_offset = offset + HEADER_BYTES;
    let end = match extent {
        // What a quote says of a length is not believed: it is the length of what is quoted from.
        Extent::Quoted => bytes.length(),
        // A payload length of 0 is that of a jumbogram (RFC 2675), which is also how the kernel hands over an offloaded
        // packet that no payload length can say: its real length is the frame's. Any other packet of that length has no
        // payload.
        Extent::Whole if payload_bytes == 0 && bytes.length() > transport_offset + LARGEST_PAYLOAD => bytes.length(),
        Extent::Whole => transport_offset + payload_bytes,
    };
    if end > bytes.length() {
        return Err(Fault::Malformed);
    }
    let bytes = &Bounded { bytes, end };
    let mut protocol = start[6];
    let mut fragment = Fragment::Whole;
    let mut has_fragment_header = false;

    for headers_before in 0..MOST_EXTENSION_HEADERS {
        if !is_extension(protocol) {
            break;
        }
        if protocol == FRAGMENT {
            // A fragment of a fragment is nothing that a host makes: which datagram would it belong to?
            if has_fragment_header {
                return Err(Fault::Malformed);
            }
            has_fragment_header = true;
            let header: [u8; 8] = bytes.load(transport_offset).ok_or(Fault::Malformed)?;
            let identification = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let offset_and_more = u16::from_be_bytes([header[2], header[3]]);
            let (fragment_offset, more_follow) = (u32::from(offset_and_more & 0xfff8), offset_and_more & 1 != 0);
            protocol = header[0];
            transport_offset += 8;
            if extent == Extent::Whole {
                transport::check_fragment(protocol, fragment_offset, more_follow, end - transport_offset)?;
            }
            if fragment_offset != 0 {
                fragment = Fragment::Later(identification);
                break;
            }
            // Without more to follow it is an atomic fragment (RFC 6946): whole.
            if more_follow {
                fragment = Fragment::First(identification);
            }
            continue;
        }
        let [next, length, _, segments_left] = bytes.load(transport_offset).ok_or(Fault::Malformed)?;
        let is_refused = match protocol {
            // Elsewhere its number means nothing (RFC 8200 section 4.1).
            HOP_BY_HOP => headers_before != 0,
            // The packet is on its way to another address than its header names. A header that has no segments left is
            // passed over, of whatever type it is (RFC 8200 section 4.4; type 0 too: RFC 5095 section 3).
            ROUTING => segments_left != 0,
            // Three words are always there (RFC 4302 section 2).
            AUTHENTICATION => length == 0,
            _ => false,
        };
        if is_refused {
            return Err(Fault::Malformed);
        }
        // Authentication counts four-byte words less two (RFC 4302 section 2.2), the others eight-byte words less one.
        let length = u32::from(length);
        transport_offset += if protocol == AUTHENTICATION { (length + 2) * 4 } else { (length + 1) * 8 };
        protocol = next;
    }
    *packet = Packet {
        source,
        destination,
        sequence: 0,
        network_offset: offset,
        transport_offset,
        end,
        fragment,
        source_port: 0,
        destination_port: 0,
        protocol,
        hop_limit: start[7],
        tcp_flags: 0,
        icmp_type: 0,
        icmp_code: 0,
    };
    if transport_offset > end || (!matches!(fragment, Fragment::Later(_)) && is_extension(protocol)) {
        return Err(Fault::Malformed);
    }
    transport::read(bytes, packet, extent)
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6
    )
}
