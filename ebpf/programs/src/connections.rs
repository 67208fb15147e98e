//! The connection table: decided on the first packet, remembered, replies belong to it.
//!
//! An entry is inserted once, changed in place by atomic operations and single words, and deleted by the sweep alone.
//! The bits of its first word say which records it still owes and who is at work on it; see
//! [`podwitness_wire::bits`].

use podwitness_packet::tcp;
use podwitness_wire::{
    Connection, ConnectionKey, Counter, Direction, EventKind, ICMP, ICMPV6, Reason, TCP, Verdict, bits,
};

use crate::{
    atomic,
    count::count,
    decide::{self, Decision, decide},
    denials::deny,
    failure,
    flow::{DROP, Flow, Outcome, PASS, direction_of},
    maps::CONNECTIONS,
    record::{self, NO_REPLACE},
    reopen::{self, GONE, OPENED_BY_ANOTHER, pw_reopen, settle_owed},
    room::{Case, OTHER, OWN, Which, case, room},
    services::{self, resolution},
    tables,
};

/// `-EEXIST` of `BPF_NOEXIST`.
const EXISTS: i32 = -17;

/// RFC 792, RFC 4443 section 4.1.
const ICMP_ECHO_REQUEST: u8 = 8;
const ICMPV6_ECHO_REQUEST: u8 = 128;

/// Ports from here on are those that a host gives to its own connections (`net.ipv4.ip_local_port_range`).
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// Both sides have ended a TCP connection, or one has reset it.
#[inline(always)]
pub(crate) fn has_ended(seen: u64) -> bool {
    seen & bits::RESET != 0 || seen & (bits::FIN_IN | bits::FIN_OUT) == bits::FIN_IN | bits::FIN_OUT
}

/// Whether a packet is the segment that opens a TCP connection.
#[inline(always)]
pub(crate) fn is_opening_segment(flow: &Flow) -> bool {
    flow.key.protocol == TCP && flow.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// Which way the connection goes that a packet, the first one seen of it, belongs to: its own way, save for a TCP segment
/// that opens nothing. A SYN that acknowledges is an answer; of any other the ports tell, as far as they do, which
/// side is the server: the connection began before there was a hook.
#[inline(always)]
pub(crate) fn direction_of_first(flow: &Flow) -> Direction {
    if flow.key.protocol != TCP || is_opening_segment(flow) {
        return flow.direction;
    }
    let (source_port, destination_port) = match flow.direction {
        Direction::Egress => (flow.key.pod_port, flow.key.peer_port),
        Direction::Ingress => (flow.key.peer_port, flow.key.pod_port),
    };
    let comes_from_server = source_port < FIRST_EPHEMERAL_PORT && destination_port >= FIRST_EPHEMERAL_PORT;
    if flow.tcp_flags & tcp::SYN == 0 && !comes_from_server {
        return flow.direction;
    }
    match flow.direction {
        Direction::Egress => Direction::Ingress,
        Direction::Ingress => Direction::Egress,
    }
}

/// Handles a packet of a connection that is remembered; `None` where there is none.
#[inline(always)]
pub(crate) fn known() -> Option<Outcome> {
    match pw_known() {
        NONE => None,
        outcome => Some(Outcome::of(outcome)),
    }
}

/// There is no such connection.
const NONE: i32 = 2;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_known() -> i32 {
    let Some(case) = case(OWN) else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement; `connection` is a value of the
    // connection table, whose memory lives as long as the map.
    unsafe {
        let flow = &raw const (*case).flow;
        let Some(connection) = CONNECTIONS.get_ptr_mut(&(*flow).key) else { return NONE };
        let seen = (&raw const (*connection).bits).read_volatile();
        if seen & bits::DELETING != 0 {
            return NONE;
        }
        if seen & bits::DEFERRED != 0 {
            return services::pw_deferred();
        }
        let mut begins_another = reopen::opens_anew(&*flow, seen);
        if !begins_another && seen & bits::CLOSED != 0 {
            return after_close(case, connection);
        }
        if !begins_another && is_outdated(&*flow, connection) {
            begins_another = pw_decide_anew(OWN) == OTHER_PEER;
        }
        if begins_another {
            match pw_reopen() {
                GONE => return NONE,
                OPENED_BY_ANOTHER => {
                    if (&raw const (*connection).bits).read_volatile() & bits::REOPENING != 0 {
                        // Not decided yet, and what is remembered is of the connection before.
                        return DROP;
                    }
                }
                outcome => return outcome,
            }
        }
        if is_opened_from_the_other_side(&*flow, connection, seen) {
            let direction = (*flow).direction;
            decide(OWN, direction);
            if (*case).decision.drops() {
                deny(OWN, direction);
                return DROP;
            }
        }
        let outcome = remembered_outcome(connection);
        match outcome {
            Outcome::Pass => account(&*flow, connection, seen),
            Outcome::Drop => count(Counter::DeniedAfterChange),
        }
        outcome.number()
    }
}

/// Whether the connection of the other case is remembered, and passes by the generation in force.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn pw_is_passing() -> i32 {
    let Some(case) = case(OTHER) else { return DROP };
    // SAFETY: as for `pw_known`.
    unsafe {
        let flow = &raw const (*case).flow;
        let Some(connection) = CONNECTIONS.get_ptr_mut(&(*flow).key) else { return DROP };
        let seen = (&raw const (*connection).bits).read_volatile();
        if seen & (bits::DELETING | bits::DEFERRED) != 0 {
            return DROP;
        }
        if seen & bits::CLOSED != 0 {
            // It is not decided anew any more.
            if (*connection).generation != (*flow).snapshot.generation {
                return DROP;
            }
        } else if is_outdated(&*flow, connection) && pw_decide_anew(OTHER) == OTHER_PEER {
            return DROP;
        }
        remembered_outcome(connection).number()
    }
}

