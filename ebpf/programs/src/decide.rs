//! The decision on a connection: the compiled policy of the generation in force.

use aya_ebpf::btf_maps::lpm_trie::Key;
use podwitness_wire::{
    AddressEntry, Direction, EndpointEntry, OwnAddressKey, PolicyKeyData, Reason, Verdict, address_flags,
    endpoint_flags,
};

use crate::{
    failure,
    flow::{Flow, destination_port},
    maps::{ADDRESSES, ENDPOINTS, OWN_ADDRESSES, POLICY},
};

/// A verdict with what it rests on.
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    pub(crate) endpoint: u32,
    pub(crate) peer: u32,
    pub(crate) peer_flags: u32,
    pub(crate) rule_set: u32,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Reason,
}

/// The endpoint behind the flow's interface, in the generation in force.
#[inline(always)]
pub(crate) fn endpoint(flow: &Flow) -> Option<EndpointEntry> {
    let endpoints = ENDPOINTS.get(flow.snapshot.slot())?;
    // SAFETY: nothing is inserted into or removed from a table that is in force.
    unsafe { endpoints.get(flow.key.interface) }.copied()
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

impl Decision {
    /// What is said where nothing can be: denied.
    const NONE: Self =
        Self { endpoint: 0, peer: 0, peer_flags: 0, rule_set: 0, verdict: Verdict::Deny, reason: Reason::NoTables };
}

/// Decides a connection that goes in `direction`.
#[inline(always)]
pub(crate) fn decide(flow: &Flow, direction: Direction) -> Decision {
    let mut decision = Decision::NONE;
    decide_into(flow, direction, &mut decision);
    decision
}

/// Not inlined: it has a stack of its own, and stands at three places.
#[inline(never)]
fn decide_into(flow: &Flow, direction: Direction, decision: &mut Decision) {
    let peer = peer(flow).unwrap_or_default();
    decision.peer = peer.identity;
    decision.peer_flags = peer.flags;
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
    } else if direction == Direction::Egress && !is_own_address(flow) {
        decision.reason = Reason::Spoofed;
        decision.verdict = failure::denied(&endpoint);
    } else if peer.flags & address_flags::LOCAL_NODE != 0 {
        decision.reason = Reason::Node;
        decision.verdict = Verdict::Allow;
    } else if !is_isolated(&endpoint, direction) {
        decision.reason = Reason::NotIsolated;
        decision.verdict = Verdict::Allow;
    } else {
        let (subject, isolating) = match direction {
            Direction::Ingress => (endpoint.ingress_subject, endpoint.ingress_isolating),
            Direction::Egress => (endpoint.egress_subject, endpoint.egress_isolating),
        };
        match allowing_rules(flow, subject, peer.class, destination_port(&flow.key, direction)) {
            Some(rule_set) => {
                decision.rule_set = rule_set;
                decision.reason = Reason::Rule;
                decision.verdict = Verdict::Allow;
            }
            None => {
                decision.rule_set = isolating;
                decision.reason = Reason::NoRule;
                decision.verdict = failure::denied(&endpoint);
            }
        }
    }
}

/// What the peer's address means.
#[inline(always)]
pub(crate) fn peer(flow: &Flow) -> Option<AddressEntry> {
    let key = Key::new(128, flow.key.peer);
    ADDRESSES.get(flow.snapshot.slot())?.get(&key).copied()
}

#[inline(always)]
fn is_own_address(flow: &Flow) -> bool {
    let key = OwnAddressKey { interface: flow.key.interface, address: flow.key.pod };
    match OWN_ADDRESSES.get(flow.snapshot.slot()) {
        // SAFETY: nothing is inserted into or removed from a table that is in force.
        Some(own) => unsafe { own.get(key) }.is_some(),
        None => false,
    }
}

/// The rules that allow this class of traffic: those for the peer's class and, where these say nothing of the port, those
/// for everybody (class 0).
#[inline(always)]
fn allowing_rules(flow: &Flow, subject: u32, class: u32, port: u16) -> Option<u32> {
    let policy = POLICY.get(flow.snapshot.slot())?;
    let mut key = Key::new(PolicyKeyData::BITS, PolicyKeyData::new(subject, class, flow.key.protocol, port));
    if let Some(entry) = policy.get(&key) {
        return Some(entry.rule_set);
    }
    if class == 0 {
        return None;
    }
    key.data.class = [0; 4];
    policy.get(&key).map(|entry| entry.rule_set)
}
