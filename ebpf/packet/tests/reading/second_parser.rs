//! The comparison with a second, independent parser (`etherparse`): never another five-tuple where both read one, never a
//! load behind the packet's end, and no difference in what is read at all that is not one of a closed list.
//!
//! The fuzz target (`fuzz/fuzz_targets/frame.rs`) and the tests share it.

use std::cell::Cell;

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice,
    Ipv6RawExtHeaderSlice, LaxNetSlice, LaxSlicedPacket, LinkExtSlice, NetSlice, SlicedPacket, TcpHeaderSlice,
    UdpHeaderSlice, ether_type, ip_number,
};
use podwitness_packet::{Bytes, Fragment, Frame, Packet, link_message, read_frame, read_quoted};
use podwitness_wire::{Address, ICMP, ICMPV6, SCTP, TCP, UDP, ipv4_mapped, is_ipv4_mapped};

/// What the comparison of one frame came to. What is not in this list is a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Both read a packet, and the same one.
    Packet,
    /// They read the same packet, and the packet that it quotes.
    PacketAndQuote,
    /// Both read an ARP message, and the same one.
    Arp,
    /// Neither reads one.
    Neither,
    /// We read a packet that they refuse.
    WeAlone(WeAlone),
    /// They read one that we refuse.
    TheyAlone(TheyAlone),
}

/// Why etherparse refuses a packet that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WeAlone {
    /// A total length of 0 (BIG TCP), which it takes for shorter than the header.
    LongerThanAnyLength,
    /// The authentication header of an IPv4 packet is wrong, which is read here as a protocol without ports.
    AuthenticationInIpv4,
    /// An IGMP message is cut short, which is read here as a protocol without ports.
    Igmp,
    /// An ICMP timestamp message has another length than its own.
    Timestamp,
    /// What a later fragment carries is no extension header, and is not read as one here.
    LaterFragment,
}

/// Why a packet is refused here that etherparse reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TheyAlone {
    /// More than two VLAN tags, or another kind of header before the network's.
    Tags,
    /// ARP of other hardware, another protocol or another operation.
    Arp,
    /// Options of a wrong length, too many of them, or a source route.
    Options,
    /// IPv4-mapped addresses in IPv6.
    MappedAddress,
    /// An IPv6 payload length of 0, which it takes for "all the rest".
    NoPayloadLength,
    /// Routing headers with segments left.
    SegmentsLeft,
    /// A second fragment header.
    FragmentOfFragment,
    /// More than eight extension headers; or, behind one that it does not know, a hop-by-hop header or one cut short.
    Headers,
    /// A fragment that is not the last and no multiple of eight bytes.
    FragmentLength,
    /// A later fragment over the transport header.
    FragmentOverHeader,
    /// The transport header is not whole: it reads none in fragments, and none of SCTP.
    TransportHeader,
    /// A UDP length of 0, which it takes for "all the rest".
    NoUdpLength,
}

/// Reads a frame with both parsers. Panics where they differ in a way that is not listed.
pub(crate) fn compare(frame: &[u8]) -> Outcome {
    let bytes = Recorder { frame, furthest: Cell::new(0) };
    let mut packet = Packet::default();
    let read = read_frame(&bytes, &mut packet);
    if read == Ok(Frame::Ip) {
        assert!(packet.end <= bytes.length(), "the packet ends behind its frame");
        bytes.assert_within(&packet);
        compare_link(&bytes, &packet);
    }
    let theirs = SlicedPacket::from_ethernet(frame);
    match (read, &theirs) {
        (Ok(Frame::Ip), Ok(theirs)) => {
            let theirs = Net::of(frame, theirs).unwrap_or_else(|| panic!("they read no IP, and we {packet:?}"));
            theirs.assert_is(&packet, Quoted(false));
            if compare_quoted(&bytes, &packet) { Outcome::PacketAndQuote } else { Outcome::Packet }
        }
        (Ok(Frame::Ip), Err(error)) => {
            compare_quoted(&bytes, &packet);
            let lax = LaxSlicedPacket::from_ethernet(frame).expect("an Ethernet header that is read here");
            Net::of_lax(frame, &lax).expect("a header that is read here").assert_addresses(&packet);
            let why = why_we_alone(&packet, frame).unwrap_or_else(|| panic!("they: {error}; we: {packet:?}"));
            Outcome::WeAlone(why)
        }
        (Ok(Frame::Arp(ours)), Ok(SlicedPacket { net: Some(NetSlice::Arp(theirs)), .. })) => {
            assert_eq!(ours.sender[12..], *theirs.sender_protocol_addr());
            Outcome::Arp
        }
        (Ok(Frame::Arp(ours)), theirs) => panic!("they: {theirs:?}; we: {ours:?}"),
        (Err(_), Err(_) | Ok(SlicedPacket { net: None, .. })) => Outcome::Neither,
        (Err(fault), Ok(theirs)) => {
            let why = why_they_alone(frame, theirs).unwrap_or_else(|| panic!("we: {fault:?}; they: {theirs:?}"));
            Outcome::TheyAlone(why)
        }
    }
}