/// Whether this packet is the one on which a connection is decided anew: the first after another generation came in
/// force.
#[inline(always)]
fn is_outdated(flow: &Flow, connection: *mut Connection) -> bool {
    // SAFETY: `connection` is a value of the connection table; each word is read whole.
    let decided_by = unsafe { (*connection).generation };
    // A packet that has begun before the generation in force has decided nothing that a later one has not.
    if decided_by == flow.snapshot.generation
        || (decided_by & Connection::DECIDE_ANEW == 0 && decided_by > flow.snapshot.generation)
    {
        return false;
    }
    settle_owed(flow, connection);
    // SAFETY: as above; whoever takes the older generation out is the one who decides anew.
    unsafe { atomic::swap(&raw mut (*connection).generation, flow.snapshot.generation) != flow.snapshot.generation }
}

/// Whether the side to which a connection was opened now opens one of the same five values: an answer that policy allows
/// must not become a way in. So is an echo request of the one who was asked. Two sides that open at once make one connection (RFC 9293 section 3.5).
#[inline(always)]
fn is_opened_from_the_other_side(flow: &Flow, connection: *const Connection, seen: u64) -> bool {
    // SAFETY: `connection` is a value of the connection table; each byte is read whole.
    let (direction, first_flags) = unsafe { ((*connection).direction, (*connection).tcp_flags) };
    if flow.direction.number() == direction {
        return false;
    }
    let asks = matches!((flow.key.protocol, flow.icmp_type), (ICMP, ICMP_ECHO_REQUEST) | (ICMPV6, ICMPV6_ECHO_REQUEST));
    asks || (is_opening_segment(flow) && (seen & bits::REPLIED != 0 || first_flags & tcp::SYN == 0))
}

/// Handles a late packet of a connection whose close record was made: it passes, in no totals, as long as the policy in
/// force allows it.
///
/// # Safety
///
/// `connection` must be the value of the entry that the case is about.
#[inline(always)]
unsafe fn after_close(case: *mut Case, connection: *const Connection) -> i32 {
    // SAFETY: the caller's; each field is read whole.
    unsafe {
        if (*connection).generation != (*case).flow.snapshot.generation {
            recall(&mut (*case).flow, connection);
            let direction = direction_of(u32::from((*connection).direction));
            decide(OWN, direction);
            if (*case).decision.drops() {
                deny(OWN, direction);
                return DROP;
            }
        }
    }
    count(Counter::AfterClose);
    remembered_outcome(connection).number()
}

#[inline(always)]
fn remembered_outcome(connection: *const Connection) -> Outcome {
    // SAFETY: `connection` is a value of the connection table; the byte is read whole.
    if unsafe { (*connection).verdict } == Verdict::Deny.number() { Outcome::Drop } else { Outcome::Pass }
}

/// Takes what is known of the connection's Service into the flow, so that it is decided by it.
#[inline(always)]
fn recall(flow: &mut Flow, connection: *const Connection) {
    // SAFETY: `connection` is a value of the connection table; a backend is written before the resolution that says so,
    // and once.
    unsafe {
        flow.service = (*connection).service;
        if (*connection).resolution == resolution::EXACT {
            flow.backend = (*connection).backend;
            flow.backend_port = (*connection).backend_port;
        }
    }
}

/// The connection is decided by the generation in force.
const DECIDED: i32 = 0;
/// The peer's address belongs to another pod now: this is not the connection that was decided.
const OTHER_PEER: i32 = 1;

