//! Services. The hook sees a packet before the Service's address is translated, so that policy is asked about what
//! stands behind it: the backends, or the one of them that is known.
//!
//! Where the backends are not decided alike, and each that is denied is an endpoint on this node, the client's packet is
//! let on and its connection is *deferred*: the backend's hook, which sees the real destination, decides by the
//! client's policy before it decides by its own. Until then nothing is let back to the client and no record is owed.

use podwitness_packet::tcp;
use podwitness_wire::{
    Address, AddressEntry, Connection, Counter, Direction, Frontends, Learnt, NatResolution, TCP, TransportAddress,
    bits, endpoint_flags, service_kind,
};

use crate::{
    atomic,
    connections::{remember, tell_open},
    count::count,
    decide::{self, decide},
    denials::deny,
    flow::{DROP, Flow, Outcome, PASS, destination_port},
    maps::CONNECTIONS,
    room::{Case, OTHER, OWN, case, room},
    tables,
};

/// [`NatResolution`] as it stands in records.
pub(crate) mod resolution {
    use super::NatResolution;

    pub(crate) const NONE: u8 = NatResolution::None.number();
    pub(crate) const EXACT: u8 = NatResolution::Exact.number();
    pub(crate) const ALL_BACKENDS: u8 = NatResolution::AllBackends.number();
    pub(crate) const MIXED: u8 = NatResolution::Mixed.number();
}

/// What policy is asked about: the peer that the packet names, or what stands behind a Service's address.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The peer; of the backends of a Service, where none is known, their class alone.
    pub(crate) peer: AddressEntry,
    pub(crate) port: u16,
    /// [`service_kind`]; a peer that is no Service is alike.
    pub(crate) kind: u8,
    pub(crate) resolution: u8,
    pub(crate) service: u32,
}

/// The target of a connection that goes in `direction`.
#[inline(always)]
pub(crate) fn target(flow: &Flow, direction: Direction) -> Target {
    if direction == Direction::Egress {
        let key = transport_address(&flow.key.peer, flow.key.peer_port, flow.key.protocol);
        let service = tables::service(&flow.snapshot, key);
        if flow.backend_port != 0 {
            return Target {
                peer: tables::address(&flow.snapshot, &flow.backend),
                port: flow.backend_port,
                kind: service_kind::ALIKE,
                resolution: resolution::EXACT,
                service: service.map_or(flow.service, |service| service.service),
            };
        }
        if let Some(service) = service {
            return Target {
                peer: AddressEntry { class: service.class, ..AddressEntry::default() },
                port: service.port,
                kind: service.kind,
                resolution: match service.kind {
                    service_kind::EMPTY => resolution::NONE,
                    _ => resolution::ALL_BACKENDS,
                },
                service: service.service,
            };
        }
        if flow.service != 0 {
            // The Service is gone while a connection to it lives on, no one knows where to.
            return Target {
                peer: AddressEntry::default(),
                port: 0,
                kind: service_kind::EMPTY,
                resolution: resolution::NONE,
                service: flow.service,
            };
        }
    }
    Target {
        peer: tables::address(&flow.snapshot, &flow.key.peer),
        port: destination_port(&flow.key, direction),
        kind: service_kind::ALIKE,
        resolution: 0,
        service: 0,
    }
}

#[inline(always)]
fn transport_address(address: &Address, port: u16, protocol: u8) -> TransportAddress {
    TransportAddress { address: *address, port, protocol, zero: 0 }
}

/// Handles a packet of a connection that waits for the backend's hook.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn pw_deferred() -> i32 {
    let Some(case) = case(OWN) else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement; `connection` is a value of the
    // connection table.
    unsafe {
        let Some(connection) = CONNECTIONS.get_ptr_mut((*case).flow.key) else { return DROP };
        if (*case).flow.direction == Direction::Ingress {
            let audits = decide::endpoint(&(*case).flow);
            if audits.is_some_and(|endpoint| endpoint.flags & endpoint_flags::AUDIT != 0) {
                return PASS;
            }
            count(Counter::DeferredReplies);
            return DROP;
        }
        decide(OWN, Direction::Egress);
        if (*case).decision.is_deferred {
            return PASS;
        }
        if (*case).decision.drops() {
            atomic::set_bits(&raw mut (*connection).bits, bits::REFUSED);
            deny(OWN, Direction::Egress);
            return DROP;
        }
        open_deferred(case, connection);
    }
    PASS
}

/// Opens a deferred connection: its record is owed from now on.
///
/// # Safety
///
/// `connection` must be the value of the entry that the case is about.
#[inline(always)]
unsafe fn open_deferred(case: *const Case, connection: *mut Connection) {
    // SAFETY: the caller's. Whoever takes the bit away is the one who opens.
    unsafe {
        remember(connection, &(*case).decision);
        (*connection).generation = (*case).flow.snapshot.generation;
        let word = &raw mut (*connection).bits;
        if atomic::clear_bits(word, bits::DEFERRED | bits::REFUSED) & bits::DEFERRED != 0 {
            atomic::set_bits(word, bits::OWES_OPEN);
            count(Counter::DeferredDecided);
            tell_open(&(*case).flow.key, connection);
        }
    }
}

