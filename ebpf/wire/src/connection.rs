//! The connection table: what was decided, and what has passed since.

use crate::{Address, layout};

/// Which connection: always from the endpoint's side, so that packets of both directions find the same entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ConnectionKey {
    /// The host side's interface index. The kernel hands indices out upwards, so that one comes again only after all
    /// others have been used.
    pub interface: u32,
    /// The pod's port.
    pub pod_port: u16,
    /// The peer's port.
    pub peer_port: u16,
    /// The pod's address.
    pub pod: Address,
    /// The peer's address.
    pub peer: Address,
    /// The protocol of the IP header.
    pub protocol: u8,
    /// Always zero.
    pub zero: [u8; 3],
}
layout!(ConnectionKey, 44, [interface, pod_port, peer_port, pod, peer, protocol, zero]);

/// What is remembered of a connection.
///
/// `bits` is only ever changed by atomic operations: it says which records are still owed, and who may write them.
/// The totals are atomic additions. The rest is written when the connection is decided, or is advisory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// [`bits`].
    pub bits: u64,
    /// When it was decided first.
    pub opened_ns: u64,
    /// When its last packet came.
    pub last_ns: u64,
    /// When it was last decided anew with another verdict; 0 if never.
    pub changed_ns: u64,
    /// When its open or last progress record was made.
    pub reported_ns: u64,
    /// The table generation that decided last, with [`Connection::DECIDE_ANEW`] where the next packet must not rest on it.
    pub generation: u64,
    /// Packets that left the pod (segments of an offloaded packet are counted one by one).
    pub packets_out: u64,
    /// Bytes of network-layer packets that left the pod.
    pub bytes_out: u64,
    /// Packets that entered the pod.
    pub packets_in: u64,
    /// Bytes of network-layer packets that entered the pod.
    pub bytes_in: u64,
    /// The pod's incarnation at the decision.
    pub endpoint: u32,
    /// The peer's incarnation at the decision, 0 where it is none of the cluster's.
    pub peer: u32,
    /// The rule set that allows it, or that isolates the pod where the verdict is `deny` or `audit`.
    pub rule_set: u32,
    /// The rule set before the last change.
    pub previous_rule_set: u32,
    /// [`address_flags`](crate::address_flags) of the peer at the decision.
    pub peer_flags: u32,
    /// The pod behind the peer's address, whatever its labels ([`AddressEntry::owner`](crate::AddressEntry)), 0 where
    /// none was known.
    pub peer_owner: u32,
    /// The Service that was addressed, 0 if none was.
    pub service: u32,
    /// The backend that the Service's address was translated to, where `resolution` is `exact`.
    pub backend: Address,
    /// The backend's port.
    pub backend_port: u16,
    /// [`NatResolution`](crate::NatResolution), 0 without a Service.
    pub resolution: u8,
    /// [`Verdict`](crate::Verdict).
    pub verdict: u8,
    /// The verdict before the last change, 0 if there was none.
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
    pub zero: [u8; 2],
}
layout!(
    Connection,
    136,
    [
        bits,
        opened_ns,
        last_ns,
        changed_ns,
        reported_ns,
        generation,
        packets_out,
        bytes_out,
        packets_in,
        bytes_in,
        endpoint,
        peer,
        rule_set,
        previous_rule_set,
        peer_flags,
        peer_owner,
        service,
        backend,
        backend_port,
        resolution,
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

impl Connection {
    /// Set in `generation` where something was learnt that the decision did not rest on. No generation has a number so high.
    pub const DECIDE_ANEW: u64 = 1 << 63;
}

/// The bits of [`Connection::bits`].
pub mod bits {
    /// The `open` record is owed: its event was not accepted yet.
    pub const OWES_OPEN: u64 = 1;
    /// A `change` record is owed.
    pub const OWES_CHANGE: u64 = 1 << 1;
    /// The `close` record was made: the entry stays only so that late packets do not open it again.
    pub const CLOSED: u64 = 1 << 2;
    /// A program is opening a closed entry again for a new connection of the same five values.
    pub const REOPENING: u64 = 1 << 3;
    /// The sweep is deleting the entry: as good as absent.
    pub const DELETING: u64 = 1 << 4;
    /// The decision waits for the hook of the Service's backend: until then no record is owed and nothing is let back.
    pub const DEFERRED: u64 = 1 << 5;
    /// The backend's hook has denied a deferred connection, and counted it.
    pub const REFUSED: u64 = 1 << 6;
    /// The peer of the one who opened it has answered.
    pub const REPLIED: u64 = 1 << 8;
    /// The pod has sent a TCP FIN.
    pub const FIN_OUT: u64 = 1 << 9;
    /// The pod has received a TCP FIN.
    pub const FIN_IN: u64 = 1 << 10;
    /// Either side has sent a TCP RST.
    pub const RESET: u64 = 1 << 11;
}

/// What user space has learnt of a connection from the kernel's connection tracking: the whole input of one run of
/// [`PROGRAM_LEARN`](crate::names::PROGRAM_LEARN), which returns 0 where it is still the connection of its key, and 1 where
/// that has ended and is gone, or is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Learnt {
    /// Which connection.
    pub key: ConnectionKey,
    /// The backend that the peer's address was translated to.
    pub backend: Address,
    /// The backend's port.
    pub backend_port: u16,
    /// Always zero.
    pub zero: [u8; 2],
    /// When the connection was opened: another of the same key was opened at another time.
    pub opened_ns: u64,
}
layout!(Learnt, 72, [key, backend, backend_port, zero, opened_ns]);
