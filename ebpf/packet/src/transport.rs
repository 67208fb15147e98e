//! Ports, flags and types of the transport headers.

use podwitness_wire::{ICMP, ICMPV6, SCTP, TCP, UDP};

use crate::{Bytes, Extent, Fault, Fragment, Packet};

/// ICMP echo reply and request (RFC 792).
const ICMP_ECHO_REPLY: u8 = 0;
const ICMP_ECHO_REQUEST: u8 = 8;
/// ICMPv6 echo request and reply (RFC 4443 section 4).
const ICMPV6_ECHO_REQUEST: u8 = 128;
const ICMPV6_ECHO_REPLY: u8 = 129;

/// Fills in what the transport header of `packet` says.
#[inline(always)]
pub(crate) fn read(bytes: &impl Bytes, mut packet: Packet, extent: Extent) -> Result<Packet, Fault> {
    if matches!(packet.fragment, Fragment::Later(_)) {
        return Ok(packet);
    }
    match packet.protocol {
        TCP | UDP | SCTP => {
            let [s0, s1, d0, d1] = bytes.load(packet.transport_offset).ok_or(Fault::Malformed)?;
            packet.source_port = u16::from_be_bytes([s0, s1]);
            packet.destination_port = u16::from_be_bytes([d0, d1]);
            if extent == Extent::Whole {
                whole_header(bytes, &mut packet)?;
            }
        }
        ICMP | ICMPV6 => {
            let [kind, code, _, _, i0, i1] = bytes.load(packet.transport_offset).ok_or(Fault::Malformed)?;
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
    Ok(packet)
}

/// Reads what a quoted packet does not have, and asks that the header be whole, so that no connection is opened by a
/// packet which its receiver must throw away.
#[inline(always)]
fn whole_header(bytes: &impl Bytes, packet: &mut Packet) -> Result<(), Fault> {
    match packet.protocol {
        TCP => {
            let header: [u8; 20] = bytes.load(packet.transport_offset).ok_or(Fault::Malformed)?;
            packet.sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            packet.tcp_flags = header[13];
            // The data offset counts four-byte words, five at the least (RFC 9293 section 3.1).
            if header[12] >> 4 < 5 {
                return Err(Fault::Malformed);
            }
        }
        UDP => {
            bytes.load::<8>(packet.transport_offset).ok_or(Fault::Malformed)?;
        }
        _ => {
            // SCTP's common header (RFC 9260 section 3.1).
            bytes.load::<12>(packet.transport_offset).ok_or(Fault::Malformed)?;
        }
    }
    Ok(())
}

#[inline(always)]
const fn is_echo(protocol: u8, kind: u8) -> bool {
    match protocol {
        ICMP => matches!(kind, ICMP_ECHO_REPLY | ICMP_ECHO_REQUEST),
        _ => matches!(kind, ICMPV6_ECHO_REQUEST | ICMPV6_ECHO_REPLY),
    }
}