/// Decides the live connection of a case by the generation that is now in force. A verdict that changes is a record.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_decide_anew(which: Which) -> i32 {
    let Some(case) = case(which) else { return DECIDED };
    // SAFETY: as for `pw_known`. This CPU alone decides anew for this generation.
    unsafe {
        let flow = &raw mut (*case).flow;
        let decision = &raw mut (*case).decision;
        let Some(connection) = CONNECTIONS.get_ptr_mut(&(*flow).key) else { return DECIDED };
        recall(&mut *flow, connection);
        decide(which, direction_of(u32::from((*connection).direction)));
        let owner = (*connection).peer_owner;
        if owner != 0 {
            if (*decision).peer_owner != 0 && (*decision).peer_owner != owner {
                forget(&mut *flow);
                // Whatever comes before the entry is opened anew must not rest on what was decided of the other.
                atomic::set_bits(&raw mut (*connection).generation, Connection::DECIDE_ANEW);
                return OTHER_PEER;
            }
            // While nobody is known to have the address, the one who had it is remembered.
            (*decision).peer_owner = owner;
        }
        let before = (*connection).verdict;
        if before == (*decision).verdict.number() {
            remember(connection, &*decision);
            recheck(&*flow, connection);
            return DECIDED;
        }
        (*connection).previous_rule_set = (*connection).rule_set;
        (*connection).previous_verdict = before;
        (*connection).changed_ns = (*flow).now_ns;
        remember(connection, &*decision);
        recheck(&*flow, connection);
        count(Counter::ConnectionsChanged);
        count(Counter::RecordsOwed);
        if atomic::set_bits(&raw mut (*connection).bits, bits::OWES_CHANGE) & bits::OWES_CHANGE != 0 {
            // The change before this one was never accepted, and its place is taken now.
            let endpoint = (*decision).endpoint;
            record::lose(&(*flow).snapshot, (*flow).key.interface, endpoint, Reason::RingFull, (*flow).now_ns);
        }
        record::offer_owed(&(*flow).key, connection, bits::OWES_CHANGE, EventKind::Change);
    }
    DECIDED
}

/// Has the next packet decide anew where another CPU has decided by another generation meanwhile: whose words stand in
/// the entry cannot be told.
///
/// # Safety
///
/// `connection` must be a value of the connection table.
#[inline(always)]
unsafe fn recheck(flow: &Flow, connection: *mut Connection) {
    // SAFETY: the caller's; the word is read whole.
    unsafe {
        if (&raw const (*connection).generation).read_volatile() != flow.snapshot.generation {
            atomic::set_bits(&raw mut (*connection).generation, Connection::DECIDE_ANEW);
        }
    }
}

/// Takes what was recalled out of the flow again.
#[inline(always)]
fn forget(flow: &mut Flow) {
    flow.service = 0;
    flow.backend = [0; 16];
    flow.backend_port = 0;
}