/// A frame that remembers how far it was read.
struct Recorder<'a> {
    frame: &'a [u8],
    furthest: Cell<u32>,
}

impl Bytes for Recorder<'_> {
    fn length(&self) -> u32 {
        self.frame.length()
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let loaded = self.frame.load(offset)?;
        self.furthest.set(self.furthest.get().max(offset + u32::try_from(N).unwrap()));
        Some(loaded)
    }
}

impl Recorder<'_> {
    fn assert_within(&self, packet: &Packet) {
        assert!(self.furthest.get() <= packet.end, "read up to {}, behind the end of {packet:?}", self.furthest.get());
    }
}

fn compare_link(bytes: &Recorder<'_>, packet: &Packet) {
    for leaves_pod in [false, true] {
        let Some(message) = link_message(bytes, packet, leaves_pod) else { continue };
        bytes.assert_within(packet);
        let target = || bytes.frame.load(packet.transport_offset + 8);
        assert!(message.claims.is_none_or(|claims| claims == packet.source || Some(claims) == target()));
    }
}

/// Whether both read a quoted packet. That one is refused says nothing: it is decided by policy then.
fn compare_quoted(bytes: &Recorder<'_>, error: &Packet) -> bool {
    let mut ours = Packet::default();
    if !read_quoted(bytes, error, &mut ours) {
        return false;
    }
    bytes.assert_within(error);
    let mut quote = bytes.frame[error.transport_offset as usize + 8..error.end as usize].to_vec();
    // The length in a quote is not believed here, and 0 is how etherparse is told.
    let length_at = if is_ipv4_mapped(&ours.destination) { 2 } else { 4 };
    quote[length_at..length_at + 2].fill(0);
    let theirs = LaxSlicedPacket::from_ip(&quote).expect("a header that is read here");
    let theirs = Net::of_lax(&quote, &theirs).expect("addresses that are read here");
    theirs.assert_is(&ours, Quoted(true));
    true
}

/// Whether a packet is quoted: cut short, without its place in the frame.
#[derive(Clone, Copy)]
struct Quoted(bool);

/// What etherparse reads of the network's headers, put together where it stops.
struct Net<'a> {
    source: Address,
    destination: Address,
    hop_limit: u8,
    protocol: u8,
    /// Of IPv4 alone.
    options: &'a [u8],
    payload: &'a [u8],
    network_offset: usize,
    transport_offset: usize,
    end: usize,
    fragments: Vec<Part>,
    segments_left: bool,
    extensions: usize,
    /// An extension header is cut short, or a hop-by-hop header is not the first.
    is_broken: bool,
    /// Whether the header says a length.
    says_length: bool,
    /// Where it stops by itself among the extension headers of IPv6: at what, and at which offset.
    known: Option<(u8, usize)>,
}

/// An extension header that it does not go on behind by itself.
fn is_unknown_extension(protocol: u8) -> bool {
    matches!(IpNumber(protocol), ip_number::MOBILITY | ip_number::HIP | ip_number::SHIM6)
}

fn is_extension(protocol: u8) -> bool {
    let kind = IpNumber(protocol);
    // Encryption hides what follows, and the two numbers for experiments say nothing of it.
    kind.is_ipv6_ext_header_value() && !matches!(kind, ip_number::ENCAP_SEC | ip_number::EXP0 | ip_number::EXP1)
}

/// A fragment header.
#[derive(Clone, Copy)]
struct Part {
    identification: u32,
    offset: u32,
    more: bool,
    next: u8,
    bytes: usize,
}

fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

