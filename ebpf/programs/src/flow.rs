//! What the hook knows of a packet before it decides.

use podwitness_wire::{Address, ConnectionKey, Direction};

/// What user space said when the packet came. It is read once, so that one packet sees one generation and one epoch.
#[derive(Clone, Copy)]
#[repr(C)]
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
#[repr(C)]
pub(crate) struct Flow {
    pub(crate) snapshot: Snapshot,
    pub(crate) now_ns: u64,
    /// Bytes from the network header on.
    pub(crate) bytes: u64,
    /// Segments, where the packet is an offloaded one.
    pub(crate) packets: u64,
    /// Which connection it belongs to, seen from the endpoint.
    pub(crate) key: ConnectionKey,
    /// The Service that the connection is known to go to, 0 where the table of Services alone says it.
    pub(crate) service: u32,
    /// The backend that the connection is known to go to, where its port is not 0.
    pub(crate) backend: Address,
    pub(crate) backend_port: u16,
    /// The sequence number of a TCP segment.
    pub(crate) sequence: u32,
    /// Which way the packet goes.
    pub(crate) direction: Direction,
    /// It is a later fragment, whose datagram was counted with its first.
    pub(crate) is_later_fragment: bool,
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

/// [`Outcome`] as functions return it that the verifier looks at once each; some have answers of their own behind these.
pub(crate) const PASS: i32 = 0;
pub(crate) const DROP: i32 = 1;

impl Outcome {
    #[inline(always)]
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Pass => PASS,
            Self::Drop => DROP,
        }
    }

    /// Whatever is not [`PASS`] drops.
    #[inline(always)]
    pub(crate) fn of(number: i32) -> Self {
        if number == PASS { Self::Pass } else { Self::Drop }
    }
}

/// The direction of this number.
#[inline(always)]
pub(crate) fn direction_of(number: u32) -> Direction {
    if number == Direction::Egress as u32 { Direction::Egress } else { Direction::Ingress }
}

/// The destination port of the connection: the endpoint's for ingress, the peer's for egress.
#[inline(always)]
pub(crate) fn destination_port(key: &ConnectionKey, direction: Direction) -> u16 {
    match direction {
        Direction::Ingress => key.pod_port,
        Direction::Egress => key.peer_port,
    }
}
