//! The decision on a connection: the compiled policy of the generation in force.

use podwitness_wire::{
    Direction, EndpointEntry, PolicyEntry, PolicyKeyData, Reason, Verdict, address_flags, endpoint_flags,
    policy_outcome, service_kind,
};

use crate::{
    failure,
    flow::{Flow, direction_of},
    room::{Case, Which, case},
    services::{self, Target, resolution},
    tables,
};

/// A verdict with what it rests on.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Decision {
    pub(crate) endpoint: u32,
    pub(crate) peer: u32,
    pub(crate) peer_flags: u32,
    pub(crate) peer_owner: u32,
    pub(crate) rule_set: u32,
    pub(crate) service: u32,
    pub(crate) resolution: u8,
    /// The hook of the Service's backend decides. The verdict is then what holds until it does.
    pub(crate) is_deferred: bool,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Reason,
}

impl Decision {
    /// What is said where nothing can be: denied.
    pub(crate) const NONE: Self = Self {
        endpoint: 0,
        peer: 0,
        peer_flags: 0,
        peer_owner: 0,
        rule_set: 0,
        service: 0,
        resolution: 0,
        is_deferred: false,
        verdict: Verdict::Deny,
        reason: Reason::NoTables,
    };

    /// Whether the packet is dropped.
    #[inline(always)]
    pub(crate) fn drops(&self) -> bool {
        matches!(self.verdict, Verdict::Deny)
    }
}

/// The endpoint behind the flow's interface, in the generation in force.
#[inline(always)]
pub(crate) fn endpoint(flow: &Flow) -> Option<EndpointEntry> {
    tables::endpoint(&flow.snapshot, flow.key.interface)
}

/// Whether a policy selects the endpoint in this direction.
#[inline(always)]
pub(crate) fn is_isolated(endpoint: &EndpointEntry, direction: Direction) -> bool {
    let flag = match direction {
        Direction::Ingress => endpoint_flags::ISOLATED_INGRESS,
        Direction::Egress => endpoint_flags::ISOLATED_EGRESS,
    };
    endpoint.flags & flag != 0
}

/// Decides the connection of a case, as one that goes in `direction`. The decision is the case's.
#[inline(always)]
pub(crate) fn decide(which: Which, direction: Direction) {
    pw_decide(which, u32::from(direction.number()));
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pw_decide(which: Which, direction: u32) -> i32 {
    let Some(case) = case(which) else { return 0 };
    // SAFETY: the room is this CPU's own; the flow is only read while it is borrowed.
    let Case { flow, decision } = unsafe { &mut *case };
    decide_flow(flow, direction_of(direction), decision);
    0
}

#[inline(always)]
fn decide_flow(flow: &Flow, direction: Direction, decision: &mut Decision) {
    let target = services::target(flow, direction);
    *decision = Decision {
        peer: target.peer.identity,
        peer_flags: target.peer.flags,
        peer_owner: target.peer.owner,
        service: target.service,
        resolution: target.resolution,
        ..Decision::NONE
    };
    if flow.snapshot.generation == 0 {
        decision.verdict = failure::verdict(flow, None, Reason::NoTables);
        return;
    }
    let Some(endpoint) = endpoint(flow) else {
        decision.reason = Reason::UnknownEndpoint;
        decision.verdict = failure::unknown_endpoint(flow.snapshot.flags);
        return;
    };
    decision.endpoint = endpoint.identity;
    if endpoint.flags & endpoint_flags::KNOWN == 0 {
        decision.reason = Reason::UnknownEndpoint;
        decision.verdict = failure::unknown_endpoint(flow.snapshot.flags);
    } else if direction == Direction::Egress
        && !tables::is_own_address(&flow.snapshot, flow.key.interface, &flow.key.pod)
    {
        decision.reason = Reason::Spoofed;
        decision.verdict = failure::denied(&endpoint);
    } else if target.kind == service_kind::NODE || target.peer.flags & address_flags::LOCAL_NODE != 0 {
        decision.reason = Reason::Node;
        decision.verdict = Verdict::Allow;
    } else if !is_isolated(&endpoint, direction) {
        decision.reason = Reason::NotIsolated;
        decision.verdict = Verdict::Allow;
    } else {
        by_policy(flow, direction, &endpoint, &target, decision);
    }
}

/// Decides by the rules of the policies that isolate the endpoint.
#[inline(always)]
fn by_policy(flow: &Flow, direction: Direction, endpoint: &EndpointEntry, target: &Target, decision: &mut Decision) {
    let (subject, isolating) = match direction {
        Direction::Ingress => (endpoint.ingress_subject, endpoint.ingress_isolating),
        Direction::Egress => (endpoint.egress_subject, endpoint.egress_isolating),
    };
    decision.rule_set = isolating;
    decision.reason = Reason::NoRule;
    decision.verdict = failure::denied(endpoint);
    let Some(entry) = policy_entry(flow, subject, target) else { return };
    match entry.outcome {
        policy_outcome::ALLOWED => {
            decision.rule_set = entry.rule_set;
            decision.reason = Reason::Rule;
            decision.verdict = Verdict::Allow;
        }
        policy_outcome::DEFERRED => {
            decision.resolution = resolution::MIXED;
            decision.reason = Reason::ServiceUnresolved;
            decision.is_deferred = true;
        }
        _ => decision.resolution = resolution::MIXED,
    }
}

/// What the policy table says of the target: the entry for its class and, where there is none for the port, that for
/// everybody (class 0). The class of a Service alone has no part in what is said of everybody, whose ports would be
/// taken for the Service's.
#[inline(always)]
fn policy_entry(flow: &Flow, subject: u32, target: &Target) -> Option<PolicyEntry> {
    if target.kind == service_kind::EMPTY {
        return None;
    }
    let key = |class| PolicyKeyData::new(subject, class, flow.key.protocol, target.port);
    let entry = tables::policy(&flow.snapshot, key(target.peer.class));
    if entry.is_some() || target.peer.class == 0 || target.kind == service_kind::OWN {
        return entry;
    }
    tables::policy(&flow.snapshot, key(0))
}
