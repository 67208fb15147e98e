//! Frames, made byte by byte, so that nothing of the code under test takes part.

use podwitness_packet::{Arp, Fault, Frame, Packet};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const SOURCE_PORT: u16 = 40_000;
pub(crate) const DESTINATION_PORT: u16 = 443;

pub(crate) const ARP: u16 = 0x0806;
pub(crate) const CUSTOMER_TAG: u16 = 0x8100;
pub(crate) const SERVICE_TAG: u16 = 0x88a8;

pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The frame with VLAN tags before its network header, the outermost first.
pub(crate) fn tagged(tags: &[u16], frame: &[u8]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for tag in tags {
        tagged.extend(tag.to_be_bytes());
        tagged.extend([0x20, 7]);
    }
    tagged.extend(&frame[12..]);
    tagged
}

/// A message for IPv4 on Ethernet: 1 asks, 2 answers.
pub(crate) fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 2];
    message.extend(sender);
    message.extend([0; 6]);
    message.extend(target);
    ethernet(ARP, &message)
}

#[derive(Clone)]
pub(crate) struct Ipv4 {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) protocol: u8,
    pub(crate) identification: u16,
    pub(crate) flags_and_offset: u16,
    pub(crate) time_to_live: u8,
    /// A multiple of four bytes, at most forty.
    pub(crate) options: Vec<u8>,
}

impl Ipv4 {
    pub(crate) fn new(protocol: u8) -> Self {
        Self {
            source: [10, 1, 0, 5],
            destination: [192, 0, 2, 7],
            protocol,
            identification: 0x1234,
            flags_and_offset: 0,
            time_to_live: 64,
            options: Vec::new(),
        }
    }

    pub(crate) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header_bytes = 20 + self.options.len();
        let mut packet = vec![0x40 | u8::try_from(header_bytes / 4).unwrap(), 0];
        packet.extend(u16::try_from(header_bytes + payload.len()).unwrap().to_be_bytes());
        packet.extend(self.identification.to_be_bytes());
        packet.extend(self.flags_and_offset.to_be_bytes());
        packet.extend([self.time_to_live, self.protocol, 0, 0]);
        packet.extend(self.source);
        packet.extend(self.destination);
        packet.extend(&self.options);
        packet.extend(payload);
        packet
    }

    pub(crate) fn frame(&self, payload: &[u8]) -> Vec<u8> {
        ethernet(0x0800, &self.packet(payload))
    }
}

/// An option that fills `bytes`, of which it needs none or four at the least.
pub(crate) fn record_route(bytes: u8) -> Vec<u8> {
    let mut option = vec![0; usize::from(bytes)];
    if let Some(start) = option.first_chunk_mut() {
        *start = [7, bytes, 4];
    }
    option
}

/// An extension header: its kind, and its bytes behind the first, which says what follows.
#[derive(Clone, Debug)]
pub(crate) struct Extension {
    pub(crate) kind: u8,
    pub(crate) rest: Vec<u8>,
}

pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const AUTHENTICATION: u8 = 51;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;
pub(crate) const MOBILITY: u8 = 135;
pub(crate) const HOST_IDENTITY: u8 = 139;
pub(crate) const SHIM6: u8 = 140;

/// Every kind whose length counts eight-byte words.
pub(crate) const IN_EIGHTS: [u8; 6] = [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, MOBILITY, HOST_IDENTITY, SHIM6];

impl Extension {
    /// One of `8 * (1 + more)` bytes, or for authentication of `4 * (2 + more)`.
    pub(crate) fn new(kind: u8, more: u8) -> Self {
        let bytes = if kind == AUTHENTICATION { 4 * (2 + usize::from(more)) } else { 8 * (1 + usize::from(more)) };
        let mut rest = vec![0; bytes - 1];
        rest[0] = more;
        Self { kind, rest }
    }

    /// `offset` counts eight-byte words.
    pub(crate) fn fragment(offset: u16, more_follow: bool, identification: u32) -> Self {
        let mut rest = vec![0];
        rest.extend((offset << 3 | u16::from(more_follow)).to_be_bytes());
        rest.extend(identification.to_be_bytes());
        Self { kind: FRAGMENT, rest }
    }
}

#[derive(Clone)]
pub(crate) struct Ipv6 {
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) extensions: Vec<Extension>,
}

impl Ipv6 {
    pub(crate) fn new(protocol: u8) -> Self {
        let address = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        Self { source: address(5), destination: address(7), protocol, hop_limit: 64, extensions: Vec::new() }
    }

    pub(crate) fn with(protocol: u8, extensions: impl Into<Vec<Extension>>) -> Self {
        Self { extensions: extensions.into(), ..Self::new(protocol) }
    }

    pub(crate) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut chain = Vec::new();
        let kinds: Vec<u8> = self.extensions.iter().map(|extension| extension.kind).chain([self.protocol]).collect();
        for (extension, next) in self.extensions.iter().zip(&kinds[1..]) {
            chain.push(*next);
            chain.extend(&extension.rest);
        }
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(chain.len() + payload.len()).unwrap().to_be_bytes());
        packet.extend([kinds[0], self.hop_limit]);
        packet.extend(self.source);
        packet.extend(self.destination);
        packet.extend(chain);
        packet.extend(payload);
        packet
    }

    pub(crate) fn frame(&self, payload: &[u8]) -> Vec<u8> {
        ethernet(0x86dd, &self.packet(payload))
    }
}

pub(crate) fn tcp(flags: u8, sequence: u32) -> Vec<u8> {
    let mut header = ports(20);
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    header[12] = 5 << 4;
    header[13] = flags;
    header
}

