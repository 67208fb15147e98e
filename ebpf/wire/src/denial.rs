//! What is counted instead of told one by one: denied attempts, and losses. Both tables are drained by epoch: the epoch
//! is part of the key, and an epoch is read when no program can still be counting in it.

use crate::{Address, layout};

/// Denied attempts that are alike in all but source port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct DenialKey {
    /// The table generation that decided.
    pub generation: u64,
    /// The epoch in which they were counted.
    pub epoch: u32,
    /// The host side's interface index.
    pub interface: u32,
    /// The pod's incarnation, 0 where it was not known.
    pub endpoint: u32,
    /// The peer's incarnation, 0 where it is none of the cluster's.
    pub peer: u32,
    /// [`address_flags`](crate::address_flags) of the peer.
    pub peer_flags: u32,
    /// The rule set of the policies that isolate the pod, 0 where another reason denied.
    pub rule_set: u32,
    /// The Service that was addressed, 0 if none was.
    pub service: u32,
    /// [`NatResolution`](crate::NatResolution), 0 without a Service.
    pub resolution: u8,
    /// 1 where the packets went against the direction: they answer a connection that nobody saw begin.
    pub is_answer: u8,
    /// The port of the Service's backend, where `resolution` is `exact`.
    pub backend_port: u16,
    /// The Service's backend, where `resolution` is `exact`.
    pub backend: Address,
    /// The pod's address.
    pub pod: Address,
    /// The peer's address.
    pub peer_address: Address,
    /// The destination port, 0 where the protocol has none.
    pub port: u16,
    /// The protocol of the IP header, 0 where it could not be read.
    pub protocol: u8,
    /// [`Direction`](crate::Direction).
    pub direction: u8,
    /// [`Reason`](crate::Reason).
    pub reason: u8,
    /// The ICMP type, 0 for other protocols.
    pub icmp_type: u8,
    /// The ICMP code, 0 for other protocols.
    pub icmp_code: u8,
    /// [`Verdict`](crate::Verdict): `deny`, or `audit` where there is no connection to carry it.
    pub verdict: u8,
}
layout!(
    DenialKey,
    96,
    [
        generation,
        epoch,
        interface,
        endpoint,
        peer,
        peer_flags,
        rule_set,
        service,
        resolution,
        is_answer,
        backend_port,
        backend,
        pod,
        peer_address,
        port,
        protocol,
        direction,
        reason,
        icmp_type,
        icmp_code,
        verdict
    ]
);

/// How often, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Denial {
    /// Attempts. A TCP segment that repeats the source port and sequence number of the attempt before is not another, and
    /// neither is a later fragment of a datagram.
    pub attempts: u64,
    /// Packets, repetitions included.
    pub packets: u64,
    /// Bytes of network-layer packets.
    pub bytes: u64,
    /// When the first came.
    pub first_ns: u64,
    /// When the last came.
    pub last_ns: u64,
    /// The TCP sequence number of the last attempt.
    pub sequence: u32,
    /// The source port of the first attempt.
    pub first_port: u16,
    /// The source port of the last attempt.
    pub last_port: u16,
    /// 1 if more than one source port was seen.
    pub several_ports: u32,
    /// The TCP flags of the first attempt.
    pub tcp_flags: u32,
}
layout!(
    Denial,
    56,
    [attempts, packets, bytes, first_ns, last_ns, sequence, first_port, last_port, several_ports, tcp_flags]
);

/// Records that could not be kept, by endpoint and reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct LossKey {
    /// The epoch in which they were counted.
    pub epoch: u32,
    /// The host side's interface index.
    pub interface: u32,
    /// The pod's incarnation, 0 where it was not known.
    pub endpoint: u32,
    /// [`Reason`](crate::Reason).
    pub reason: u32,
}
layout!(LossKey, 16, [epoch, interface, endpoint, reason]);

/// How many, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Loss {
    /// Records.
    pub count: u64,
    /// When the first was lost.
    pub first_ns: u64,
    /// When the last was lost.
    pub last_ns: u64,
}
layout!(Loss, 24, [count, first_ns, last_ns]);
