//! Denied attempts: counted, not sent one by one, so that a flood of them costs one entry and no record is lost.

use podwitness_wire::{Counter, Denial, DenialKey, Direction, ICMP, ICMPV6, Reason, TCP};

use crate::{
    atomic,
    count::count,
    decide::Decision,
    flow::{Flow, destination_port, direction_of},
    maps::DENIALS,
    record::{self, NO_REPLACE},
    room::{Case, Which, case, room},
};

/// Counts one packet that was denied, or that audit mode let pass without a connection to carry its record, by the
/// decision of its case. `direction` is that of the connection which was decided; the packet itself may go the other way.
#[inline(always)]
pub(crate) fn deny(which: Which, direction: Direction) {
    pw_deny(which, u32::from(direction.number()));
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_deny(which: Which, direction: u32) -> i32 {
    let (Some(room), Some(case)) = (room(), case(which)) else { return 0 };
    // SAFETY: the room is this CPU's own, and these parts of it are not borrowed twice.
    let (Case { flow, decision }, key, none_yet) = unsafe { (&*case, &mut (*room).denial_key, &mut (*room).denial) };
    count_denial(flow, direction_of(direction), decision, key, none_yet);
    0
}

#[inline(always)]
fn count_denial(flow: &Flow, direction: Direction, decision: &Decision, key: &mut DenialKey, none_yet: &mut Denial) {
    // The identifier of an ICMP echo names its connection, but is no port.
    let has_ports = !matches!(flow.key.protocol, ICMP | ICMPV6);
    // Field by field, because what is made as a whole is made on the stack.
    key.generation = flow.snapshot.generation;
    key.epoch = flow.snapshot.epoch;
    key.interface = flow.key.interface;
    key.endpoint = decision.endpoint;
    key.peer = decision.peer;
    key.peer_flags = decision.peer_flags;
    key.rule_set = decision.rule_set;
    key.service = decision.service;
    key.resolution = decision.resolution;
    key.is_answer = u8::from(direction.number() != flow.direction.number());
    key.backend_port = flow.backend_port;
    key.backend = flow.backend;
    key.pod = flow.key.pod;
    key.peer_address = flow.key.peer;
    key.port = if has_ports { destination_port(&flow.key, direction) } else { 0 };
    key.protocol = flow.key.protocol;
    key.direction = direction.number();
    key.reason = decision.reason.number();
    key.icmp_type = flow.icmp_type;
    key.icmp_code = flow.icmp_code;
    key.verdict = decision.verdict.number();
    let source_port = if has_ports { source_port(flow, direction) } else { 0 };
    if DENIALS.get_ptr(&*key).is_none() {
        none_yet.attempts = 0;
        none_yet.packets = 0;
        none_yet.bytes = 0;
        none_yet.first_ns = flow.now_ns;
        none_yet.last_ns = flow.now_ns;
        none_yet.sequence = !flow.sequence;
        none_yet.first_port = source_port;
        none_yet.last_port = source_port;
        none_yet.several_ports = 0;
        none_yet.tcp_flags = u32::from(flow.tcp_flags);
        // Where another CPU was first, the entry is there; where there is no room, the look-up below says so.
        let _ = DENIALS.insert(&*key, &*none_yet, NO_REPLACE);
    }
    let Some(denial) = DENIALS.get_ptr_mut(&*key) else {
        record::lose(&flow.snapshot, flow.key.interface, decision.endpoint, Reason::DenialTableFull, flow.now_ns);
        return;
    };
    // SAFETY: entries of the epoch that is in force are not removed.
    unsafe {
        let is_of_one_before = flow.is_later_fragment
            && !matches!(decision.reason, Reason::FragmentWithoutFirst)
            && (*denial).attempts != 0;
        let repeats = is_of_one_before
            || (flow.key.protocol == TCP && (*denial).sequence == flow.sequence && (*denial).last_port == source_port);
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
fn source_port(flow: &Flow, direction: Direction) -> u16 {
    match direction {
        Direction::Ingress => flow.key.peer_port,
        Direction::Egress => flow.key.pod_port,
    }
}
