//! The way of one packet through the hook.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, programs::TcContext};
use podwitness_packet::{
    Bytes, ETHERNET_BYTES, Fault, Fragment, Frame, LinkMessage, Packet, is_link_local, link_message, read_frame,
    read_quoted,
};
use podwitness_wire::{ConnectionKey, Counter, Direction, Reason, Verdict, address_flags, endpoint_flags};

use crate::{
    connections,
    count::count,
    decide::{self, Decision},
    denials::deny,
    failure,
    flow::{DROP, Flow, Outcome, PASS, Snapshot},
    fragments,
    maps::STATE,
    readers,
    room::{OWN, case, room},
    tables,
};

/// Leaves the packet to the next program of the interface, and to the stack if there is none: `TCX_NEXT`, which is also
/// `TC_ACT_UNSPEC`.
const TCX_NEXT: i32 = -1;
/// Drops the packet: `TCX_DROP`, which is also `TC_ACT_SHOT`.
const TCX_DROP: i32 = 2;

/// The frame of a packet at the hook. The helper reads it wherever it lies, in the linear part or behind.
struct SkbBytes<'a>(&'a TcContext);

impl Bytes for SkbBytes<'_> {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.0.len()
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.0.load(offset as usize).ok()
    }
}

/// Decides on one packet that goes in `direction`.
#[inline(always)]
pub(crate) fn run(context: &TcContext, direction: Direction) -> i32 {
    count(match direction {
        Direction::Egress => Counter::PacketsOut,
        Direction::Ingress => Counter::PacketsIn,
    });
    let outcome = if readers::begin() { handle(context, direction) } else { Outcome::Drop };
    readers::end();
    match outcome {
        Outcome::Pass => TCX_NEXT,
        Outcome::Drop => {
            count(Counter::PacketsDropped);
            TCX_DROP
        }
    }
}

#[inline(always)]
fn handle(context: &TcContext, direction: Direction) -> Outcome {
    let Some(room) = room() else { return Outcome::Drop };
    // SAFETY: the room is this CPU's own, and no borrow of these parts of it outlives its statement.
    let (flow, packet, message) =
        unsafe { (&raw mut (*room).own.flow, &raw mut (*room).packet, &raw mut (*room).link_message) };
    // SAFETY: as above.
    unsafe {
        begin(&mut *flow, context, direction);
        match read(context, &mut *packet, &mut *message) {
            Read::Packet => {}
            Read::Arp => return link(flow, &*message),
            Read::Malformed => return undecidable(Reason::Malformed),
            Read::NotIp => return undecidable(Reason::NotIp),
        }
        (*flow).bytes = u64::from(context.len().saturating_sub((*packet).network_offset));
        if is_link_message(context, &*packet, direction, &mut *message) {
            fill(&mut *flow, &*packet);
            let peer = tables::address(&(*flow).snapshot, &(*flow).key.peer);
            // Between addresses of global scope a router would forward it, and its receiver alone looks at the hop limit.
            if (*message).stays_on_link || peer.interface != 0 || peer.flags & address_flags::LOCAL_NODE != 0 {
                return link(flow, &*message);
            }
        }
        let has_ports = fragments::complete(&mut *packet, (*flow).key.interface);
        fill(&mut *flow, &*packet);
        if !has_ports {
            return undecidable(Reason::FragmentWithoutFirst);
        }
    }
    if let Some(outcome) = connections::known() {
        return outcome;
    }
    if quotes_known_connection(context) {
        count(Counter::Related);
        return Outcome::Pass;
    }
    for _ in 0..connections::TRIES {
        if let Some(outcome) = connections::first() {
            return outcome;
        }
        if let Some(outcome) = connections::known() {
            return outcome;
        }
    }
    connections::no_room()
}

/// A message of the link: a pod needs it to live, and may not claim another's address by it.
///
/// # Safety
///
/// `flow` must be that of this CPU's own case, and not be borrowed.
#[inline(always)]
unsafe fn link(flow: *mut Flow, message: &LinkMessage) -> Outcome {
    // SAFETY: the caller's.
    unsafe {
        if (*flow).direction == Direction::Egress
            && let Some(claimed) = message.claims
            && !is_link_local(&claimed)
            && decide::endpoint(&*flow).is_some_and(|endpoint| endpoint.flags & endpoint_flags::KNOWN != 0)
            && !tables::is_own_address(&(*flow).snapshot, (*flow).key.interface, &claimed)
        {
            (*flow).key.pod = claimed;
            return undecidable(Reason::Spoofed);
        }
    }
    count(Counter::Neighbour);
    Outcome::Pass
}

/// What [`read`] found.
enum Read {
    Packet,
    Arp,
    Malformed,
    NotIp,
}

/// Reads the frame's packet. Not inlined: it has a stack of its own.
#[inline(never)]
fn read(context: &TcContext, packet: &mut Packet, message: &mut LinkMessage) -> Read {
    match read_frame(&SkbBytes(context), packet) {
        Ok(Frame::Arp(arp)) => {
            *message = arp.link_message();
            Read::Arp
        }
        Ok(Frame::Ip) => Read::Packet,
        Err(Fault::Malformed) => Read::Malformed,
        Err(Fault::NotIp) => Read::NotIp,
    }
}

