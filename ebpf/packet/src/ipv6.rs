//! The IPv6 header and its extension headers (RFC 8200).

use podwitness_wire::{Address, is_ipv4_mapped};

use crate::{Bounded, Bytes, Extent, Fault, Fragment, Packet, transport};

const HEADER_BYTES: u32 = 40;

/// More extension headers than this are not read. RFC 8200 section 4.1 has each occur once, save for the destination
/// options, which may stand twice: seven kinds with authentication, eight headers.
const MOST_EXTENSION_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

#[inline(always)]
pub(crate) fn read(bytes: &impl Bytes, offset: u32, extent: Extent) -> Result<Packet, Fault> {
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
    // A payload length of 0 is that of a jumbogram (RFC 2675), which is also how the kernel hands over an offloaded packet
    // of more than 65,535 bytes: its real length is the buffer's.
    let payload_bytes = u32::from(u16::from_be_bytes([start[4], start[5]]));
    let end =
        if extent == Extent::Whole && payload_bytes != 0 { offset + HEADER_BYTES + payload_bytes } else { u32::MAX };
    let bytes = &Bounded { bytes, end };
    let mut protocol = start[6];
    let mut transport_offset = offset + HEADER_BYTES;
    let mut fragment = Fragment::Whole;
    let mut has_fragment_header = false;

    for _ in 0..MOST_EXTENSION_HEADERS {
        let length_unit = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => 8,
            // Its length counts four-byte words less two (RFC 4302 section 2.2), the others' eight-byte words less one.
            AUTHENTICATION => 4,
            FRAGMENT => {
                // A fragment of a fragment is nothing that a host makes: which datagram would it belong to?
                if has_fragment_header {
                    return Err(Fault::Malformed);
                }
                has_fragment_header = true;
                let header: [u8; 8] = bytes.load(transport_offset).ok_or(Fault::Malformed)?;
                let identification = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                let offset_and_more = u16::from_be_bytes([header[2], header[3]]);
                protocol = header[0];
                transport_offset += 8;
                fragment = match (offset_and_more & 0xfff8, offset_and_more & 1) {
                    // An atomic fragment (RFC 6946): whole.
                    (0, 0) => Fragment::Whole,
                    (0, _) => Fragment::First(identification),
                    (_, _) => {
                        fragment = Fragment::Later(identification);
                        break;
                    }
                };
                continue;
            }
            _ => break,
        };
        let [next, length] = bytes.load(transport_offset).ok_or(Fault::Malformed)?;
        let header_bytes = if length_unit == 4 { (u32::from(length) + 2) * 4 } else { (u32::from(length) + 1) * 8 };
        protocol = next;
        transport_offset += header_bytes;
    }
    let packet = Packet {
        source,
        destination,
        sequence: 0,
        transport_offset,
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
