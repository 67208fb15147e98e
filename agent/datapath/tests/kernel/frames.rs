//! Frames between a pod and a peer, made byte by byte.

use std::net::{IpAddr, SocketAddr};

use podwitness_wire::Direction;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

pub(crate) const OUT: Direction = Direction::Egress;
pub(crate) const IN: Direction = Direction::Ingress;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) pod: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Pair {
    fn ends(&self, direction: Direction) -> (SocketAddr, SocketAddr) {
        match direction {
            Direction::Egress => (self.pod, self.peer),
            Direction::Ingress => (self.peer, self.pod),
        }
    }

    pub(crate) fn packet(&self, direction: Direction, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let (source, destination) = self.ends(direction);
        packet(source.ip(), destination.ip(), protocol, payload)
    }

    pub(crate) fn frame(&self, direction: Direction, protocol: u8, payload: &[u8]) -> Vec<u8> {
        ethernet(&self.packet(direction, protocol, payload))
    }

    pub(crate) fn tcp(&self, direction: Direction, flags: u8, sequence: u32) -> Vec<u8> {
        self.frame(direction, TCP, &self.segment(direction, flags, sequence))
    }

    pub(crate) fn segment(&self, direction: Direction, flags: u8, sequence: u32) -> Vec<u8> {
        let mut header = self.ports(direction, 20);
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        header[12] = 5 << 4;
        header[13] = flags;
        header
    }

    pub(crate) fn udp(&self, direction: Direction) -> Vec<u8> {
        self.frame(direction, UDP, &self.datagram(direction))
    }

    pub(crate) fn datagram(&self, direction: Direction) -> Vec<u8> {
        let mut header = self.ports(direction, 16);
        header[5] = 16;
        header
    }

    pub(crate) fn sctp(&self, direction: Direction) -> Vec<u8> {
        self.frame(direction, SCTP, &self.ports(direction, 16))
    }

    /// An echo request out of the pod, or its reply into it.
    pub(crate) fn echo(&self, direction: Direction, identifier: u16) -> Vec<u8> {
        let (protocol, kind) = match (self.pod.ip(), direction) {
            (IpAddr::V4(_), Direction::Egress) => (ICMP, 8),
            (IpAddr::V4(_), Direction::Ingress) => (ICMP, 0),
            (IpAddr::V6(_), Direction::Egress) => (ICMPV6, 128),
            (IpAddr::V6(_), Direction::Ingress) => (ICMPV6, 129),
        };
        self.frame(direction, protocol, &icmp(kind, 0, identifier, &[]))
    }

    /// One fragment of a UDP datagram. The offset counts eight-byte words.
    pub(crate) fn fragment(&self, direction: Direction, identification: u16, offset: u16, more: bool) -> Vec<u8> {
        let (source, destination) = self.ends(direction);
        let payload = if offset == 0 { self.datagram(direction) } else { vec![0xff; 16] };
        if source.is_ipv4() {
            let mut packet = packet(source.ip(), destination.ip(), UDP, &payload);
            packet[4..6].copy_from_slice(&identification.to_be_bytes());
            packet[6..8].copy_from_slice(&(u16::from(more) << 13 | offset).to_be_bytes());
            return ethernet(&packet);
        }
        let mut header = vec![UDP, 0];
        header.extend((offset << 3 | u16::from(more)).to_be_bytes());
        header.extend(u32::from(identification).to_be_bytes());
        header.extend(payload);
        ethernet(&packet(source.ip(), destination.ip(), 44, &header))
    }

    /// A header of `bytes` that begins with the two ports.
    fn ports(&self, direction: Direction, bytes: usize) -> Vec<u8> {
        let (source, destination) = self.ends(direction);
        let mut header = vec![0; bytes];
        header[..2].copy_from_slice(&source.port().to_be_bytes());
        header[2..4].copy_from_slice(&destination.port().to_be_bytes());
        header
    }
}

pub(crate) fn icmp(kind: u8, code: u8, identifier: u16, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend([0, 1]);
    message.extend(rest);
    message
}

/// An ICMP error of the addresses' family, "destination unreachable", that quotes a packet.
pub(crate) fn error(source: IpAddr, destination: IpAddr, quoted: &[u8]) -> Vec<u8> {
    let (protocol, kind) = if source.is_ipv4() { (ICMP, 3) } else { (ICMPV6, 1) };
    ethernet(&packet(source, destination, protocol, &icmp(kind, 1, 0, quoted)))
}

/// A packet of the addresses' family.
pub(crate) fn packet(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    packet_with_hop_limit(source, destination, protocol, 64, payload)
}

pub(crate) fn packet_with_hop_limit(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = Vec::new();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet.extend([0x45, 0]);
            packet.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
            packet.extend([0, 0, 0, 0, hop_limit, protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            packet.extend([protocol, hop_limit]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
        }
        _ => panic!("{source} and {destination} are of two families"),
    }
    packet.extend(payload);
    packet
}

pub(crate) fn ethernet(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    ethernet_of_type(ethertype, packet)
}

pub(crate) fn ethernet_of_type(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}
