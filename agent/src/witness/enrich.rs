//! From what the kernel says to a record: numbers become identities, the endpoint's view becomes source and destination.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr};

use podwitness_datapath::{DenialRecord, LossRecord};
use podwitness_spool::{Record, Service, UNKNOWN_NAMESPACE, Verdict};
use podwitness_wire::{
    Address, ConnectionKey, Direction, Event, EventKind, ICMP, ICMPV6, Known, NatResolution, Reason, SCTP, TCP, UDP,
    address_flags,
};

use crate::{clock::Clock, definitions::Definitions, privacy::Protection};

/// Makes records of one batch.
pub(super) struct Enricher<'a> {
    pub(super) clock: Clock,
    pub(super) definitions: &'a Definitions,
    pub(super) protection: Protection<'a>,
}

/// One side of a connection.
#[derive(Clone, Copy)]
struct Side {
    address: Address,
    port: u16,
    identity: u32,
    known: Known,
}

/// What both kinds of verdict rows say of a connection, from the endpoint's view.
struct View {
    key: ConnectionKey,
    direction: Direction,
    endpoint: u32,
    peer: u32,
    peer_flags: u32,
    /// The number of the Service that was addressed, 0 for none.
    service: u32,
    /// [`NatResolution`].
    resolution: u8,
    /// The Service's backend and its port, where the resolution is exact.
    backend: Option<(Address, u16)>,
    /// The table generation that decided.
    generation: u64,
}

