//! The types of layout 1 that differ from those of today, and how they become these: what they did not know is zero.

use podwitness_wire::{Address, ConnectionKey};

/// A remembered connection.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Connection {
    pub(crate) bits: u64,
    pub(crate) opened_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) changed_ns: u64,
    pub(crate) reported_ns: u64,
    pub(crate) generation: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) endpoint: u32,
    pub(crate) peer: u32,
    pub(crate) rule_set: u32,
    pub(crate) previous_rule_set: u32,
    pub(crate) peer_flags: u32,
    pub(crate) verdict: u8,
    pub(crate) previous_verdict: u8,
    pub(crate) reason: u8,
    pub(crate) direction: u8,
    pub(crate) tcp_flags: u8,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
    pub(crate) zero: [u8; 5],
}
const _: () = assert!(size_of::<Connection>() == 112);
// SAFETY: the type is `repr(C)` and `Copy`, its fields fill its size, and every bit pattern of them is valid.
unsafe impl aya::Pod for Connection {}

impl From<Connection> for podwitness_wire::Connection {
    fn from(old: Connection) -> Self {
        Self {
            bits: old.bits,
            opened_ns: old.opened_ns,
            last_ns: old.last_ns,
            changed_ns: old.changed_ns,
            reported_ns: old.reported_ns,
            generation: old.generation,
            packets_out: old.packets_out,
            bytes_out: old.bytes_out,
            packets_in: old.packets_in,
            bytes_in: old.bytes_in,
            endpoint: old.endpoint,
            peer: old.peer,
            rule_set: old.rule_set,
            previous_rule_set: old.previous_rule_set,
            peer_flags: old.peer_flags,
            verdict: old.verdict,
            previous_verdict: old.previous_verdict,
            reason: old.reason,
            direction: old.direction,
            tcp_flags: old.tcp_flags,
            icmp_type: old.icmp_type,
            icmp_code: old.icmp_code,
            ..Self::default()
        }
    }
}

/// An event in the ring.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Event {
    pub(crate) time_ns: u64,
    pub(crate) opened_ns: u64,
    pub(crate) generation: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) key: ConnectionKey,
    pub(crate) endpoint: u32,
    pub(crate) peer: u32,
    pub(crate) peer_flags: u32,
    pub(crate) rule_set: u32,
    pub(crate) previous_rule_set: u32,
    pub(crate) kind: u8,
    pub(crate) verdict: u8,
    pub(crate) previous_verdict: u8,
    pub(crate) reason: u8,
    pub(crate) direction: u8,
    pub(crate) tcp_flags: u8,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
}
const _: () = assert!(size_of::<Event>() == 128);
// SAFETY: the type is `repr(C)` and `Copy`, its fields fill its size, and every bit pattern of them is valid.
unsafe impl aya::Pod for Event {}

impl From<Event> for podwitness_wire::Event {
    fn from(old: Event) -> Self {
        Self {
            time_ns: old.time_ns,
            opened_ns: old.opened_ns,
            generation: old.generation,
            packets_out: old.packets_out,
            bytes_out: old.bytes_out,
            packets_in: old.packets_in,
            bytes_in: old.bytes_in,
            key: old.key,
            endpoint: old.endpoint,
            peer: old.peer,
            peer_flags: old.peer_flags,
            rule_set: old.rule_set,
            previous_rule_set: old.previous_rule_set,
            kind: old.kind,
            verdict: old.verdict,
            previous_verdict: old.previous_verdict,
            reason: old.reason,
            direction: old.direction,
            tcp_flags: old.tcp_flags,
            icmp_type: old.icmp_type,
            icmp_code: old.icmp_code,
            ..Self::default()
        }
    }
}

/// The key of denied attempts. Its order is kept by the conversion.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct DenialKey {
    pub(crate) generation: u64,
    pub(crate) epoch: u32,
    pub(crate) interface: u32,
    pub(crate) endpoint: u32,
    pub(crate) peer: u32,
    pub(crate) peer_flags: u32,
    pub(crate) rule_set: u32,
    pub(crate) pod: Address,
    pub(crate) peer_address: Address,
    pub(crate) port: u16,
    pub(crate) protocol: u8,
    pub(crate) direction: u8,
    pub(crate) reason: u8,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
    pub(crate) verdict: u8,
}
const _: () = assert!(size_of::<DenialKey>() == 72);
// SAFETY: the type is `repr(C)` and `Copy`, its fields fill its size, and every bit pattern of them is valid.
unsafe impl aya::Pod for DenialKey {}

impl From<DenialKey> for podwitness_wire::DenialKey {
    fn from(old: DenialKey) -> Self {
        Self {
            generation: old.generation,
            epoch: old.epoch,
            interface: old.interface,
            endpoint: old.endpoint,
            peer: old.peer,
            peer_flags: old.peer_flags,
            rule_set: old.rule_set,
            pod: old.pod,
            peer_address: old.peer_address,
            port: old.port,
            protocol: old.protocol,
            direction: old.direction,
            reason: old.reason,
            icmp_type: old.icmp_type,
            icmp_code: old.icmp_code,
            verdict: old.verdict,
            ..Self::default()
        }
    }
}
