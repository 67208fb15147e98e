//! What the hook knows of a packet before it decides.

use podwitness_wire::{ConnectionKey, Direction};

/// What user space said when the packet came. It is read once, so that one packet sees one generation and one epoch.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    /// The table generation in force.
    pub(crate) generation: u64,
    /// The epoch for denials and losses.
    pub(crate) epoch: u32,
    /// [`podwitness_wire::state_flags`].
    pub(crate) flags: u64,
}

impl Snapshot {
    /// The slot that holds the tables of the generation.
    #[inline(always)]
    pub(crate) fn slot(&self) -> u32 {
        (self.generation & 1) as u32
    }
}

/// One packet.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) snapshot: Snapshot,
    pub(crate) now_ns: u64,
    /// Bytes from the network header on.
    pub(crate) bytes: u64,
    /// Segments, where the packet is an offloaded one.
    pub(crate) packets: u64,
    /// Which connection it belongs to, seen from the endpoint.
    pub(crate) key: ConnectionKey,
    /// The sequence number of a TCP segment.
    pub(crate) sequence: u32,
    /// Which way the packet goes: the direction of the connection that it would open.
    pub(crate) direction: Direction,
    pub(crate) tcp_flags: u8,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pass,
    Drop,
}

/// The destination port of the connection: the endpoint's for ingress, the peer's for egress.
#[inline(always)]
pub(crate) fn destination_port(key: &ConnectionKey, direction: Direction) -> u16 {
    match direction {
        Direction::Ingress => key.pod_port,
        Direction::Egress => key.peer_port,
    }
}
