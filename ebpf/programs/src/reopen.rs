//! Entries that are used again for another connection of the same five values. The records of the one before are made
//! first.

use podwitness_packet::tcp;
use podwitness_wire::{Connection, Counter, EventKind, Reason, TCP, bits};

use crate::{
    atomic,
    connections::{begin, decide_first, first_bits, has_ended, is_opening_segment, tell_first},
    count::count,
    flow::{DROP, Flow, PASS},
    maps::CONNECTIONS,
    record,
    room::{OWN, case},
};

/// Whether a packet begins another connection of the same five values: a TCP SYN after the end of the one before, or,
/// where the end cannot be seen or was a reset alone, any packet after its close record.
#[inline(always)]
pub(crate) fn opens_anew(flow: &Flow, seen: u64) -> bool {
    if flow.key.protocol == TCP && has_ended(seen) {
        // A reset that its receiver has not believed ends nothing: whoever goes on after the close record is seen.
        let is_reset_alone = seen & (bits::FIN_IN | bits::FIN_OUT) != bits::FIN_IN | bits::FIN_OUT;
        is_opening_segment(flow) || (is_reset_alone && seen & bits::CLOSED != 0 && flow.tcp_flags & tcp::RST == 0)
    } else {
        // A TCP reset opens nothing.
        seen & bits::CLOSED != 0 && !(flow.key.protocol == TCP && flow.tcp_flags & tcp::RST != 0)
    }
}

/// The sweep is deleting the entry.
pub(crate) const GONE: i32 = 2;
/// Another CPU has opened the entry: the packet belongs to that connection.
pub(crate) const OPENED_BY_ANOTHER: i32 = 3;

/// Opens the entry of the packet's own connection anew for another one.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn pw_reopen() -> i32 {
    let Some(case) = case(OWN) else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement; `connection` is a value of the
    // connection table.
    unsafe {
        let flow = &raw const (*case).flow;
        let Some(connection) = CONNECTIONS.get_ptr_mut(&(*flow).key) else { return GONE };
        let word = &raw mut (*connection).bits;
        let before = atomic::set_bits(word, bits::REOPENING);
        if before & bits::DELETING != 0 {
            return GONE;
        }
        if before & bits::REOPENING != 0 {
            return OPENED_BY_ANOTHER;
        }
        settle(&*flow, connection);
        let Some(direction) = decide_first(case) else {
            // What is remembered is of the connection before, and nothing of this one may rest on it.
            atomic::set_bits(&raw mut (*connection).generation, Connection::DECIDE_ANEW);
            atomic::clear_bits(word, bits::REOPENING);
            return DROP;
        };
        let decision = &raw const (*case).decision;
        begin(&*flow, connection, direction, &*decision);
        // The store ends the reopening and forgets the bits of the connection before.
        word.write_volatile(first_bits(&*flow, direction, &*decision));
        tell_first(&(*flow).key, connection, &*decision);
    }
    PASS
}

/// Makes all records that an ended connection still owes; the entry is needed now.
#[inline(always)]
fn settle(flow: &Flow, connection: *mut Connection) {
    settle_owed(flow, connection);
    // SAFETY: `connection` is a value of the connection table.
    let last_ns = unsafe { (*connection).last_ns };
    if record::claim_close(connection) {
        count(Counter::ConnectionsClosed);
        count(Counter::RecordsOwed);
        if !record::offer(&flow.key, connection, EventKind::Close, last_ns) {
            lose_one(flow, connection);
        }
    }
}

/// Makes the open and change records that are still owed, before what they say is overwritten: what the ring has no room
/// for is a loss, and owed no more.
#[inline(never)]
pub(crate) fn settle_owed(flow: &Flow, connection: *mut Connection) {
    settle_one(flow, connection, bits::OWES_OPEN, EventKind::Open);
    settle_one(flow, connection, bits::OWES_CHANGE, EventKind::Change);
}

#[inline(always)]
fn settle_one(flow: &Flow, connection: *mut Connection, owed: u64, kind: EventKind) {
    if record::offer_owed(&flow.key, connection, owed, kind) {
        return;
    }
    // SAFETY: `connection` is a value of the connection table. Where the bit is clear, a sweep on another CPU has taken
    // the record in hand.
    if unsafe { atomic::clear_bits(&raw mut (*connection).bits, owed) } & owed != 0 {
        lose_one(flow, connection);
    }
}

#[inline(always)]
fn lose_one(flow: &Flow, connection: *const Connection) {
    // SAFETY: `connection` is a value of the connection table.
    let endpoint = unsafe { (*connection).endpoint };
    record::lose(&flow.snapshot, flow.key.interface, endpoint, Reason::RingFull, flow.now_ns);
}
