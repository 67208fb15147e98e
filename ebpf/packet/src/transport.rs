//! Ports, flags and types of the transport headers.

use podwitness_wire::{ICMP, ICMPV6, SCTP, TCP, UDP};

use crate::{Bytes, Extent, Fault, Fragment, Packet};

/// RFC 9293 section 3.1, without options.
const TCP_BYTES: u32 = 20;
/// RFC 768.
const UDP_BYTES: u32 = 8;
/// The common header (RFC 9260 section 3.1).
const SCTP_BYTES: u32 = 12;

/// ICMP echo reply and request (RFC 792).
const ICMP_ECHO_REPLY: u8 = 0;
const ICMP_ECHO_REQUEST: u8 = 8;
/// ICMPv6 echo request and reply (RFC 4443 section 4).
const ICMPV6_ECHO_REQUEST: u8 = 128;
const ICMPV6_ECHO_REPLY: u8 = 129;

/// Refuses a fragment that no host makes: one of a length that is no multiple of eight and yet not the last (RFC 791
/// section 3.2, RFC 8200 section 4.5), and one that would be laid over the transport header (RFC 1858 section 4.2, RFC
/// 3128), which stands whole in the first. In IPv6 the header may stand further in; there, every receiver throws away
/// datagrams whose fragments overlap (RFC 5722).
#[inline(always)]
pub(crate) fn check_fragment(protocol: u8, offset: u32, more_follow: bool, bytes: u32) -> Result<(), Fault> {
    let header_bytes = match protocol {
        TCP => TCP_BYTES,
        SCTP => SCTP_BYTES,
        _ => 0,
    };
    let lies_over_header = offset != 0 && offset < header_bytes;
    if lies_over_header || (more_follow && !bytes.is_multiple_of(8)) { Err(Fault::Malformed) } else { Ok(()) }
}

/// Fills in what the transport header of `packet` says.
#[inline(always)]
pub(crate) fn read(bytes: &impl Bytes, packet: &mut Packet, extent: Extent) -> Result<(), Fault> {
    if matches!(packet.fragment, Fragment::Later(_)) {
        return Ok(());
    }
    match packet.protocol {
        TCP | UDP | SCTP => {
            let [s0, s1, d0, d1, l0, l1, _, _] = bytes.load(packet.transport_offset).ok_or(Fault::Malformed)?;
            packet.source_port = u16::from_be_bytes([s0, s1]);
            packet.destination_port = u16::from_be_bytes([d0, d1]);
            if extent == Extent::Whole {
                whole_header(bytes, packet, u32::from(u16::from_be_bytes([l0, l1])))?;
            }
        }
        ICMP | ICMPV6 => {
            let [kind, code, _, _, i0, i1, _, _] = bytes.load(packet.transport_offset).ok_or(Fault::Malformed)?;
            packet.icmp_type = kind;
            packet.icmp_code = code;
            if is_echo(packet.protocol, kind) {
                let identifier = u16::from_be_bytes([i0, i1]);
                packet.source_port = identifier;
                packet.destination_port = identifier;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Reads what a quoted packet does not have, and asks that the header be whole and its lengths true, so that no connection
/// is opened by a packet which its receiver must throw away.
#[inline(always)]
fn whole_header(bytes: &impl Bytes, packet: &mut Packet, udp_bytes: u32) -> Result<(), Fault> {
    let there = packet.end - packet.transport_offset;
    let is_whole = match packet.protocol {
        TCP => {
            let header: [u8; TCP_BYTES as usize] = bytes.load(packet.transport_offset).ok_or(Fault::Malformed)?;
            packet.sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            packet.tcp_flags = header[13];
            // The data offset counts four-byte words, options included.
            let header_bytes = u32::from(header[12] >> 4) * 4;
            TCP_BYTES <= header_bytes && header_bytes <= there
        }
        // Its length is the whole datagram's, of which a first fragment has a part.
        UDP => UDP_BYTES <= udp_bytes && (udp_bytes <= there || matches!(packet.fragment, Fragment::First(_))),
        _ => SCTP_BYTES <= there,
    };
    if is_whole { Ok(()) } else { Err(Fault::Malformed) }
}

#[inline(always)]
const fn is_echo(protocol: u8, kind: u8) -> bool {
    match protocol {
        ICMP => matches!(kind, ICMP_ECHO_REPLY | ICMP_ECHO_REQUEST),
        _ => matches!(kind, ICMPV6_ECHO_REQUEST | ICMPV6_ECHO_REPLY),
    }
}
