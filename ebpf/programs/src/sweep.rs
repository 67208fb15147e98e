//! The sweep of the connection table: owed records are offered again, what ended or went idle is reported and then
//! deleted.
//!
//! It runs in the kernel because only there can a record be claimed and an entry be deleted with no packet in between,
//! and because everything then leaves by one way, the ring buffer, whose position is the acknowledgement.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_for_each_map_elem, bpf_ktime_get_boot_ns};
use podwitness_wire::{
    Connection, ConnectionKey, ConnectionTimeouts, Counter, EventKind, ICMP, ICMPV6, TCP, UDP, bits,
};

use crate::{
    atomic,
    connections::has_ended,
    count::count,
    hook::snapshot,
    maps::{CONNECTIONS, GRACE, SETTINGS},
    readers, record, services, tables,
};

/// Every entry was visited.
const DONE: i32 = 0;
/// The ring had no room: the rest waits for the next sweep.
const RING_FULL: i32 = 1;

/// What `bpf_for_each_map_elem` reads from its callback.
const GO_ON: i64 = 0;
const STOP: i64 = 1;

/// UDP with packets of both sides is a stream, and not a request with its answer, from this age on
/// (`net/netfilter/nf_conntrack_proto_udp.c`, kernel commit d535c8a69c19).
const UDP_STREAM_AFTER_NS: u64 = 2_000_000_000;

struct Sweep {
    now_ns: u64,
    ring_is_full: u64,
}

#[inline(always)]
pub(crate) fn run() -> i32 {
    // A map that no program mentions is not kept; this one is for user space.
    let _ = GRACE.get(0);
    let mut sweep = Sweep {
        // SAFETY: the helper has no preconditions.
        now_ns: unsafe { bpf_ktime_get_boot_ns() },
        ring_is_full: 0,
    };
    let visit: extern "C" fn(*mut c_void, *const ConnectionKey, *mut Connection, *mut Sweep) -> i64 = visit;
    // SAFETY: the map is a hash; the callback has the signature that the helper asks for, and its context outlives the
    // call.
    unsafe {
        bpf_for_each_map_elem(
            (&raw const CONNECTIONS).cast_mut().cast(),
            visit as *mut c_void,
            (&raw mut sweep).cast(),
            0,
        );
    }
    if sweep.ring_is_full == 0 { DONE } else { RING_FULL }
}

extern "C" fn visit(
    _map: *mut c_void,
    key: *const ConnectionKey,
    connection: *mut Connection,
    sweep: *mut Sweep,
) -> i64 {
    // SAFETY: the helper hands over the entry's key and value, and the context that it was given.
    unsafe {
        let key = *key;
        if serve(&key, connection, &*sweep) {
            GO_ON
        } else {
            (*sweep).ring_is_full = 1;
            STOP
        }
    }
}

/// Serves one entry; false where the ring had no room.
///
/// # Safety
///
/// `connection` must be the value of an entry whose key is `key`.
#[inline(always)]
unsafe fn serve(key: &ConnectionKey, connection: *mut Connection, sweep: &Sweep) -> bool {
    // SAFETY: the caller's. Other CPUs may be writing; each word is read whole.
    unsafe {
        let seen = (&raw const (*connection).bits).read_volatile();
        if seen & bits::REOPENING != 0 {
            return true;
        }
        if !record::offer_owed(key, connection, bits::OWES_OPEN, EventKind::Open)
            || !record::offer_owed(key, connection, bits::OWES_CHANGE, EventKind::Change)
        {
            return false;
        }
        let Some(settings) = SETTINGS.get(0) else { return true };
        let last_ns = (*connection).last_ns;
        // A packet on another CPU can be later than this sweep's clock.
        let idle_ns = sweep.now_ns.saturating_sub(last_ns);
        // Whoever was heard alone has no established connection, whatever was guessed of who opened it.
        let has_both = (*connection).packets_out != 0 && (*connection).packets_in != 0;
        let state = if has_both { seen } else { seen & !bits::REPLIED };
        let is_stream = last_ns.saturating_sub((*connection).opened_ns) > UDP_STREAM_AFTER_NS;
        let is_over =
            idle_ns >= timeout(&settings.timeouts, key.protocol, state, is_stream) || !has_endpoint(key.interface);
        if seen & bits::DEFERRED != 0 {
            return !is_over || forget(key, connection, seen);
        }
        if seen & bits::CLOSED != 0 {
            if is_over {
                delete(key, connection);
            }
            return true;
        }
        if is_over || (has_ended(seen) && idle_ns >= settings.close_after) {
            return close(key, connection, last_ns);
        }
        if sweep.now_ns.saturating_sub((*connection).reported_ns) >= settings.progress {
            if !record::offer(key, connection, EventKind::Progress, sweep.now_ns) {
                return false;
            }
            count(Counter::RecordsOwed);
            (*connection).reported_ns = sweep.now_ns;
        }
        true
    }
}

