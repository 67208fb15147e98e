//! From the ports that each rule allows to prefixes, each with the whole set of rules that allow it.

use std::collections::{BTreeMap, BTreeSet};

use super::subjects::{RuleId, Rules};
use crate::model::{NamedPort, PortMatch, Ports, Protocol};
use crate::rule_set::RuleSet;
use crate::tables::{PortEntry, PortOutcome};

/// The ports of a rule, with names replaced by what the destination calls so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResolvedPorts {
    Every,
    Spans(BTreeSet<Span>),
}

/// Ports of one protocol from a first to a last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    protocol: Protocol,
    first: u16,
    last: u16,
}

impl ResolvedPorts {
    pub(super) fn of(ports: &Ports, destination: &BTreeSet<NamedPort>) -> Self {
        let Ports::Listed(ports) = ports else {
            return Self::Every;
        };
        let mut spans = BTreeSet::new();
        for port in ports {
            match port {
                PortMatch::Protocol(protocol) => {
                    spans.insert(Span { protocol: *protocol, first: 0, last: u16::MAX });
                }
                PortMatch::Range(protocol, range) => {
                    spans.insert(Span { protocol: *protocol, first: range.first(), last: range.last() });
                }
                PortMatch::Named(protocol, name) => {
                    let resolved = destination.iter().filter(|port| port.protocol == *protocol && port.name == *name);
                    spans.extend(resolved.map(|port| Span {
                        protocol: *protocol,
                        first: port.port.get(),
                        last: port.port.get(),
                    }));
                }
            }
        }
        Self::Spans(spans)
    }
}

/// The rule sets by the numbers of their rules, so that equal sets are one in memory, now and the next time.
#[derive(Default)]
pub(super) struct RuleSets {
    known: BTreeMap<Vec<RuleId>, RuleSet>,
    /// Those of the time before.
    before: BTreeMap<Vec<RuleId>, RuleSet>,
}

impl RuleSets {
    /// Entries are made anew: what is not asked for until the next time is forgotten then.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.known);
    }

    fn get(&mut self, ids: Vec<RuleId>, rules: &Rules) -> RuleSet {
        let Self { known, before } = self;
        let make = |ids: &Vec<RuleId>| {
            before.remove(ids).unwrap_or_else(|| ids.iter().map(|id| rules.get(*id).name()).collect())
        };
        known.entry(ids).or_insert_with_key(make).clone()
    }
}

/// The entries of one subject and class, where `allowed` holds every rule that matches the class, ascending.
///
/// No two entries of a protocol overlap, so the longest prefix is the only one; the entry for every protocol is found where
/// there is none for the packet's own, and therefore what only the rules for all ports allow needs no other entry.
pub(super) fn entries(
    subject: u32,
    class: u32,
    allowed: &[(RuleId, ResolvedPorts)],
    rules: &Rules,
    rule_sets: &mut RuleSets,
) -> Vec<PortEntry> {
    let every: Vec<RuleId> =
        allowed.iter().filter(|(_, ports)| *ports == ResolvedPorts::Every).map(|(rule, _)| *rule).collect();
    let mut entries = Vec::new();
    for protocol in Protocol::ALL {
        for (first, last, ids) in constant_intervals(protocol, allowed) {
            if ids == every {
                continue;
            }
            let rule_set = rule_sets.get(ids, rules);
            entries.extend(prefixes(first, last).into_iter().map(|(port, port_bits)| PortEntry {
                subject,
                class,
                protocol: Some(protocol.number()),
                port,
                port_bits,
                rule_set: rule_set.clone(),
                outcome: PortOutcome::Allowed,
            }));
        }
    }
    if !every.is_empty() {
        let rule_set = rule_sets.get(every, rules);
        entries.push(PortEntry {
            subject,
            class,
            protocol: None,
            port: 0,
            port_bits: 0,
            rule_set,
            outcome: PortOutcome::Allowed,
        });
    }
    entries
}

/// All ports of a protocol cut where the set of rules that allow a port changes, each piece with its set.
fn constant_intervals(protocol: Protocol, allowed: &[(RuleId, ResolvedPorts)]) -> Vec<(u16, u16, Vec<RuleId>)> {
    let mut cuts = BTreeSet::from([0]);
    for (_, ports) in allowed {
        if let ResolvedPorts::Spans(spans) = ports {
            for span in spans.iter().filter(|span| span.protocol == protocol) {
                cuts.insert(span.first);
                cuts.extend(span.last.checked_add(1));
            }
        }
    }
    let allows = |ports: &ResolvedPorts, port: u16| match ports {
        ResolvedPorts::Every => true,
        ResolvedPorts::Spans(spans) => {
            spans.iter().any(|span| span.protocol == protocol && (span.first..=span.last).contains(&port))
        }
    };
    let ends = cuts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    let mut intervals: Vec<(u16, u16, Vec<RuleId>)> = Vec::new();
    for (first, last) in cuts.iter().copied().zip(ends) {
        let rules: Vec<RuleId> =
            allowed.iter().filter(|(_, ports)| allows(ports, first)).map(|(rule, _)| *rule).collect();
        match intervals.last_mut() {
            Some((_, previous_last, previous)) if *previous == rules => *previous_last = last,
            _ => intervals.push((first, last, rules)),
        }
    }
    intervals
}

/// The fewest prefixes, as port and number of leading bits, that hold the ports from `first` to `last` and no others.
fn prefixes(first: u16, last: u16) -> Vec<(u16, u8)> {
    let (mut start, end) = (u32::from(first), u32::from(last) + 1);
    let mut prefixes = Vec::new();
    while start < end {
        let aligned = if start == 0 { 16 } else { start.trailing_zeros() };
        let free_bits = aligned.min((end - start).ilog2());
        let port = u16::try_from(start).expect("the interval ends at 65536");
        prefixes.push((port, u8::try_from(16 - free_bits).expect("at most 16 bits are free")));
        start += 1 << free_bits;
    }
    prefixes
}

#[cfg(test)]
mod tests;
