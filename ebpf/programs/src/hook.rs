//! The way of one packet through the hook.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, programs::TcContext};
use podwitness_packet::{
    Bytes, ETHERNET_BYTES, Fault, Frame, Packet, is_neighbour_discovery, read_frame, read_quoted, stays_on_link,
};
use podwitness_wire::{ConnectionKey, Counter, Direction, Reason, Verdict, bits};

use crate::{
    connections,
    count::count,
    decide::{self, Decision},
    denials, failure,
    flow::{Flow, Outcome, Snapshot},
    fragments,
    maps::{CONNECTIONS, STATE, scratch},
};

/// Leaves the packet to the next program of the interface, and to the stack if there is none: `TCX_NEXT`, which is also
/// `TC_ACT_UNSPEC`.
const NEXT: i32 = -1;
/// Drops the packet: `TCX_DROP`, which is also `TC_ACT_SHOT`.
const DROP: i32 = 2;

/// The frame of a packet at the hook. The helper reads it wherever it lies, in the linear part or behind.
struct SkbBytes<'a>(&'a TcContext);

impl Bytes for SkbBytes<'_> {
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
    match handle(context, direction) {
        Outcome::Pass => NEXT,
        Outcome::Drop => {
            count(Counter::PacketsDropped);
            DROP
        }
    }
}

#[inline(always)]
fn handle(context: &TcContext, direction: Direction) -> Outcome {
    let Some(room) = scratch() else { return Outcome::Drop };
    // SAFETY: the room is this CPU's own, and nothing else of this program refers to these two parts of it.
    let (flow, packet) = unsafe { (&mut (*room).flow, &mut (*room).packet) };
    *flow = new_flow(context, direction);
    match read(context, packet) {
        Read::Packet => {}
        Read::Arp => return neighbour(),
        Read::Neighbour => {
            fill(flow, packet);
            if stays_on_link(packet) || decide::peer(flow).is_some_and(|peer| peer.identity != 0 || peer.flags != 0) {
                return neighbour();
            }
        }
        Read::Malformed => return undecidable(flow, Reason::Malformed),
        Read::NotIp => return undecidable(flow, Reason::NotIp),
    }
    let has_ports = fragments::complete(packet, flow.key.interface);
    fill(flow, packet);
    if !has_ports {
        return undecidable(flow, Reason::FragmentWithoutFirst);
    }
    if let Some(outcome) = connections::known(flow) {
        return outcome;
    }
    if quotes_known_connection(context, flow, packet) {
        count(Counter::Related);
        return Outcome::Pass;
    }
    connections::first(flow)
}

/// A pod needs it to live on its link.
#[inline(always)]
fn neighbour() -> Outcome {
    count(Counter::Neighbour);
    Outcome::Pass
}

/// What [`read`] found.
enum Read {
    Packet,
    Arp,
    Neighbour,
    Malformed,
    NotIp,
}

/// Reads the frame's packet. Not inlined: it has a stack of its own.
#[inline(never)]
fn read(context: &TcContext, packet: &mut Packet) -> Read {
    match read_frame(&SkbBytes(context)) {
        Ok(Frame::Arp) => Read::Arp,
        Ok(Frame::Ip(read)) => {
            *packet = read;
            if is_neighbour_discovery(&read) { Read::Neighbour } else { Read::Packet }
        }
        Err(Fault::Malformed) => Read::Malformed,
        Err(Fault::NotIp) => Read::NotIp,
    }
}

#[inline(always)]
fn new_flow(context: &TcContext, direction: Direction) -> Flow {
    let skb = context.skb.skb;
    // SAFETY: the kernel hands the program a valid context; these fields are readable by classifiers.
    let (interface, segments) = unsafe { ((*skb).ifindex, (*skb).gso_segs) };
    Flow {
        snapshot: snapshot(),
        // SAFETY: the helper has no preconditions.
        now_ns: unsafe { bpf_ktime_get_boot_ns() },
        bytes: u64::from(context.len().saturating_sub(ETHERNET_BYTES)),
        packets: u64::from(segments.max(1)),
        key: ConnectionKey { interface, ..ConnectionKey::default() },
        sequence: 0,
        direction,
        tcp_flags: 0,
        icmp_type: 0,
        icmp_code: 0,
    }
}

/// What user space says now.
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
#[inline(never)]
fn undecidable(flow: &Flow, reason: Reason) -> Outcome {
    let endpoint = decide::endpoint(flow);
    let reason = if flow.snapshot.generation == 0 { Reason::NoTables } else { reason };
    let verdict = failure::verdict(flow, endpoint.as_ref(), reason);
    if verdict == Verdict::Allow {
        count(Counter::NotIsolatedUnparsed);
        return Outcome::Pass;
    }
    let decision = Decision {
        endpoint: endpoint.map_or(0, |endpoint| endpoint.identity),
        peer: 0,
        peer_flags: 0,
        rule_set: 0,
        verdict,
        reason,
    };
    denials::deny(flow, &decision);
    if denials::drops(verdict) { Outcome::Drop } else { Outcome::Pass }
}

/// Whether the packet is an ICMP error about a packet of a recorded connection. The quoted packet went the other way:
/// what enters the pod quotes what left it.
#[inline(never)]
fn quotes_known_connection(context: &TcContext, flow: &Flow, packet: &Packet) -> bool {
    let Some(quoted) = read_quoted(&SkbBytes(context), packet) else {
        return false;
    };
    let mut key = ConnectionKey { interface: flow.key.interface, ..ConnectionKey::default() };
    let quoted_direction = match flow.direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    };
    orient(&mut key, &quoted, quoted_direction);
    if key.pod != flow.key.pod {
        // What leaves the pod must be from the address to which the quoted packet came.
        return false;
    }
    match CONNECTIONS.get_ptr(key) {
        // SAFETY: the value's memory lives as long as the map; each field is read whole.
        Some(connection) => unsafe {
            (*connection).bits & bits::DELETING == 0 && (*connection).verdict != Verdict::Deny.number()
        },
        None => false,
    }
}