/// Reads what the packet is on the pod's link, if it is a message of it. Not inlined: it has a stack of its own.
#[inline(never)]
fn is_link_message(context: &TcContext, packet: &Packet, direction: Direction, message: &mut LinkMessage) -> bool {
    let read = link_message(&SkbBytes(context), packet, direction == Direction::Egress);
    if let Some(read) = read {
        *message = read;
    }
    read.is_some()
}

/// Begins a packet's flow with all but what stands in its headers.
#[inline(always)]
fn begin(flow: &mut Flow, context: &TcContext, direction: Direction) {
    let skb = context.skb.skb;
    flow.snapshot = snapshot();
    // SAFETY: the helper has no preconditions.
    flow.now_ns = unsafe { bpf_ktime_get_boot_ns() };
    flow.bytes = u64::from(context.len().saturating_sub(ETHERNET_BYTES));
    // SAFETY: the kernel hands the program a valid context; these fields are readable by classifiers.
    let (interface, segments) = unsafe { ((*skb).ifindex, (*skb).gso_segs) };
    flow.packets = u64::from(segments.max(1));
    flow.key = ConnectionKey { interface, ..ConnectionKey::default() };
    flow.service = 0;
    flow.backend = [0; 16];
    flow.backend_port = 0;
    flow.sequence = 0;
    flow.direction = direction;
    flow.is_later_fragment = false;
    flow.tcp_flags = 0;
    flow.icmp_type = 0;
    flow.icmp_code = 0;
}

/// What user space says now. Who reads tables by it asks between [`readers::begin`] and [`readers::end`].
#[inline(always)]
pub(crate) fn snapshot() -> Snapshot {
    let Some(state) = STATE.get_ptr(0) else {
        return Snapshot { generation: 0, epoch: 0, flags: 0 };
    };
    // SAFETY: the element exists as long as the map; user space stores each word whole.
    unsafe {
        Snapshot {
            generation: (&raw const (*state).generation).read_volatile(),
            epoch: (&raw const (*state).epoch).read_volatile() as u32,
            flags: (&raw const (*state).flags).read_volatile(),
        }
    }
}

#[inline(always)]
fn fill(flow: &mut Flow, packet: &Packet) {
    orient(&mut flow.key, packet, flow.direction);
    flow.sequence = packet.sequence;
    flow.tcp_flags = packet.tcp_flags;
    flow.icmp_type = packet.icmp_type;
    flow.icmp_code = packet.icmp_code;
    flow.is_later_fragment = matches!(packet.fragment, Fragment::Later(_));
}

/// Names the connection of a packet that goes in `direction`, from the endpoint's side.
#[inline(always)]
fn orient(key: &mut ConnectionKey, packet: &Packet, direction: Direction) {
    key.protocol = packet.protocol;
    match direction {
        Direction::Egress => {
            key.pod = packet.source;
            key.pod_port = packet.source_port;
            key.peer = packet.destination;
            key.peer_port = packet.destination_port;
        }
        Direction::Ingress => {
            key.pod = packet.destination;
            key.pod_port = packet.destination_port;
            key.peer = packet.source;
            key.peer_port = packet.source_port;
        }
    }
}

/// A packet that cannot be decided by policy.
#[inline(always)]
fn undecidable(reason: Reason) -> Outcome {
    Outcome::of(pw_undecidable(u32::from(reason.number())))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_undecidable(reason: u32) -> i32 {
    let Some(case) = case(OWN) else { return DROP };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement.
    unsafe {
        let flow = &raw const (*case).flow;
        let endpoint = decide::endpoint(&*flow);
        let reason = match Reason::from_number(reason as u8) {
            Some(reason) if (*flow).snapshot.generation != 0 => reason,
            _ => Reason::NoTables,
        };
        let verdict = failure::verdict(&*flow, endpoint.as_ref(), reason);
        if verdict == Verdict::Allow {
            count(Counter::NotIsolatedUnparsed);
            return PASS;
        }
        let endpoint = endpoint.map_or(0, |endpoint| endpoint.identity);
        (*case).decision = Decision { endpoint, verdict, reason, ..Decision::NONE };
        deny(OWN, (*flow).direction);
        if (*case).decision.drops() { DROP } else { PASS }
    }
}

/// Reads the packet that an ICMP error quotes. Not inlined: it has a stack of its own.
#[inline(never)]
fn quotes(context: &TcContext, packet: &Packet, quoted: &mut Packet) -> bool {
    read_quoted(&SkbBytes(context), packet, quoted)
}

/// Whether the packet is an ICMP error about a packet of a recorded connection that the policy in force allows. The
/// quoted packet went the other way: what enters the pod quotes what left it.
#[inline(never)]
fn quotes_known_connection(context: &TcContext) -> bool {
    let Some(room) = room() else { return false };
    // SAFETY: the room is this CPU's own, and no borrow of it outlives its statement.
    unsafe {
        if !quotes(context, &(*room).packet, &mut (*room).quoted) {
            return false;
        }
        let flow = &raw const (*room).own.flow;
        let other = &raw mut (*room).other.flow;
        *other = *flow;
        let direction = match (*flow).direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        };
        (*other).direction = direction;
        orient(&mut (*other).key, &(*room).quoted, direction);
        // What leaves the pod must be from the address to which the quoted packet came.
        (*other).key.pod == (*flow).key.pod && connections::pw_is_passing() == PASS
    }
}
