//! What a pod needs to live on its link, and what no policy is asked about: neighbour discovery (RFC 4861), multicast
//! listener discovery (RFC 2710, RFC 3810) and DHCP (RFC 2131, RFC 8415). ARP is [`Arp`](crate::Arp).
//!
//! A pod is a host: it may ask and answer for its neighbours, look for routers and say what it listens to. It is no router:
//! advertisements, redirects and listener queries out of a pod are packets like any other.

use podwitness_wire::{Address, ICMPV6, UDP, ipv4_mapped, is_ipv4_mapped};

use crate::{Bytes, Fragment, Packet, ipv6};

/// A message of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkMessage {
    /// The address that its sender claims for itself, and that its receivers learn; `None` where it claims none.
    pub claims: Option<Address>,
    /// Whether no router forwards it, by the scope of its addresses alone (RFC 4291 sections 2.5.2, 2.5.6 and 2.7): one is
    /// link-local or unspecified, or the destination is a multicast group of the link. It is false for the solicitations
    /// and advertisements that go between two addresses of wider scope, as hosts on one link exchange them: routers
    /// forward these like any packet, and only the receiver looks at the hop limit. Let them pass to known neighbours
    /// alone.
    pub stays_on_link: bool,
}

/// What nothing has that has passed a router (RFC 4861 section 3.1).
const NEVER_FORWARDED: u8 = 255;
/// What no router forwards (RFC 3810 section 5).
const NOT_TO_BE_FORWARDED: u8 = 1;

const LISTENER_QUERY: u8 = 130;
const LISTENER_REPORT: u8 = 131;
const LISTENER_DONE: u8 = 132;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const LISTENER_REPORT_V2: u8 = 143;

/// Where the target stands in a neighbour solicitation or advertisement.
const TARGET_OFFSET: u32 = 8;

const UNSPECIFIED: Address = [0; 16];
const UNSPECIFIED_V4: Address = ipv4_mapped([0; 4]);
const BROADCAST_V4: Address = ipv4_mapped([255; 4]);
/// `ff02::1:2`, all relay agents and servers of DHCP (RFC 8415 section 7.1).
const DHCPV6_SERVERS: Address = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];

const DHCPV4_SERVER: u16 = 67;
const DHCPV4_CLIENT: u16 = 68;
const DHCPV6_CLIENT: u16 = 546;
const DHCPV6_SERVER: u16 = 547;

/// What a packet is on its link, which it `leaves_pod` for or comes from; `None` where it is like any other packet.
///
/// Fragments are none, nor is what stands behind a fragment header (RFC 6980 section 5) or any extension header but the
/// hop-by-hop header of multicast listener discovery.
#[inline(always)]
pub fn link_message(bytes: &impl Bytes, packet: &Packet, leaves_pod: bool) -> Option<LinkMessage> {
    if !matches!(packet.fragment, Fragment::Whole) {
        return None;
    }
    match (packet.protocol, is_ipv4_mapped(&packet.destination)) {
        (ICMPV6, false) if is_discovery(packet, leaves_pod) => discovery(bytes, packet),
        (ICMPV6, false) if is_listener_message(packet, leaves_pod) => listener_message(bytes, packet),
        (UDP, false) if is_dhcpv6(packet, leaves_pod) && headers(packet) == 0 => Some(of_source(packet)),
        (UDP, true) if is_dhcpv4(packet, leaves_pod) => Some(of_source(packet)),
        _ => None,
    }
}

#[inline(always)]
fn is_discovery(packet: &Packet, leaves_pod: bool) -> bool {
    let is_of_hosts = match packet.icmp_type {
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => true,
        ROUTER_SOLICITATION => leaves_pod && stays_on_link(packet),
        // A router sends them from its link-local address (RFC 4861 sections 6.1.2 and 8.1).
        ROUTER_ADVERTISEMENT | REDIRECT => !leaves_pod && is_link_local(&packet.source),
        _ => false,
    };
    is_of_hosts && packet.hop_limit == NEVER_FORWARDED && packet.icmp_code == 0 && headers(packet) == 0
}

