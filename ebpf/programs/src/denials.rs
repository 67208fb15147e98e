//! Denied attempts: counted, not sent one by one, so that a flood of them costs one entry and no record is lost.

use podwitness_wire::{Counter, Denial, DenialKey, ICMP, ICMPV6, Reason, TCP, Verdict};

use crate::{
    atomic,
    count::count,
    decide::Decision,
    flow::{Flow, destination_port},
    maps::{DENIALS, scratch},
    record::{self, NO_REPLACE},
};

/// Counts one packet that was denied, or that audit mode let pass without a connection to carry its record.
#[inline(never)]
pub(crate) fn deny(flow: &Flow, decision: &Decision) {
    let Some(room) = scratch() else { return };
    // The identifier of an ICMP echo names its connection, but is no port.
    let has_ports = !matches!(flow.key.protocol, ICMP | ICMPV6);
    // SAFETY: the room is this CPU's own, and nothing else of this program refers to these two parts of it.
    let (key, none_yet) = unsafe { (&mut (*room).denial_key, &mut (*room).denial) };
    *key = DenialKey {
        generation: flow.snapshot.generation,
        epoch: flow.snapshot.epoch,
        interface: flow.key.interface,
        endpoint: decision.endpoint,
        peer: decision.peer,
        peer_flags: decision.peer_flags,
        rule_set: decision.rule_set,
        pod: flow.key.pod,
        peer_address: flow.key.peer,
        port: if has_ports { destination_port(&flow.key, flow.direction) } else { 0 },
        protocol: flow.key.protocol,
        direction: flow.direction.number(),
        reason: decision.reason.number(),
        icmp_type: flow.icmp_type,
        icmp_code: flow.icmp_code,
        verdict: decision.verdict.number(),
    };
    let source_port = if has_ports { source_port(flow) } else { 0 };
    if DENIALS.get_ptr(&*key).is_none() {
        *none_yet = Denial {
            attempts: 0,
            packets: 0,
            bytes: 0,
            first_ns: flow.now_ns,
            last_ns: flow.now_ns,
            sequence: !flow.sequence,
            first_port: source_port,
            last_port: source_port,
            several_ports: 0,
            tcp_flags: u32::from(flow.tcp_flags),
        };
        // Where another CPU was first, the entry is there; where there is no room, the look-up below says so.
        let _ = DENIALS.insert(&*key, &*none_yet, NO_REPLACE);
    }
    let Some(denial) = DENIALS.get_ptr_mut(&*key) else {
        record::lose(&flow.snapshot, flow.key.interface, decision.endpoint, Reason::DenialTableFull, flow.now_ns);
        return;
    };
    // SAFETY: entries of the epoch that is in force are not removed.
    unsafe {
        let repeats =
            flow.key.protocol == TCP && (*denial).sequence == flow.sequence && (*denial).last_port == source_port;
        if !repeats {
            count(Counter::DeniedAttempts);
            atomic::add(&raw mut (*denial).attempts, 1);
            (*denial).sequence = flow.sequence;
            (*denial).last_port = source_port;
            if (*denial).first_port != source_port {
                (*denial).several_ports = 1;
            }
        }
        atomic::add(&raw mut (*denial).packets, flow.packets);
        atomic::add(&raw mut (*denial).bytes, flow.bytes);
        (*denial).last_ns = flow.now_ns;
    }
}

#[inline(always)]
fn source_port(flow: &Flow) -> u16 {
    match flow.direction {
        podwitness_wire::Direction::Ingress => flow.key.peer_port,
        podwitness_wire::Direction::Egress => flow.key.pod_port,
    }
}

/// Whether a verdict drops the packet.
#[inline(always)]
pub(crate) fn drops(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Deny)
}
