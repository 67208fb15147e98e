//! The connection table: decided on the first packet, remembered, replies belong to it.
//!
//! An entry is inserted once, changed in place by atomic operations and single words, and deleted by the sweep alone.
//! The bits of its first word say which records it still owes and who is at work on it; see
//! [`podwitness_wire::bits`].

use podwitness_packet::tcp;
use podwitness_wire::{Connection, Counter, Direction, EventKind, Reason, TCP, Verdict, bits};

use crate::{
    atomic,
    count::count,
    decide::{self, Decision, decide},
    denials, failure,
    flow::{Flow, Outcome},
    maps::{CONNECTIONS, scratch},
    record::{self, NO_REPLACE},
};

/// `-EEXIST` of `BPF_NOEXIST`.
const EXISTS: i32 = -17;

/// How often a first packet is tried again where an entry of the same key is just being deleted. A deletion takes less
/// time than one try.
const TRIES: usize = 4;

/// Both sides have ended a TCP connection, or one has reset it.
#[inline(always)]
pub(crate) fn has_ended(seen: u64) -> bool {
    seen & bits::RESET != 0 || seen & (bits::FIN_IN | bits::FIN_OUT) == bits::FIN_IN | bits::FIN_OUT
}

/// Handles a packet of a connection that is remembered; `None` where there is none.
#[inline(never)]
pub(crate) fn known(flow: &Flow) -> Option<Outcome> {
    let connection = CONNECTIONS.get_ptr_mut(flow.key)?;
    // SAFETY: the value's memory lives as long as the map; the word is read whole.
    let seen = unsafe { (&raw const (*connection).bits).read_volatile() };
    if seen & bits::DELETING != 0 {
        return None;
    }
    if opens_anew(flow, seen) {
        match reopen(flow, connection) {
            Reopened::Done(outcome) => return Some(outcome),
            Reopened::Gone => return None,
            Reopened::ByAnother => {}
        }
    } else if seen & bits::CLOSED != 0 {
        return Some(after_close(flow, connection));
    }
    // SAFETY: as above.
    if unsafe { (*connection).generation } != flow.snapshot.generation {
        settle_owed(flow, connection);
    }
    // SAFETY: as above; whoever takes the older generation out is the one who decides anew.
    let is_outdated = unsafe {
        (*connection).generation != flow.snapshot.generation
            && atomic::swap(&raw mut (*connection).generation, flow.snapshot.generation) != flow.snapshot.generation
    };
    if is_outdated {
        decide_anew(flow, connection);
    }
    let outcome = remembered_outcome(connection);
    match outcome {
        Outcome::Pass => account(flow, connection, seen),
        Outcome::Drop => count(Counter::DeniedAfterChange),
    }
    Some(outcome)
}

/// Whether a packet begins another connection of the same five values: a TCP SYN after the end of the one before, or,
/// where no end can be seen, any packet after the time-out.
#[inline(always)]
fn opens_anew(flow: &Flow, seen: u64) -> bool {
    if flow.key.protocol == TCP && has_ended(seen) {
        flow.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
    } else {
        // A TCP reset opens nothing.
        seen & bits::CLOSED != 0 && !(flow.key.protocol == TCP && flow.tcp_flags & tcp::RST != 0)
    }
}

/// Handles a late packet of a connection whose close record was made: it passes, in no totals, as long as the policy in
/// force allows it.
#[inline(always)]
fn after_close(flow: &Flow, connection: *const Connection) -> Outcome {
    // SAFETY: `connection` is a value of the connection table; each field is read whole.
    let (generation, direction) = unsafe { ((*connection).generation, (*connection).direction) };
    if generation != flow.snapshot.generation {
        let decision = decide(flow, direction_of(direction));
        if denials::drops(decision.verdict) {
            denials::deny(flow, &decision);
            return Outcome::Drop;
        }
    }
    count(Counter::AfterClose);
    remembered_outcome(connection)
}

#[inline(always)]
fn direction_of(number: u8) -> Direction {
    if number == Direction::Egress.number() { Direction::Egress } else { Direction::Ingress }
}

#[inline(always)]
fn remembered_outcome(connection: *const Connection) -> Outcome {
    // SAFETY: `connection` is a value of the connection table; the byte is read whole.
    if unsafe { (*connection).verdict } == Verdict::Deny.number() { Outcome::Drop } else { Outcome::Pass }
}