impl<'a> Net<'a> {
    fn of(frame: &'a [u8], sliced: &'a SlicedPacket<'a>) -> Option<Self> {
        match sliced.net.as_ref()? {
            NetSlice::Ipv4(ipv4) => Some(Self::of_ipv4(frame, ipv4.header().slice(), ipv4.payload().payload)),
            NetSlice::Ipv6(ipv6) => {
                let payload = ipv6.payload();
                let net = Self::of_ipv6(frame, ipv6.header().slice(), payload.payload);
                // It reads on in the payload of a later fragment.
                let stops_at = Some((payload.ip_number.0, offset_in(frame, payload.payload)));
                assert!(net.is_later() || net.known == stops_at, "{sliced:?}");
                Some(net)
            }
            NetSlice::Arp(_) => None,
        }
    }

    fn of_lax(whole: &'a [u8], sliced: &'a LaxSlicedPacket<'a>) -> Option<Self> {
        match sliced.net.as_ref()? {
            LaxNetSlice::Ipv4(ipv4) => Some(Self::of_ipv4(whole, ipv4.header().slice(), ipv4.payload().payload)),
            LaxNetSlice::Ipv6(ipv6) => Some(Self::of_ipv6(whole, ipv6.header().slice(), ipv6.payload().payload)),
            LaxNetSlice::Arp(_) => None,
        }
    }

    fn of_ipv4(whole: &'a [u8], header: &'a [u8], payload: &'a [u8]) -> Self {
        let network_offset = offset_in(whole, header);
        let header = Ipv4HeaderSlice::from_slice(header).expect("one that was sliced");
        let (offset, more) = (u32::from(header.fragments_offset().value()) * 8, header.more_fragments());
        let transport_offset = network_offset + header.slice().len();
        let end = offset_in(whole, payload) + payload.len();
        let part = Part {
            identification: u32::from(header.identification()),
            offset,
            more,
            next: header.protocol().0,
            bytes: end - transport_offset,
        };
        Self {
            source: ipv4_mapped(header.source()),
            destination: ipv4_mapped(header.destination()),
            hop_limit: header.ttl(),
            protocol: header.protocol().0,
            options: &whole[network_offset + 20..transport_offset],
            // It unwraps an authentication header, which is a protocol here.
            payload: &whole[transport_offset..end],
            network_offset,
            transport_offset,
            end,
            fragments: if more || offset != 0 { vec![part] } else { Vec::new() },
            segments_left: false,
            extensions: 0,
            is_broken: false,
            says_length: true,
            known: None,
        }
    }

    /// Its extension headers are gone through one by one: it does not know all of them by itself, and its iterator over
    /// those of a chain that it could not read whole reads behind their end (etherparse 0.21.0).
    fn of_ipv6(whole: &'a [u8], header: &'a [u8], rest: &'a [u8]) -> Self {
        let address = |at: usize| header[at..at + 16].try_into().expect("sixteen bytes");
        let (network_offset, end) = (offset_in(whole, header), offset_in(whole, rest) + rest.len());
        let mut net = Self {
            source: address(8),
            destination: address(24),
            hop_limit: header[7],
            protocol: header[6],
            options: &[],
            payload: &whole[network_offset + header.len()..end],
            network_offset,
            transport_offset: 0,
            end,
            fragments: Vec::new(),
            segments_left: false,
            extensions: 0,
            is_broken: false,
            says_length: header[4..6] != [0, 0],
            known: None,
        };
        while !net.is_later() && is_extension(net.protocol) {
            if is_unknown_extension(net.protocol) {
                net.known.get_or_insert((net.protocol, offset_in(whole, net.payload)));
            }
            let Ok((next, header_bytes)) = net.pass() else {
                net.is_broken = true;
                break;
            };
            net.is_broken |= next == ip_number::IPV6_HEADER_HOP_BY_HOP;
            net.extensions += 1;
            (net.protocol, net.payload) = (next.0, &net.payload[header_bytes..]);
        }
        net.transport_offset = offset_in(whole, net.payload);
        net.known.get_or_insert((net.protocol, net.transport_offset));
        net
    }

