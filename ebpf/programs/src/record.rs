//! Records on their way out: offers to the ring buffer, and losses where there is no way.
//!
//! A record is owed from the moment its bit is set in the connection's `bits`. Whoever clears the bit (an atomic
//! operation says who) offers it, and sets it again if the ring has no room. So each record is made once, by the packet
//! that caused it or by a later sweep.

use podwitness_wire::{Connection, ConnectionKey, Counter, Event, EventKind, Loss, LossKey, Reason, bits};

use crate::{
    atomic,
    count::count,
    flow::Snapshot,
    maps::{EVENTS, LOSSES},
};

/// Offers the record that `owed` stands for, if it is owed and nobody else is offering it. Returns whether nothing is
/// owed any more.
#[inline(always)]
pub(crate) fn offer_owed(key: &ConnectionKey, connection: *mut Connection, owed: u64, kind: EventKind) -> bool {
    // SAFETY: `connection` is a value of the connection table, whose memory lives as long as the map.
    let word = unsafe { &raw mut (*connection).bits };
    // SAFETY: as above; `bits` is the value's first, aligned word.
    if unsafe { atomic::clear_bits(word, owed) } & owed == 0 {
        return true;
    }
    // SAFETY: as above.
    let time_ns = unsafe {
        match kind {
            EventKind::Change => (*connection).changed_ns,
            _ => (*connection).opened_ns,
        }
    };
    if offer(key, connection, kind, time_ns) {
        return true;
    }
    // SAFETY: as above.
    unsafe { atomic::set_bits(word, owed) };
    false
}

/// Offers one event. Returns whether the ring accepted it.
///
/// Not inlined: it stands at six places, and the verifier walks it once for each that is.
#[inline(never)]
pub(crate) fn offer(key: &ConnectionKey, connection: *const Connection, kind: EventKind, time_ns: u64) -> bool {
    count(Counter::EventsOffered);
    let Some(mut entry) = EVENTS.reserve(0) else {
        count(Counter::EventsRefused);
        return false;
    };
    // SAFETY: `connection` is a value of the connection table. Other CPUs may be adding to the totals: each word is read
    // whole.
    let connection = unsafe { &*connection };
    entry.write(Event {
        time_ns,
        opened_ns: connection.opened_ns,
        generation: connection.generation & !Connection::DECIDE_ANEW,
        packets_out: connection.packets_out,
        bytes_out: connection.bytes_out,
        packets_in: connection.packets_in,
        bytes_in: connection.bytes_in,
        key: *key,
        endpoint: connection.endpoint,
        peer: connection.peer,
        peer_flags: connection.peer_flags,
        rule_set: connection.rule_set,
        previous_rule_set: connection.previous_rule_set,
        service: connection.service,
        backend: connection.backend,
        backend_port: connection.backend_port,
        resolution: connection.resolution,
        kind: kind.number(),
        verdict: connection.verdict,
        previous_verdict: connection.previous_verdict,
        reason: connection.reason,
        direction: connection.direction,
        tcp_flags: connection.tcp_flags,
        icmp_type: connection.icmp_type,
        icmp_code: connection.icmp_code,
        zero: 0,
    });
    entry.submit(0);
    count(Counter::EventsAccepted);
    true
}

/// Claims the close of a connection: true for exactly one caller.
#[inline(always)]
pub(crate) fn claim_close(connection: *mut Connection) -> bool {
    // SAFETY: `connection` is a value of the connection table.
    unsafe { atomic::set_bits(&raw mut (*connection).bits, bits::CLOSED) & bits::CLOSED == 0 }
}

/// Counts a record that could not be kept.
///
/// Not inlined: what it needs of the stack is not in every frame that calls it.
#[inline(never)]
pub(crate) fn lose(snapshot: &Snapshot, interface: u32, endpoint: u32, reason: Reason, now_ns: u64) {
    count(Counter::RecordsLost);
    let key = LossKey { epoch: snapshot.epoch, interface, endpoint, reason: u32::from(reason.number()) };
    if LOSSES.get_ptr(key).is_none() {
        let none_yet = Loss { count: 0, first_ns: now_ns, last_ns: now_ns };
        // Where another CPU was first, the entry is there; where there is no room, the look-up below says so.
        let _ = LOSSES.insert(key, none_yet, NO_REPLACE);
    }
    match LOSSES.get_ptr_mut(key) {
        // SAFETY: entries of the epoch that is in force are not removed.
        Some(loss) => unsafe {
            atomic::add(&raw mut (*loss).count, 1);
            (*loss).last_ns = now_ns;
        },
        None => count(Counter::LossesUnattributed),
    }
}

/// `BPF_NOEXIST`: an entry that is there stays.
pub(crate) const NO_REPLACE: u64 = 1;
