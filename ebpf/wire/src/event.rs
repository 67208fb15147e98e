//! What travels through the ring buffer.

use crate::{Address, ConnectionKey, layout};

/// One thing that happened to a connection. All kinds have one size, so that the position in the ring alone says where
/// the next one begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When it happened: the decision, the change, the last packet of a closed connection, the moment of a progress
    /// report.
    pub time_ns: u64,
    /// When the connection was opened.
    pub opened_ns: u64,
    /// The table generation that decided.
    pub generation: u64,
    /// Packets that left the pod so far.
    pub packets_out: u64,
    /// Bytes that left the pod so far.
    pub bytes_out: u64,
    /// Packets that entered the pod so far.
    pub packets_in: u64,
    /// Bytes that entered the pod so far.
    pub bytes_in: u64,
    /// Which connection.
    pub key: ConnectionKey,
    /// The pod's incarnation at the decision.
    pub endpoint: u32,
    /// The peer's incarnation at the decision, 0 where it is none of the cluster's.
    pub peer: u32,
    /// [`address_flags`](crate::address_flags) of the peer at the decision.
    pub peer_flags: u32,
    /// The rule set that allows it, or that isolates the pod where the verdict is `deny` or `audit`.
    pub rule_set: u32,
    /// For a change: the rule set before.
    pub previous_rule_set: u32,
    /// The Service that was addressed, 0 if none was.
    pub service: u32,
    /// The Service's backend, where `resolution` is `exact`.
    pub backend: Address,
    /// The backend's port.
    pub backend_port: u16,
    /// [`NatResolution`](crate::NatResolution), 0 without a Service.
    pub resolution: u8,
    /// [`EventKind`](crate::EventKind).
    pub kind: u8,
    /// [`Verdict`](crate::Verdict).
    pub verdict: u8,
    /// For a change: the verdict before.
    pub previous_verdict: u8,
    /// [`Reason`](crate::Reason).
    pub reason: u8,
    /// [`Direction`](crate::Direction): who sent the first packet.
    pub direction: u8,
    /// The TCP flags of the packet that was decided on.
    pub tcp_flags: u8,
    /// The ICMP type of the packet that was decided on.
    pub icmp_type: u8,
    /// The ICMP code of the packet that was decided on.
    pub icmp_code: u8,
    /// Always zero.
    pub zero: u8,
}
layout!(
    Event,
    152,
    [
        time_ns,
        opened_ns,
        generation,
        packets_out,
        bytes_out,
        packets_in,
        bytes_in,
        key,
        endpoint,
        peer,
        peer_flags,
        rule_set,
        previous_rule_set,
        service,
        backend,
        backend_port,
        resolution,
        kind,
        verdict,
        previous_verdict,
        reason,
        direction,
        tcp_flags,
        icmp_type,
        icmp_code,
        zero
    ]
);