    /// What the extension header at the payload's start says, what follows it, and its length.
    fn pass(&mut self) -> Result<(IpNumber, usize), ()> {
        match IpNumber(self.protocol) {
            ip_number::AUTH => {
                let header = IpAuthHeaderSlice::from_slice(self.payload).map_err(drop)?;
                Ok((header.next_header(), header.slice().len()))
            }
            ip_number::IPV6_FRAGMENTATION_HEADER => {
                let header = Ipv6FragmentHeaderSlice::from_slice(self.payload).map_err(drop)?;
                self.fragments.push(Part {
                    identification: header.identification(),
                    offset: u32::from(header.fragment_offset().value()) * 8,
                    more: header.more_fragments(),
                    next: header.next_header().0,
                    bytes: self.payload.len() - header.slice().len(),
                });
                Ok((header.next_header(), header.slice().len()))
            }
            kind => {
                let header = Ipv6RawExtHeaderSlice::from_slice(self.payload).map_err(drop)?;
                self.segments_left |= kind == ip_number::IPV6_ROUTE_HEADER && header.slice()[3] != 0;
                Ok((header.next_header(), header.slice().len()))
            }
        }
    }

    fn is_later(&self) -> bool {
        self.fragments.iter().any(|part| part.offset != 0)
    }

    fn fragment(&self) -> Fragment {
        match self.fragments.first() {
            Some(part) if part.offset != 0 => Fragment::Later(part.identification),
            Some(part) if part.more => Fragment::First(part.identification),
            _ => Fragment::Whole,
        }
    }

    fn assert_addresses(&self, ours: &Packet) {
        assert_eq!((ours.source, ours.destination), (self.source, self.destination), "addresses");
        assert_eq!(ours.hop_limit, self.hop_limit, "hop limit");
    }

    fn assert_is(&self, ours: &Packet, quoted: Quoted) {
        self.assert_addresses(ours);
        assert_eq!(ours.protocol, self.protocol, "protocol");
        assert_eq!(ours.fragment, self.fragment(), "fragment");
        if !quoted.0 {
            assert_eq!(ours.network_offset as usize, self.network_offset, "network offset");
            assert_eq!(ours.transport_offset as usize, self.transport_offset, "transport offset");
            assert!(!self.says_length || ours.end as usize == self.end, "end: {} is {}", ours.end, self.end);
        }
        self.assert_transport(ours, quoted);
    }

    fn assert_transport(&self, ours: &Packet, quoted: Quoted) {
        let ports = (ours.source_port, ours.destination_port);
        let flags = (ours.tcp_flags, ours.sequence);
        let icmp = (ours.icmp_type, ours.icmp_code);
        if matches!(ours.fragment, Fragment::Later(_)) {
            assert_eq!((ports, flags, icmp), ((0, 0), (0, 0), (0, 0)), "a later fragment claims nothing");
            return;
        }
        match (self.protocol, quoted.0) {
            (TCP, false) => {
                let tcp = TcpHeaderSlice::from_slice(self.payload).expect("a TCP header that is read here");
                let bits = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
                let bits = bits.iter().rev().fold(0, |bits, bit| bits << 1 | u8::from(*bit));
                assert_eq!(ports, (tcp.source_port(), tcp.destination_port()), "TCP ports");
                assert_eq!((flags, icmp), ((bits, tcp.sequence_number()), (0, 0)), "TCP");
            }
            (TCP | UDP | SCTP, _) => {
                // Ports stand alike in all three.
                let header = UdpHeaderSlice::from_slice(self.payload).expect("eight bytes that are read here");
                assert_eq!(ports, (header.source_port(), header.destination_port()), "ports");
                assert_eq!((flags, icmp), ((0, 0), (0, 0)));
            }
            (ICMP | ICMPV6, _) => {
                let (kind, code, rest) = if self.protocol == ICMP && self.payload[0] != 13 && self.payload[0] != 14 {
                    let message = Icmpv4Slice::from_slice(self.payload).expect("a message that is read here");
                    (message.type_u8(), message.code_u8(), message.bytes5to8())
                } else {
                    let message = Icmpv6Slice::from_slice(self.payload).expect("a message that is read here");
                    (message.type_u8(), message.code_u8(), message.bytes5to8())
                };
                let echo = if self.protocol == ICMP { [0, 8] } else { [128, 129] };
                let identifier = if echo.contains(&kind) { u16::from_be_bytes([rest[0], rest[1]]) } else { 0 };
                assert_eq!((icmp, ports, flags), ((kind, code), (identifier, identifier), (0, 0)), "ICMP");
            }
            _ => assert_eq!((ports, flags, icmp), ((0, 0), (0, 0), (0, 0)), "a protocol without ports"),
        }
    }

