//! Reads packets: from an Ethernet frame to the five values that name its connection.
//!
//! The kernel programs and user space compile this same source, so that what is fuzzed on the host is what runs in the
//! kernel. It holds no memory of its own and reads through [`Bytes`] alone, whose every access is bounded.
//!
//! Where a packet cannot be read, it says so and guesses nothing: the caller denies it for an isolated endpoint. What a
//! receiver would throw away is refused too, so that no connection is opened by a packet that nobody takes; and so is
//! what is on its way to another destination than its header names.
#![no_std]
#![forbid(unsafe_code)]

mod arp;
mod bytes;
mod ethernet;
mod ipv4;
mod ipv6;
mod link;
mod quoted;
mod transport;

use podwitness_wire::Address;

pub use crate::{
    arp::Arp,
    bytes::Bytes,
    ethernet::{ETHERNET_BYTES, read_frame},
    link::{LinkMessage, is_link_local, link_message},
    quoted::read_quoted,
};

/// Why a frame could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Neither IPv4, IPv6 nor ARP.
    NotIp,
    /// Cut short, or with lengths that contradict each other, or with more VLAN tags, options or extension headers than are
    /// read; or with what makes its addresses or ports other ones than it shows: a source route, an IPv4-mapped address in
    /// IPv6, a fragment that lies over the transport header.
    Malformed,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The address resolution protocol (RFC 826).
    Arp(Arp),
    /// A packet of either family.
    Ip,
}

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// It is whole.
    #[default]
    Whole,
    /// It is the first fragment and has the transport header; the identification names the datagram.
    First(u32),
    /// It is a later fragment, without ports.
    Later(u32),
}

/// The values of one IP packet that a decision needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: Address,
    /// Where it goes.
    pub destination: Address,
    /// The sequence number of a TCP segment, else 0.
    pub sequence: u32,
    /// Where the IP header begins, counted in bytes from the frame's first: behind the Ethernet header and the VLAN tags
    /// that stand in the frame. The kernel takes the outer tag out of the frame before the hook sees it.
    pub network_offset: u32,
    /// Where the transport header begins, counted in bytes from the frame's first.
    pub transport_offset: u32,
    /// Where the packet ends, counted in bytes from the frame's first: what follows is padding.
    pub end: u32,
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

/// How much of a packet can be expected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// Its headers and the first eight bytes behind them (RFC 792): the ports, but no TCP flags.
    Quoted,
}
