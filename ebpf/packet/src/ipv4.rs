//! The IPv4 header (RFC 791), with options.

use core::hint::black_box;

use podwitness_wire::ipv4_mapped;

use crate::{Bytes, Extent, Fault, Fragment, Packet, bytes::Bounded, transport};

const MINIMUM_BYTES: u32 = 20;
/// More options than this are not read, those counted too that do nothing: in forty bytes there is no use for them.
const MOST_OPTIONS: u32 = 16;
const LARGEST_TOTAL: u32 = 0xffff;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

#[inline(always)]
pub(crate) fn read(bytes: &impl Bytes, offset: u32, extent: Extent, packet: &mut Packet) -> Result<(), Fault> {
    let header: [u8; MINIMUM_BYTES as usize] = bytes.load(offset).ok_or(Fault::Malformed)?;
    let header_bytes = u32::from(header[0] & 0x0f) * 4;
    let total_bytes = u32::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_bytes < MINIMUM_BYTES {
        return Err(Fault::Malformed);
    }
    let end = match extent {
        // What a quote says of a length is not believed: it is the length of what is quoted from.
        Extent::Quoted => bytes.length(),
        // A total length of 0 is how the kernel hands over an offloaded packet that no total length can say ("BIG TCP",
        // commit b1a78b9b9886): its real length is the frame's. Of any other packet it is a lie.
        Extent::Whole if total_bytes == 0 && bytes.length() > offset + LARGEST_TOTAL => bytes.length(),
        Extent::Whole => offset + total_bytes,
    };
    let transport_offset = offset + header_bytes;
    if transport_offset > end || end > bytes.length() {
        return Err(Fault::Malformed);
    }
    let bytes = &Bounded { bytes, end };
    if extent == Extent::Whole && header_bytes > MINIMUM_BYTES {
        check_options(bytes, header_bytes - MINIMUM_BYTES, transport_offset)?;
    }
    let identification = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let flags_and_offset = u16::from_be_bytes([header[6], header[7]]);
    let fragment_offset = u32::from(flags_and_offset & FRAGMENT_OFFSET) * 8;
    let fragment = match (fragment_offset, flags_and_offset & MORE_FRAGMENTS) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First(identification),
        (_, _) => Fragment::Later(identification),
    };
    let protocol = header[9];
    if extent == Extent::Whole {
        let more_follow = flags_and_offset & MORE_FRAGMENTS != 0;
        transport::check_fragment(protocol, fragment_offset, more_follow, end - transport_offset)?;
    }
    *packet = Packet {
        source: ipv4_mapped([header[12], header[13], header[14], header[15]]),
        destination: ipv4_mapped([header[16], header[17], header[18], header[19]]),
        sequence: 0,
        network_offset: offset,
        transport_offset,
        end,
        fragment,
        source_port: 0,
        destination_port: 0,
        protocol,
        hop_limit: header[8],
        tcp_flags: 0,
        icmp_type: 0,
        icmp_code: 0,
    };
    transport::read(bytes, packet, extent)
}

/// Refuses options whose lengths are wrong, more options than are read, and every source route: the destination in the
/// header of such a packet is that of the next hop (RFC 791 section 3.1). RFC 7126 sections 4.3 and 4.4 would have them
/// dropped, whether the route is at its end or not.
///
/// Not inlined: it has a stack of its own.
#[inline(never)]
fn check_options(bytes: &impl Bytes, option_bytes: u32, end: u32) -> Result<(), Fault> {
    let mut left = option_bytes;
    for _ in 0..=MOST_OPTIONS {
        // The kernel's verifier follows every way through the loop, and gives up where each leaves other bounds behind. The
        // mask, which changes nothing, makes them alike; the black box keeps the compiler from seeing that.
        left = black_box(left) & 63;
        if left == 0 {
            return Ok(());
        }
        let [kind] = bytes.load(end - left).ok_or(Fault::Malformed)?;
        let length = match kind {
            END_OF_OPTIONS => return Ok(()),
            NO_OPERATION => 1,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(Fault::Malformed),
            _ => match bytes.load(end - left + 1).ok_or(Fault::Malformed)? {
                [0 | 1] => return Err(Fault::Malformed),
                [length] => u32::from(length),
            },
        };
        left = left.checked_sub(length).ok_or(Fault::Malformed)?;
    }
    Err(Fault::Malformed)
}