/// Decides a live connection by the generation that is now in force. A verdict that changes is a record.
#[inline(always)]
fn decide_anew(flow: &Flow, connection: *mut Connection) {
    // SAFETY: `connection` is a value of the connection table.
    let (direction, verdict) = unsafe { ((*connection).direction, (*connection).verdict) };
    let decision = decide(flow, direction_of(direction));
    // SAFETY: as above; this CPU alone decides anew for this generation.
    unsafe {
        let changes = verdict != decision.verdict.number();
        if changes {
            (*connection).previous_rule_set = (*connection).rule_set;
            (*connection).previous_verdict = verdict;
            (*connection).changed_ns = flow.now_ns;
        }
        remember(connection, &decision);
        if changes {
            count(Counter::ConnectionsChanged);
            count(Counter::RecordsOwed);
            if atomic::set_bits(&raw mut (*connection).bits, bits::OWES_CHANGE) & bits::OWES_CHANGE != 0 {
                // The change before this one was never accepted, and its place is taken now.
                record::lose(&flow.snapshot, flow.key.interface, decision.endpoint, Reason::RingFull, flow.now_ns);
            }
            record::offer_owed(&flow.key, connection, bits::OWES_CHANGE, EventKind::Change);
        }
    }
}

#[inline(always)]
fn remember(connection: *mut Connection, decision: &Decision) {
    // SAFETY: `connection` is a value of the connection table, or room for one.
    unsafe {
        (*connection).endpoint = decision.endpoint;
        (*connection).peer = decision.peer;
        (*connection).peer_flags = decision.peer_flags;
        (*connection).rule_set = decision.rule_set;
        (*connection).reason = decision.reason.number();
        (*connection).verdict = decision.verdict.number();
    }
}

/// Adds a packet to the totals and to what is known of the connection's life.
#[inline(always)]
fn account(flow: &Flow, connection: *mut Connection, seen: u64) {
    // SAFETY: `connection` is a value of the connection table.
    unsafe {
        let (packets, bytes) = match flow.direction {
            Direction::Egress => (&raw mut (*connection).packets_out, &raw mut (*connection).bytes_out),
            Direction::Ingress => (&raw mut (*connection).packets_in, &raw mut (*connection).bytes_in),
        };
        atomic::add(packets, flow.packets);
        atomic::add(bytes, flow.bytes);
        (*connection).last_ns = flow.now_ns;
        let mut news = ends(flow);
        if flow.direction.number() != (*connection).direction {
            news |= bits::REPLIED;
        }
        if news & !seen != 0 {
            atomic::set_bits(&raw mut (*connection).bits, news);
        }
    }
}

/// What a TCP segment says of the connection's end.
#[inline(always)]
fn ends(flow: &Flow) -> u64 {
    let mut ends = 0;
    if flow.tcp_flags & tcp::FIN != 0 {
        ends |= match flow.direction {
            Direction::Egress => bits::FIN_OUT,
            Direction::Ingress => bits::FIN_IN,
        };
    }
    if flow.tcp_flags & tcp::RST != 0 {
        ends |= bits::RESET;
    }
    ends
}

/// How an attempt to open an entry anew ended.
enum Reopened {
    /// The packet was decided.
    Done(Outcome),
    /// The sweep is deleting the entry.
    Gone,
    /// Another CPU has opened it: the packet belongs to that connection.
    ByAnother,
}