    /// Whether the transport header is there as far as it is read here.
    fn has_transport_header(&self) -> bool {
        let there = self.payload.len();
        match self.protocol {
            TCP => TcpHeaderSlice::from_slice(self.payload).is_ok(),
            UDP => UdpHeaderSlice::from_slice(self.payload).is_ok_and(|udp| {
                udp.length() >= 8 && (usize::from(udp.length()) <= there || self.fragment() != Fragment::Whole)
            }),
            SCTP => there >= 12,
            ICMP | ICMPV6 => there >= 8,
            _ => true,
        }
    }
}

fn why_we_alone(ours: &Packet, frame: &[u8]) -> Option<WeAlone> {
    const IGMP: u8 = ip_number::IGMP.0;
    const AUTHENTICATION: u8 = ip_number::AUTH.0;
    let length = &frame[ours.network_offset as usize + 2..];
    match (ours.protocol, is_ipv4_mapped(&ours.destination), ours.icmp_type) {
        (_, true, _) if length[..2] == [0, 0] && frame.len() > 0xffff => Some(WeAlone::LongerThanAnyLength),
        (_, false, _) if matches!(ours.fragment, Fragment::Later(_)) => Some(WeAlone::LaterFragment),
        (AUTHENTICATION, true, _) => Some(WeAlone::AuthenticationInIpv4),
        (IGMP, _, _) => Some(WeAlone::Igmp),
        (ICMP, _, 13 | 14) => Some(WeAlone::Timestamp),
        _ => None,
    }
}

fn why_they_alone(frame: &[u8], sliced: &SlicedPacket<'_>) -> Option<TheyAlone> {
    let tags = &sliced.link_exts;
    let is_known = |tag: &LinkExtSlice<'_>| matches!(tag, LinkExtSlice::Vlan(_));
    let has_old_tag = frame[12..]
        .windows(2)
        .step_by(4)
        .take(tags.len())
        .any(|kind| kind == ether_type::VLAN_DOUBLE_TAGGED_FRAME.0.to_be_bytes());
    if tags.len() > 2 || has_old_tag || !tags.iter().all(is_known) {
        return Some(TheyAlone::Tags);
    }
    let Some(net) = Net::of(frame, sliced) else {
        let Some(NetSlice::Arp(arp)) = &sliced.net else { return None };
        let is_ours = arp.slice()[..7] == [0, 1, 8, 0, 6, 4, 0] && matches!(arp.slice()[7], 1 | 2);
        return if is_ours { None } else { Some(TheyAlone::Arp) };
    };
    let is_ipv6 = matches!(sliced.net, Some(NetSlice::Ipv6(_)));
    let first = net.fragments.first();
    let is_over_header = |part: &Part| {
        let least = match part.next {
            TCP => 20,
            SCTP => 12,
            _ => 0,
        };
        part.offset != 0 && part.offset < least
    };
    [
        (TheyAlone::Options, !are_options_plain(net.options)),
        (TheyAlone::MappedAddress, is_ipv6 && [net.source, net.destination].iter().any(is_ipv4_mapped)),
        (TheyAlone::NoPayloadLength, !net.says_length),
        (TheyAlone::SegmentsLeft, net.segments_left),
        (TheyAlone::FragmentOfFragment, net.fragments.len() > 1),
        (TheyAlone::FragmentLength, first.is_some_and(|part| part.more && part.bytes % 8 != 0)),
        (TheyAlone::FragmentOverHeader, first.is_some_and(is_over_header)),
        (TheyAlone::Headers, net.extensions > 8 || net.is_broken),
        (TheyAlone::NoUdpLength, net.protocol == UDP && net.payload.get(4..6) == Some(&[0, 0])),
        (TheyAlone::TransportHeader, !net.is_later() && !net.has_transport_header()),
    ]
    .into_iter()
    .find_map(|(why, is_so)| is_so.then_some(why))
}

/// Whether options are sixteen at the most, whole, and no source route.
fn are_options_plain(mut options: &[u8]) -> bool {
    for _ in 0..=16 {
        options = match options {
            [] | [0, ..] => return true,
            [1, rest @ ..] => rest,
            [131 | 137, ..] => return false,
            [_, length, ..] if *length >= 2 && usize::from(*length) <= options.len() => {
                &options[usize::from(*length)..]
            }
            _ => return false,
        };
    }
    false
}