pub(crate) fn udp() -> Vec<u8> {
    let mut header = ports(12);
    header[5] = 12;
    header
}

pub(crate) fn sctp() -> Vec<u8> {
    ports(16)
}

/// A header of `bytes` that begins with the two ports.
fn ports(bytes: usize) -> Vec<u8> {
    let mut header = vec![0; bytes];
    header[..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    header[2..4].copy_from_slice(&DESTINATION_PORT.to_be_bytes());
    header
}

/// A message with `rest` behind its header of eight bytes.
pub(crate) fn icmp(kind: u8, code: u8, identifier: u16, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend([0, 1]);
    message.extend(rest);
    message
}

/// The payload of a fragment that is not the last, which is a multiple of eight bytes.
pub(crate) fn in_eights(mut payload: Vec<u8>) -> Vec<u8> {
    payload.resize(payload.len().next_multiple_of(8), 0);
    payload
}

/// One frame of every kind that is read, by what it is.
pub(crate) fn of_every_kind() -> Vec<(String, Vec<u8>)> {
    let mut frames: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, frame| frames.push((name.to_owned(), frame));
    for (name, protocol, payload) in [
        ("tcp", TCP, tcp(2, 7)),
        ("udp", UDP, udp()),
        ("sctp", SCTP, sctp()),
        ("icmp echo", ICMP, icmp(8, 0, 77, b"ping")),
        ("icmpv6 echo", ICMPV6, icmp(128, 0, 77, b"ping")),
        ("gre", 47, vec![0; 8]),
    ] {
        add(&format!("ipv4 {name}"), Ipv4::new(protocol).frame(&payload));
        add(
            &format!("ipv4 with options, {name}"),
            Ipv4 { options: record_route(40), ..Ipv4::new(protocol) }.frame(&payload),
        );
        let first = Ipv4 { flags_and_offset: 0x2000, ..Ipv4::new(protocol) };
        add(&format!("ipv4 first fragment, {name}"), first.frame(&in_eights(payload.clone())));
        let later = Ipv4 { flags_and_offset: 9, ..Ipv4::new(protocol) };
        add(&format!("ipv4 later fragment, {name}"), later.frame(&payload));
        add(&format!("ipv6 {name}"), Ipv6::new(protocol).frame(&payload));
        for kind in IN_EIGHTS.into_iter().chain([AUTHENTICATION]) {
            let ipv6 = Ipv6::with(protocol, [Extension::new(kind, 1)]);
            add(&format!("ipv6 with header {kind}, {name}"), ipv6.frame(&payload));
        }
        for (what, offset, more) in [("first", 0, true), ("later", 9, true), ("last", 9, false), ("atomic", 0, false)] {
            let ipv6 = Ipv6::with(protocol, [Extension::new(0, 0), Extension::fragment(offset, more, 99)]);
            add(&format!("ipv6 {what} fragment, {name}"), ipv6.frame(&in_eights(payload.clone())));
        }
        for tags in [&[CUSTOMER_TAG][..], &[SERVICE_TAG, CUSTOMER_TAG]] {
            add(&format!("ipv4 with {} tags, {name}", tags.len()), tagged(tags, &Ipv4::new(protocol).frame(&payload)));
            add(&format!("ipv6 with {} tags, {name}", tags.len()), tagged(tags, &Ipv6::new(protocol).frame(&payload)));
        }
    }
    let quoted = Ipv4 { source: [192, 0, 2, 7], destination: [10, 1, 0, 5], ..Ipv4::new(UDP) }.packet(&udp()[..8]);
    add("icmp error", Ipv4::new(ICMP).frame(&icmp(3, 1, 0, &quoted)));
    let (source, destination) = (Ipv6::new(0).destination, Ipv6::new(0).source);
    let quoted = Ipv6 { source, destination, ..Ipv6::new(UDP) }.packet(&udp()[..8]);
    add("icmpv6 error", Ipv6::new(ICMPV6).frame(&icmp(1, 4, 0, &quoted)));
    add("neighbour solicitation", Ipv6 { hop_limit: 255, ..Ipv6::new(ICMPV6) }.frame(&icmp(135, 0, 0, &[0; 16])));
    let router_alert = Extension { kind: HOP_BY_HOP, rest: vec![0, 5, 2, 0, 0, 1, 0] };
    let report = Ipv6 { hop_limit: 1, source: [0; 16], ..Ipv6::with(ICMPV6, [router_alert]) };
    add("listener report", report.frame(&icmp(143, 0, 0, &[0; 20])));
    let bootp = |source: u8, destination: u8| vec![0, source, 0, destination, 0, 12, 0, 0, 1, 1, 6, 0];
    let discover = Ipv4 { source: [0; 4], destination: [255; 4], ..Ipv4::new(UDP) };
    add("dhcp", discover.frame(&bootp(68, 67)));
    add("arp", arp(1, [10, 1, 0, 5], [10, 1, 0, 1]));
    add("arp with a tag", tagged(&[CUSTOMER_TAG], &arp(2, [10, 1, 0, 5], [10, 1, 0, 1])));
    frames
}

/// What a frame was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Arp(Arp),
    Ip(Packet),
}

pub(crate) fn read_frame(frame: &[u8]) -> Result<Read, Fault> {
    let mut packet = Packet::default();
    match podwitness_packet::read_frame(&frame, &mut packet)? {
        Frame::Arp(message) => Ok(Read::Arp(message)),
        Frame::Ip => Ok(Read::Ip(packet)),
    }
}

/// Reads a frame that must be an IP packet.
pub(crate) fn read(frame: &[u8]) -> Packet {
    match read_frame(frame) {
        Ok(Read::Ip(packet)) => packet,
        other => panic!("no packet was read: {other:?}"),
    }
}