/// Writes a decision into an entry.
#[inline(always)]
pub(crate) fn remember(connection: *mut Connection, decision: &Decision) {
    // SAFETY: `connection` is a value of the connection table, or room for one.
    unsafe {
        (*connection).endpoint = decision.endpoint;
        (*connection).peer = decision.peer;
        (*connection).peer_flags = decision.peer_flags;
        (*connection).peer_owner = decision.peer_owner;
        (*connection).rule_set = decision.rule_set;
        (*connection).service = decision.service;
        (*connection).resolution = decision.resolution;
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

/// Writes a connection's first packet into an entry.
#[inline(always)]
pub(crate) fn begin(flow: &Flow, connection: *mut Connection, direction: Direction, decision: &Decision) {
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
        (*connection).backend = [0; 16];
        (*connection).backend_port = 0;
        (*connection).previous_verdict = 0;
        (*connection).direction = direction.number();
        (*connection).tcp_flags = flow.tcp_flags;
        (*connection).icmp_type = flow.icmp_type;
        (*connection).icmp_code = flow.icmp_code;
        (*connection).zero = [0; 2];
    }
}

/// What an entry's bits are after its first packet.
#[inline(always)]
pub(crate) fn first_bits(flow: &Flow, direction: Direction, decision: &Decision) -> u64 {
    let owed = if decision.is_deferred { bits::DEFERRED } else { bits::OWES_OPEN };
    let replied = if flow.direction.number() == direction.number() { 0 } else { bits::REPLIED };
    owed | replied | ends(flow)
}

/// Tells of a connection that was entered into the table.
#[inline(always)]
pub(crate) fn tell_first(key: &ConnectionKey, connection: *mut Connection, decision: &Decision) {
    if decision.is_deferred {
        count(Counter::ConnectionsDeferred);
    } else {
        tell_open(key, connection);
    }
}

#[inline(always)]
pub(crate) fn tell_open(key: &ConnectionKey, connection: *mut Connection) {
    count(Counter::ConnectionsOpened);
    count(Counter::RecordsOwed);
    record::offer_owed(key, connection, bits::OWES_OPEN, EventKind::Open);
}

/// Decides the packet's own connection on the first packet seen of it, which has come to the hook of a Service's backend
/// if it went through one. Returns the connection's direction; where the packet is dropped, that was counted.
///
/// # Safety
///
/// `case` must be this CPU's own, and not be borrowed.
#[inline(always)]
pub(crate) unsafe fn decide_first(case: *mut Case) -> Option<Direction> {
    // SAFETY: the caller's.
    unsafe {
        let way = (*case).flow.direction;
        // What leaves a pod from another's address is its own doing, whatever it pretends to answer.
        let direction = if is_from_another_address(&(*case).flow) { way } else { direction_of_first(&(*case).flow) };
        let enters = matches!((way, direction), (Direction::Ingress, Direction::Ingress));
        if enters && services::arrives() == Outcome::Drop {
            return None;
        }
        decide(OWN, direction);
        if direction.number() != way.number() {
            // An answer comes from a backend, and which one it is nobody has seen.
            (*case).decision.is_deferred = false;
        }
        if (*case).decision.drops() && !(*case).decision.is_deferred {
            deny(OWN, direction);
            return None;
        }
        Some(direction)
    }
}

/// Whether a packet leaves the pod from an address that is not the pod's own.
#[inline(always)]
fn is_from_another_address(flow: &Flow) -> bool {
    flow.direction == Direction::Egress && !tables::is_own_address(&flow.snapshot, flow.key.interface, &flow.key.pod)
}

/// Handles the first packet of a connection; `None` where another CPU has made an entry meanwhile, or the sweep is
/// deleting one.
#[inline(always)]
pub(crate) fn first() -> Option<Outcome> {
    match pw_first() {
        NONE => None,
        outcome => Some(Outcome::of(outcome)),
    }
}

/// How often a packet is tried where an entry of its key comes or goes meanwhile. A deletion takes less time than one try.
pub(crate) const TRIES: usize = 4;

/// A packet whose tries were all in vain: there is no room for its connection.
#[inline(always)]
pub(crate) fn no_room() -> Outcome {
    Outcome::of(pw_no_room())
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_first() -> i32 {
    let Some(case) = case(OWN) else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement.
    unsafe {
        let Some(direction) = decide_first(case) else { return DROP };
        if (*case).flow.key.protocol == TCP && (*case).flow.tcp_flags & tcp::RST != 0 {
            if (*case).decision.is_deferred {
                // Nobody would decide it: the backend's hook has no connection to decide it by.
                deny(OWN, direction);
                return if (*case).decision.drops() { DROP } else { PASS };
            }
            // It opens nothing: the answer to a packet of a connection that is long forgotten.
            count(Counter::StrayReset);
            return PASS;
        }
        insert(case, direction)
    }
}

/// Denies what cannot be remembered.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_no_room() -> i32 {
    let Some(case) = case(OWN) else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement.
    unsafe {
        let flow = &raw const (*case).flow;
        let decision = &raw mut (*case).decision;
        let endpoint = decide::endpoint(&*flow);
        (*decision).reason = Reason::ConnectionTableFull;
        (*decision).verdict = match failure::verdict(&*flow, endpoint.as_ref(), Reason::ConnectionTableFull) {
            // Only the traffic of an endpoint that is not known, in a configuration that allows it, may go unremembered.
            Verdict::Allow => Verdict::Audit,
            verdict => verdict,
        };
        deny(OWN, direction_of_first(&*flow));
        if (*decision).drops() { DROP } else { PASS }
    }
}

/// Remembers the case's connection and tells of it.
///
/// # Safety
///
/// As for [`decide_first`].
#[inline(always)]
unsafe fn insert(case: *mut Case, direction: Direction) -> i32 {
    let Some(room) = room() else { return DROP };
    // SAFETY: the caller's.
    unsafe {
        let new = &raw mut (*room).connection;
        let Case { flow, decision } = &*case;
        begin(flow, new, direction, decision);
        (*new).bits = first_bits(flow, direction, decision);
        match CONNECTIONS.insert(&flow.key, &*new, NO_REPLACE) {
            Ok(()) => {
                if let Some(connection) = CONNECTIONS.get_ptr_mut(&flow.key) {
                    tell_first(&flow.key, connection, decision);
                }
                PASS
            }
            Err(EXISTS) => NONE,
            Err(_) => pw_no_room(),
        }
    }
}