/// Asks the policy of a client on this node about the first packet of a connection into an endpoint. The client's own
/// hook has, where it saw this destination; where it saw a Service's address, only here the real one is seen. A
/// connection to a Service then learns its backend, and if it is deferred, it is decided.
#[inline(always)]
pub(crate) fn arrives() -> Outcome {
    Outcome::of(pw_arrives())
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_arrives() -> i32 {
    let Some(room) = room() else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement.
    unsafe {
        let flow = &raw const (*room).own.flow;
        let client = tables::address(&(*flow).snapshot, &(*flow).key.peer);
        if client.interface == 0 {
            return PASS;
        }
        let other = &raw mut (*room).other.flow;
        *other = *flow;
        (*other).direction = Direction::Egress;
        (*other).key.interface = client.interface;
        (*other).key.pod = (*flow).key.peer;
        (*other).key.pod_port = (*flow).key.peer_port;
        (*other).key.peer = (*flow).key.pod;
        (*other).key.peer_port = (*flow).key.pod_port;
        decide(OTHER, Direction::Egress);
        // A client that talks to the backend itself says nothing of a Service by it, and a reset opens nothing.
        let is_direct = CONNECTIONS.get_ptr(&(*other).key).is_some();
        let is_reset = (*flow).key.protocol == TCP && (*flow).tcp_flags & tcp::RST != 0;
        if !is_direct && !is_reset && find_connection(other) {
            return pw_learn_backend();
        }
        if (*room).other.decision.drops() {
            (*other).key.peer = (*flow).key.pod;
            (*other).key.peer_port = (*flow).key.pod_port;
            deny(OTHER, Direction::Egress);
            return DROP;
        }
    }
    PASS
}

/// Looks for the client's connection to a Service that this packet may be of: the only one that wants a backend. Turns
/// the client's flow, which goes to the backend, into that connection's.
///
/// # Safety
///
/// `client` must be this CPU's own, and not be borrowed.
#[inline(always)]
unsafe fn find_connection(client: *mut Flow) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let key = &raw mut (*client).key;
        let backend = transport_address(&(*key).peer, (*key).peer_port, (*key).protocol);
        let Some(frontends) = tables::frontends(&(*client).snapshot, backend) else { return false };
        let (mut found, mut place) = (0, 0);
        for index in 0..Frontends::MOST {
            if index >= frontends.count as usize {
                break;
            }
            (*key).peer = frontends.list[index].address;
            (*key).peer_port = frontends.list[index].port;
            if CONNECTIONS.get_ptr_mut(&*key).is_some_and(|connection| wants_backend(connection)) {
                found += 1;
                place = index;
            }
        }
        if found != 1 {
            return false;
        }
        let frontend = &frontends.list[place % Frontends::MOST];
        (*key).peer = frontend.address;
        (*key).peer_port = frontend.port;
        (*client).backend = backend.address;
        (*client).backend_port = backend.port;
    }
    true
}

/// Whether a connection is live, goes to a Service, and does not know to which backend.
#[inline(always)]
fn wants_backend(connection: *const Connection) -> bool {
    // SAFETY: `connection` is a value of the connection table; each field is read whole.
    let (seen, service, known) = unsafe {
        let word = (&raw const (*connection).bits).read_volatile();
        (word, (*connection).service, (*connection).resolution)
    };
    seen & (bits::CLOSED | bits::DELETING | bits::REOPENING) == 0 && service != 0 && known != resolution::EXACT
}

/// Tells the connection of the other case its backend, and decides by it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_learn_backend() -> i32 {
    let Some(case) = case(OTHER) else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement; `connection` is a value of the
    // connection table.
    unsafe {
        let Some(connection) = CONNECTIONS.get_ptr_mut((*case).flow.key) else { return PASS };
        decide(OTHER, Direction::Egress);
        let is_deferred = (&raw const (*connection).bits).read_volatile() & bits::DEFERRED != 0;
        let drops = (*case).decision.drops();
        if is_deferred && drops {
            atomic::set_bits(&raw mut (*connection).bits, bits::REFUSED);
            deny(OTHER, Direction::Egress);
            return DROP;
        }
        (*connection).backend = (*case).flow.backend;
        (*connection).backend_port = (*case).flow.backend_port;
        if is_deferred {
            open_deferred(case, connection);
            return PASS;
        }
        (*connection).resolution = resolution::EXACT;
        if (*connection).verdict != (*case).decision.verdict.number() {
            // The client's next packet makes the record of the change.
            atomic::set_bits(&raw mut (*connection).generation, Connection::DECIDE_ANEW);
        } else {
            remember(connection, &(*case).decision);
        }
        if drops {
            count(Counter::DeniedAfterChange);
            return DROP;
        }
    }
    PASS
}

/// Tells a connection what user space has learnt of it, by which its next packet is decided. Returns whether it is the
/// connection that was meant.
#[inline(always)]
pub(crate) fn learn_from_user(learnt: &Learnt) -> bool {
    let Some(connection) = CONNECTIONS.get_ptr_mut(learnt.key) else { return false };
    // SAFETY: `connection` is a value of the connection table.
    unsafe {
        let seen = (&raw const (*connection).bits).read_volatile();
        if seen & (bits::DELETING | bits::REOPENING) != 0 || (*connection).opened_ns != learnt.opened_ns {
            return false;
        }
        if seen & bits::DEFERRED == 0 && wants_backend(connection) {
            (*connection).backend = learnt.backend;
            (*connection).backend_port = learnt.backend_port;
            (*connection).resolution = resolution::EXACT;
            atomic::set_bits(&raw mut (*connection).generation, Connection::DECIDE_ANEW);
        }
    }
    true
}

/// Whether a deferred connection was never decided: neither opened nor denied.
#[inline(always)]
pub(crate) fn is_unresolved(seen: u64) -> bool {
    seen & (bits::DEFERRED | bits::REFUSED) == bits::DEFERRED
}