impl Enricher<'_> {
    /// The record of an event. `None` where its kind is none that this agent knows, which a newer one has left in the
    /// ring.
    pub(super) fn event(&self, event: &Event) -> Option<Record> {
        let kind = EventKind::from_number(event.kind)?;
        let view = View {
            key: event.key,
            direction: Direction::from_number(event.direction)?,
            endpoint: event.endpoint,
            peer: event.peer,
            peer_flags: event.peer_flags,
            service: event.service,
            resolution: event.resolution,
            backend: backend(event.resolution, event.backend, event.backend_port),
            generation: event.generation,
        };
        let time_us = self.clock.utc_us(event.time_ns);
        let mut record = self.verdict(&view, event.icmp_type, event.icmp_code);
        record.time_us = time_us;
        record.event = u32::from(kind.number());
        record.verdict = u32::from(event.verdict);
        record.reason = u32::from(event.reason);
        record.count = 1;
        record.rule_set = event.rule_set;
        record.policy_revision = self.definitions.revision_of(event.generation);
        if event.key.protocol == TCP {
            record.tcp_flags = Some(u32::from(event.tcp_flags));
        }
        if matches!(kind, EventKind::Close | EventKind::Progress) {
            record.packets_out = Some(event.packets_out.cast_signed());
            record.bytes_out = Some(event.bytes_out.cast_signed());
            record.packets_in = Some(event.packets_in.cast_signed());
            record.bytes_in = Some(event.bytes_in.cast_signed());
        }
        match kind {
            EventKind::Close => record.last_time_us = Some(time_us),
            EventKind::Change => {
                record.previous_rule_set = event.previous_rule_set;
                record.previous_verdict = u32::from(event.previous_verdict);
            }
            _ => {}
        }
        self.protection.apply(&mut record);
        Some(Record::Verdict(record))
    }

    /// The record of denied attempts. `None` where their direction is none that this agent knows.
    pub(super) fn denial(&self, (key, denial): &DenialRecord) -> Option<Record> {
        let direction = Direction::from_number(key.direction)?;
        // The source port is told only where it was the same for all.
        let source_port = if denial.several_ports == 0 { denial.first_port } else { 0 };
        let (pod_port, peer_port) = match direction {
            Direction::Egress => (source_port, key.port),
            Direction::Ingress => (key.port, source_port),
        };
        let view = View {
            key: ConnectionKey {
                interface: key.interface,
                pod: key.pod,
                pod_port,
                peer: key.peer_address,
                peer_port,
                protocol: key.protocol,
                ..ConnectionKey::default()
            },
            direction,
            endpoint: key.endpoint,
            peer: key.peer,
            peer_flags: key.peer_flags,
            service: key.service,
            resolution: key.resolution,
            backend: backend(key.resolution, key.backend, key.backend_port),
            generation: key.generation,
        };
        let mut record = self.verdict(&view, key.icmp_type, key.icmp_code);
        if matches!(Reason::from_number(key.reason), Some(Reason::Malformed | Reason::NotIp)) {
            // What could not be read has no addresses, and a zero would be one.
            record.protocol = None;
            record.src_ip.clear();
            record.dst_ip.clear();
            (record.src_port, record.dst_port) = (None, None);
        } else if key.protocol == 0 && key.peer_address == Address::default() {
            // ARP is no protocol of IP, and what it claims goes to nobody.
            record.protocol = None;
            record.dst_ip.clear();
        }
        if denial.several_ports != 0 {
            record.src_port = None;
        }
        record.time_us = self.clock.utc_us(denial.first_ns);
        record.last_time_us = Some(self.clock.utc_us(denial.last_ns));
        record.event = u32::from(EventKind::Deny.number());
        record.verdict = u32::from(key.verdict);
        record.reason = u32::from(key.reason);
        record.count = denial.attempts.cast_signed();
        record.rule_set = key.rule_set;
        record.policy_revision = self.definitions.revision_of(key.generation);
        if key.protocol == TCP {
            record.tcp_flags = Some(denial.tcp_flags);
        }
        let (packets, bytes) = (Some(denial.packets.cast_signed()), Some(denial.bytes.cast_signed()));
        let way = if key.is_answer == 0 { direction } else { opposite(direction) };
        match way {
            Direction::Egress => (record.packets_out, record.bytes_out) = (packets, bytes),
            Direction::Ingress => (record.packets_in, record.bytes_in) = (packets, bytes),
        }
        self.protection.apply(&mut record);
        Some(Record::Verdict(record))
    }

    /// The record of records that could not be kept.
    pub(super) fn loss(&self, (key, loss): &LossRecord) -> Record {
        let (endpoint, _) = self.endpoint(key.endpoint, key.interface);
        Record::Verdict(Verdict {
            time_us: self.clock.utc_us(loss.first_ns),
            last_time_us: Some(self.clock.utc_us(loss.last_ns)),
            namespace: self.namespace(endpoint),
            event: u32::from(EventKind::Loss.number()),
            reason: key.reason,
            count: loss.count.cast_signed(),
            ..Verdict::default()
        })
    }

    fn verdict(&self, view: &View, icmp_type: u8, icmp_code: u8) -> Verdict {
        let key = &view.key;
        let (identity, known) = self.endpoint(view.endpoint, key.interface);
        let pod = Side { address: key.pod, port: key.pod_port, identity, known };
        let (identity, known) = self.peer(view);
        let peer = Side { address: key.peer, port: key.peer_port, identity, known };
        let (source, destination) = match view.direction {
            Direction::Egress => (pod, peer),
            Direction::Ingress => (peer, pod),
        };
        let has_ports = matches!(key.protocol, TCP | UDP | SCTP);
        let is_icmp = matches!(key.protocol, ICMP | ICMPV6);
        Verdict {
            namespace: self.namespace(pod.identity),
            direction: u32::from(view.direction.number()),
            protocol: Some(u32::from(key.protocol)),
            src_ip: octets(&source.address),
            dst_ip: octets(&destination.address),
            src_port: has_ports.then_some(u32::from(source.port)),
            dst_port: has_ports.then_some(u32::from(destination.port)),
            icmp_type: is_icmp.then_some(u32::from(icmp_type)),
            icmp_code: is_icmp.then_some(u32::from(icmp_code)),
            src_identity: source.identity,
            dst_identity: destination.identity,
            src_known: u32::from(source.known.number()),
            dst_known: u32::from(destination.known.number()),
            service: self.service(view),
            ..Verdict::default()
        }
    }

    /// The Service that was addressed: as the peer, before its address was translated.
    fn service(&self, view: &View) -> Option<Service> {
        let name = self.definitions.service(view.service)?;
        let resolution = NatResolution::from_number(view.resolution)?;
        Some(Service {
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
            ip: octets(&view.key.peer),
            port: u32::from(view.key.peer_port),
            nat_resolution: resolution.name().to_owned(),
            backend_ip: view.backend.map(|(address, _)| octets(&address)).unwrap_or_default(),
            backend_port: view.backend.map(|(_, port)| u32::from(port)),
        })
    }

    /// Who the endpoint was; where its pod was not known at the decision, who it is now.
    fn endpoint(&self, identity: u32, interface: u32) -> (u32, Known) {
        if identity != 0 {
            return (identity, Known::Exact);
        }
        match self.definitions.present_at_interface(interface) {
            Some(identity) => (identity, Known::Late),
            None => (0, Known::Unknown),
        }
    }

    fn peer(&self, view: &View) -> (u32, Known) {
        if view.peer_flags & (address_flags::LOCAL_NODE | address_flags::NODE) != 0 {
            return (view.peer, Known::Node);
        }
        if view.peer != 0 {
            return (view.peer, Known::Exact);
        }
        if view.service != 0 {
            // Somebody stands behind the Service's address. The decision has not rested on a backend that was learnt since.
            return view.backend.map_or((0, Known::Unknown), |(address, _)| {
                self.definitions.present_or_then(&address, view.generation)
            });
        }
        if view.peer_flags & address_flags::POD_RANGE == 0 {
            return (0, Known::External);
        }
        match self.definitions.present_at_address(&view.key.peer) {
            Some(identity) => (identity, Known::Late),
            None => (0, Known::Unknown),
        }
    }

    fn namespace(&self, identity: u32) -> String {
        let namespace = self.definitions.namespace(identity).filter(|namespace| !namespace.is_empty());
        namespace.unwrap_or_else(|| UNKNOWN_NAMESPACE.to_owned())
    }
}

fn backend(resolution: u8, address: Address, port: u16) -> Option<(Address, u16)> {
    (resolution == NatResolution::Exact.number()).then_some((address, port))
}

const fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}

pub(super) fn ip(address: &Address) -> IpAddr {
    Ipv6Addr::from(*address).to_canonical()
}

fn octets(address: &Address) -> Vec<u8> {
    match ip(address) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