/// Whether an interface belongs to an endpoint of the generation in force. It is asked of one entry at a time: a whole sweep
/// would be a reader for so long that a change of policy had to wait for it.
#[inline(always)]
fn has_endpoint(interface: u32) -> bool {
    let has_endpoint = !readers::begin() || tables::has_endpoint(snapshot().generation, interface);
    readers::end();
    has_endpoint
}

/// How long the connection may be idle in its present state.
#[inline(always)]
fn timeout(timeouts: &ConnectionTimeouts, protocol: u8, seen: u64, is_stream: bool) -> u64 {
    match protocol {
        TCP if seen & bits::RESET != 0 => timeouts.tcp_close,
        TCP if has_ended(seen) => timeouts.tcp_time_wait,
        TCP if seen & (bits::FIN_IN | bits::FIN_OUT) != 0 => timeouts.tcp_fin,
        TCP if seen & bits::REPLIED != 0 => timeouts.tcp_established,
        TCP => timeouts.tcp_syn,
        UDP if seen & bits::REPLIED != 0 && is_stream => timeouts.udp_stream,
        UDP => timeouts.udp,
        ICMP | ICMPV6 => timeouts.icmp,
        _ => timeouts.generic,
    }
}

/// Makes the close record; false where the ring had no room.
///
/// # Safety
///
/// As for [`serve`].
#[inline(always)]
unsafe fn close(key: &ConnectionKey, connection: *mut Connection, last_ns: u64) -> bool {
    if !record::claim_close(connection) {
        return true;
    }
    if !record::offer(key, connection, EventKind::Close, last_ns) {
        // SAFETY: the caller's.
        unsafe { atomic::clear_bits(&raw mut (*connection).bits, bits::CLOSED) };
        return false;
    }
    count(Counter::ConnectionsClosed);
    count(Counter::RecordsOwed);
    true
}

/// Ends a deferred connection that was never opened. Where its denial was not counted it has a record of its own; false
/// where the ring had no room for that.
///
/// # Safety
///
/// As for [`serve`].
#[inline(always)]
unsafe fn forget(key: &ConnectionKey, connection: *mut Connection, seen: u64) -> bool {
    // SAFETY: the caller's. A packet that opens it now takes the bit away first, and is the one who tells of it.
    unsafe {
        let word = &raw mut (*connection).bits;
        if services::is_unresolved(seen) {
            if atomic::set_bits(word, bits::REFUSED) & (bits::DEFERRED | bits::REFUSED) != bits::DEFERRED {
                return true;
            }
            if !record::offer(key, connection, EventKind::Deny, (*connection).opened_ns) {
                atomic::clear_bits(word, bits::REFUSED);
                return false;
            }
            count(Counter::RecordsOwed);
        }
        delete(key, connection);
    }
    count(Counter::DeferredForgotten);
    true
}

/// Deletes an entry, unless a packet is just opening it anew.
///
/// # Safety
///
/// As for [`serve`].
#[inline(always)]
unsafe fn delete(key: &ConnectionKey, connection: *mut Connection) {
    // SAFETY: the caller's.
    unsafe {
        let word = &raw mut (*connection).bits;
        let before = atomic::set_bits(word, bits::DELETING);
        // Opened anew, or opened at last, since it was looked at.
        if before & bits::REOPENING != 0 || before & (bits::CLOSED | bits::DEFERRED) == 0 {
            atomic::clear_bits(word, bits::DELETING);
            return;
        }
    }
    if CONNECTIONS.remove(key).is_ok() {
        count(Counter::ConnectionsDeleted);
    }
}