/// Opens an entry anew for another connection of the same five values. The records of the one before are made first.
#[inline(always)]
fn reopen(flow: &Flow, connection: *mut Connection) -> Reopened {
    // SAFETY: `connection` is a value of the connection table.
    let word = unsafe { &raw mut (*connection).bits };
    // SAFETY: as above.
    let before = unsafe { atomic::set_bits(word, bits::REOPENING) };
    if before & bits::DELETING != 0 {
        return Reopened::Gone;
    }
    if before & bits::REOPENING != 0 {
        return Reopened::ByAnother;
    }
    settle(flow, connection);
    let decision = decide(flow, flow.direction);
    if denials::drops(decision.verdict) {
        // SAFETY: as above.
        unsafe { atomic::clear_bits(word, bits::REOPENING) };
        denials::deny(flow, &decision);
        return Reopened::Done(Outcome::Drop);
    }
    begin(flow, connection, &decision);
    // SAFETY: as above. The store ends the reopening and forgets the bits of the connection before.
    unsafe { word.write_volatile(bits::OWES_OPEN | ends(flow)) };
    tell_open(flow, connection);
    Reopened::Done(Outcome::Pass)
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
fn settle_owed(flow: &Flow, connection: *mut Connection) {
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

/// Writes a connection's first packet into an entry.
#[inline(always)]
fn begin(flow: &Flow, connection: *mut Connection, decision: &Decision) {
    let (out, into) = match flow.direction {
        Direction::Egress => (1, 0),
        Direction::Ingress => (0, 1),
    };
    remember(connection, decision);
    // SAFETY: `connection` is a value of the connection table, or room for one.
    unsafe {
        (*connection).opened_ns = flow.now_ns;
        (*connection).last_ns = flow.now_ns;
        (*connection).changed_ns = 0;
        (*connection).reported_ns = flow.now_ns;
        (*connection).generation = flow.snapshot.generation;
        (*connection).packets_out = out * flow.packets;
        (*connection).bytes_out = out * flow.bytes;
        (*connection).packets_in = into * flow.packets;
        (*connection).bytes_in = into * flow.bytes;
        (*connection).previous_rule_set = 0;
        (*connection).previous_verdict = 0;
        (*connection).direction = flow.direction.number();
        (*connection).tcp_flags = flow.tcp_flags;
        (*connection).icmp_type = flow.icmp_type;
        (*connection).icmp_code = flow.icmp_code;
        (*connection).zero = [0; 5];
    }
}

#[inline(always)]
fn tell_open(flow: &Flow, connection: *mut Connection) {
    count(Counter::ConnectionsOpened);
    count(Counter::RecordsOwed);
    record::offer_owed(&flow.key, connection, bits::OWES_OPEN, EventKind::Open);
}

/// Handles the first packet of a connection.
#[inline(always)]
pub(crate) fn first(flow: &Flow) -> Outcome {
    let mut decision = decide(flow, flow.direction);
    if denials::drops(decision.verdict) {
        denials::deny(flow, &decision);
        return Outcome::Drop;
    }
    if flow.key.protocol == TCP && flow.tcp_flags & tcp::RST != 0 {
        // It opens nothing: the answer to a packet of a connection that is long forgotten.
        count(Counter::StrayReset);
        return Outcome::Pass;
    }
    if let Some(outcome) = insert(flow, &decision) {
        return outcome;
    }
    let endpoint = decide::endpoint(flow);
    decision.reason = Reason::ConnectionTableFull;
    decision.verdict = match failure::verdict(flow, endpoint.as_ref(), Reason::ConnectionTableFull) {
        // Only the traffic of an endpoint that is not known, in a configuration that allows it, may go unremembered.
        Verdict::Allow => Verdict::Audit,
        verdict => verdict,
    };
    denials::deny(flow, &decision);
    if denials::drops(decision.verdict) { Outcome::Drop } else { Outcome::Pass }
}

/// Remembers a connection and tells of it; `None` where there is no room.
#[inline(always)]
fn insert(flow: &Flow, decision: &Decision) -> Option<Outcome> {
    // SAFETY: the room is this CPU's own.
    let room = unsafe { &raw mut (*scratch()?).connection };
    begin(flow, room, decision);
    // SAFETY: as above.
    unsafe { (*room).bits = bits::OWES_OPEN | ends(flow) };
    for _ in 0..TRIES {
        // SAFETY: as above.
        match CONNECTIONS.insert(flow.key, unsafe { &*room }, NO_REPLACE) {
            Ok(()) => {
                if let Some(connection) = CONNECTIONS.get_ptr_mut(flow.key) {
                    tell_open(flow, connection);
                }
                return Some(Outcome::Pass);
            }
            // Another CPU was first, or the sweep is deleting the entry.
            Err(EXISTS) => {
                if let Some(outcome) = known(flow) {
                    return Some(outcome);
                }
            }
            Err(_) => return None,
        }
    }
    None
}
