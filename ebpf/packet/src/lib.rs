//! Reads packets: from an Ethernet frame to the five values that name its connection.
//!
//! The kernel programs and user space compile this same source, so that what is fuzzed on the host is what runs in the
//! kernel. It holds no memory of its own and reads through [`Bytes`] alone, whose every access is bounded.
//!
//! Where a packet cannot be read, it says so and guesses nothing: the caller denies it for an isolated endpoint.
#![no_std]
#![forbid(unsafe_code)]

mod ipv4;
mod ipv6;
mod transport;

use podwitness_wire::{Address, is_ipv4_mapped};

/// The bytes of one frame, from its Ethernet header on.
pub trait Bytes {
    /// `N` bytes from `offset`, or `None` where the frame ends before.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
}

impl Bytes for &[u8] {
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = offset as usize;
        self.get(start..start.checked_add(N)?)?.try_into().ok()
    }
}

/// The bytes of a packet that ends where its header says: what follows in the frame is padding, and no part of it.
struct Bounded<'a, B> {
    bytes: &'a B,
    end: u32,
}

impl<B: Bytes> Bytes for Bounded<'_, B> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if offset as usize + N > self.end as usize { None } else { self.bytes.load(offset) }
    }
}

/// Why a frame could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Neither IPv4, IPv6 nor ARP.
    NotIp,
    /// Cut short, or with lengths that contradict each other, or with more extension headers than are read.
    Malformed,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The address resolution protocol (RFC 826).
    Arp,
    /// A packet of either family.
    Ip(Packet),
}

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// It is whole.
    Whole,
    /// It is the first fragment and has the transport header; the identification names the datagram.
    First(u32),
    /// It is a later fragment, without ports.
    Later(u32),
}

/// The values of one IP packet that a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: Address,
    /// Where it goes.
    pub destination: Address,
    /// The sequence number of a TCP segment, else 0.
    pub sequence: u32,
    /// Where the transport header begins, counted from the frame's first byte.
    pub transport_offset: u32,
    /// Whether it is whole.
    pub fragment: Fragment,
    /// The source port; for ICMP echo its identifier; 0 where the protocol has none.
    pub source_port: u16,
    /// The destination port; for ICMP echo its identifier; 0 where the protocol has none.
    pub destination_port: u16,
    /// The protocol of the transport header.
    pub protocol: u8,
    /// The time to live, or hop limit.
    pub hop_limit: u8,
    /// The flags of a TCP segment, else 0.
    pub tcp_flags: u8,
    /// The type of an ICMP or ICMPv6 message, else 0.
    pub icmp_type: u8,
    /// The code of an ICMP or ICMPv6 message, else 0.
    pub icmp_code: u8,
}

/// The bits of [`Packet::tcp_flags`] (RFC 9293 section 3.1).
pub mod tcp {
    /// The sender has no more to send.
    pub const FIN: u8 = 0x01;
    /// Begins a connection.
    pub const SYN: u8 = 0x02;
    /// Ends a connection at once.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number holds.
    pub const ACK: u8 = 0x10;
}

/// Length of an Ethernet header without tags.
pub const ETHERNET_BYTES: u32 = 14;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Reads a frame.
#[inline(always)]
pub fn read_frame(bytes: &impl Bytes) -> Result<Frame, Fault> {
    let ethertype = u16::from_be_bytes(bytes.load(12).ok_or(Fault::Malformed)?);
    match ethertype {
        ETHERTYPE_ARP => Ok(Frame::Arp),
        ETHERTYPE_IPV4 => ipv4::read(bytes, ETHERNET_BYTES, Extent::Whole).map(Frame::Ip),
        ETHERTYPE_IPV6 => ipv6::read(bytes, ETHERNET_BYTES, Extent::Whole).map(Frame::Ip),
        _ => Err(Fault::NotIp),
    }
}

/// Reads the packet that an ICMP or ICMPv6 error quotes (RFC 792, RFC 4443 section 3), or `None` where the message is
/// no error or what it quotes cannot be read.
///
/// An error goes to the source of the packet that it quotes: one that goes elsewhere is none, whatever it quotes.
#[inline(always)]
pub fn read_quoted(bytes: &impl Bytes, error: &Packet) -> Option<Packet> {
    /// Length of the header before the quoted packet, in both families.
    const ICMP_HEADER_BYTES: u32 = 8;
    let offset = error.transport_offset + ICMP_HEADER_BYTES;
    if !matches!(error.fragment, Fragment::Whole) {
        return None;
    }
    let quoted = match (error.protocol, error.icmp_type) {
        // Destination unreachable, source quench, redirect, time exceeded, parameter problem.
        (podwitness_wire::ICMP, 3 | 4 | 5 | 11 | 12) => ipv4::read(bytes, offset, Extent::Quoted).ok()?,
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (podwitness_wire::ICMPV6, 1..=4) => ipv6::read(bytes, offset, Extent::Quoted).ok()?,
        _ => return None,
    };
    if quoted.source == error.destination { Some(quoted) } else { None }
}

/// Whether an ICMPv6 message is one that a host needs in order to live on its link: neighbour discovery (RFC 4861 asks
/// for hop limit 255, which nothing has that has passed a router), and multicast listener discovery (RFC 3810 asks for
/// hop limit 1). Whether a router would forward it all the same, [`stays_on_link`] says.
/// The same numbers in an IPv4 packet mean nothing, and are routed anywhere.
#[inline(always)]
pub fn is_neighbour_discovery(packet: &Packet) -> bool {
    packet.protocol == podwitness_wire::ICMPV6
        && !is_ipv4_mapped(&packet.destination)
        && matches!(packet.fragment, Fragment::Whole)
        && match packet.icmp_type {
            133..=137 => packet.hop_limit == 255,
            130..=132 | 143 => packet.hop_limit == 1,
            _ => false,
        }
}

/// Whether no router forwards an IPv6 packet, by the scope of its addresses alone (RFC 4291 section 2): one of them is
/// link-local or unspecified, or the destination is a multicast group of the link. Neighbour discovery between two
/// addresses of wider scope is forwarded like any packet; only its receiver looks at the hop limit.
#[inline(always)]
pub fn stays_on_link(packet: &Packet) -> bool {
    is_link_local(&packet.source)
        || packet.source == [0; 16]
        || is_link_local(&packet.destination)
        || (packet.destination[0] == 0xff && packet.destination[1] & 0x0f == 2)
}

/// `fe80::/10`.
#[inline(always)]
const fn is_link_local(address: &Address) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// How much of a packet can be expected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// Its headers and the first eight bytes behind them (RFC 792): the ports, but no TCP flags.
    Quoted,
}
