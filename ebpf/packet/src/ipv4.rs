//! The IPv4 header (RFC 791), with options.

use podwitness_wire::ipv4_mapped;

use crate::{Bounded, Bytes, Extent, Fault, Fragment, Packet, transport};

const MINIMUM_BYTES: u32 = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

#[inline(always)]
pub(crate) fn read(bytes: &impl Bytes, offset: u32, extent: Extent) -> Result<Packet, Fault> {
    let header: [u8; MINIMUM_BYTES as usize] = bytes.load(offset).ok_or(Fault::Malformed)?;
    let header_bytes = u32::from(header[0] & 0x0f) * 4;
    let total_bytes = u32::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_bytes < MINIMUM_BYTES {
        return Err(Fault::Malformed);
    }
    // A total length of 0 is how the kernel hands over an offloaded packet of more than 65,535 bytes ("BIG TCP",
    // commit b1a78b9b9886); its real length is the buffer's.
    let end = if extent == Extent::Whole && total_bytes != 0 { offset + total_bytes } else { u32::MAX };
    if offset + header_bytes > end {
        return Err(Fault::Malformed);
    }
    let identification = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let flags_and_offset = u16::from_be_bytes([header[6], header[7]]);
    let fragment = match (flags_and_offset & FRAGMENT_OFFSET, flags_and_offset & MORE_FRAGMENTS) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First(identification),
        (_, _) => Fragment::Later(identification),
    };
    let packet = Packet {
        source: ipv4_mapped([header[12], header[13], header[14], header[15]]),
        destination: ipv4_mapped([header[16], header[17], header[18], header[19]]),
        sequence: 0,
        transport_offset: offset + header_bytes,
        fragment,
        source_port: 0,
        destination_port: 0,
        protocol: header[9],
        hop_limit: header[8],
        tcp_flags: 0,
        icmp_type: 0,
        icmp_code: 0,
    };
    transport::read(&Bounded { bytes, end }, packet, extent)
}