#[inline(always)]
fn discovery(bytes: &impl Bytes, packet: &Packet) -> Option<LinkMessage> {
    let mut message = of_source(packet);
    if matches!(packet.icmp_type, NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT) {
        let target_offset = packet.transport_offset + TARGET_OFFSET;
        if target_offset + 16 > packet.end {
            return None;
        }
        let target: Address = bytes.load(target_offset)?;
        // Who solicits from no address at all looks whether its own is free, and takes it from whoever does the same
        // (RFC 4862 section 5.4.3).
        if packet.icmp_type == NEIGHBOUR_ADVERTISEMENT || message.claims.is_none() {
            message.claims = claimed(target);
        }
    }
    Some(message)
}

#[inline(always)]
fn is_listener_message(packet: &Packet, leaves_pod: bool) -> bool {
    let is_of_hosts = match packet.icmp_type {
        LISTENER_REPORT | LISTENER_DONE | LISTENER_REPORT_V2 => true,
        LISTENER_QUERY => !leaves_pod,
        _ => false,
    };
    is_of_hosts && packet.hop_limit == NOT_TO_BE_FORWARDED && stays_on_link(packet)
}

/// Its router alert stands in a hop-by-hop header (RFC 3810 section 5).
#[inline(always)]
fn listener_message(bytes: &impl Bytes, packet: &Packet) -> Option<LinkMessage> {
    let [first_header] = bytes.load(packet.network_offset + 6)?;
    let is_expected = match first_header {
        ICMPV6 => true,
        ipv6::HOP_BY_HOP => {
            let [next, length] = bytes.load(packet.network_offset + ipv6::HEADER_BYTES)?;
            next == ICMPV6 && headers(packet) == (u32::from(length) + 1) * 8
        }
        _ => false,
    };
    if is_expected { Some(of_source(packet)) } else { None }
}

#[inline(always)]
fn is_dhcpv6(packet: &Packet, leaves_pod: bool) -> bool {
    let ports = if leaves_pod { (DHCPV6_CLIENT, DHCPV6_SERVER) } else { (DHCPV6_SERVER, DHCPV6_CLIENT) };
    let is_from_neighbour = is_link_local(&packet.source);
    let is_to_neighbour = is_link_local(&packet.destination) || (leaves_pod && packet.destination == DHCPV6_SERVERS);
    (packet.source_port, packet.destination_port) == ports && is_from_neighbour && is_to_neighbour
}

/// Broadcast alone: what goes to one server is decided by policy.
#[inline(always)]
fn is_dhcpv4(packet: &Packet, leaves_pod: bool) -> bool {
    let ports = if leaves_pod { (DHCPV4_CLIENT, DHCPV4_SERVER) } else { (DHCPV4_SERVER, DHCPV4_CLIENT) };
    (packet.source_port, packet.destination_port) == ports
        && packet.destination == BROADCAST_V4
        && (!leaves_pod || packet.source == UNSPECIFIED_V4)
}

#[inline(always)]
fn of_source(packet: &Packet) -> LinkMessage {
    LinkMessage { claims: claimed(packet.source), stays_on_link: stays_on_link(packet) }
}

#[inline(always)]
fn claimed(address: Address) -> Option<Address> {
    if address == UNSPECIFIED || address == UNSPECIFIED_V4 { None } else { Some(address) }
}

/// Bytes of extension headers, in an IPv6 packet.
#[inline(always)]
const fn headers(packet: &Packet) -> u32 {
    packet.transport_offset - packet.network_offset - ipv6::HEADER_BYTES
}

#[inline(always)]
fn stays_on_link(packet: &Packet) -> bool {
    is_link_local(&packet.source)
        || packet.source == UNSPECIFIED
        || is_link_local(&packet.destination)
        || (packet.destination[0] == 0xff && packet.destination[1] & 0x0f == 2)
        || packet.destination == BROADCAST_V4
}

/// Whether an address holds on one link alone: `fe80::/10`.
#[inline(always)]
pub const fn is_link_local(address: &Address) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}
