//! From the ports that each rule allows to prefixes, each with the whole set of rules that allow it.

use std::collections::{BTreeMap, BTreeSet};

use super::subjects::LocalRule;
use crate::model::{NamedPort, PortMatch, Ports, Protocol};
use crate::rule_set::{PolicyRule, RuleSet};
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
    pub(super) fn of(ports: &Ports, destination: &BTreeSet<&NamedPort>) -> Self {
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

/// The rule sets by the numbers of their rules, so that equal sets are one in memory.
pub(super) struct RuleSets<'a> {
    rules: &'a [LocalRule<'a>],
    known: BTreeMap<Vec<usize>, RuleSet>,
}

impl<'a> RuleSets<'a> {
    pub(super) fn new(rules: &'a [LocalRule<'a>]) -> Self {
        Self { rules, known: BTreeMap::new() }
    }

    fn get(&mut self, rules: Vec<usize>) -> RuleSet {
        let by_number = self.rules;
        self.known
            .entry(rules)
            .or_insert_with_key(|rules| {
                rules.iter().map(|&rule| PolicyRule::of(by_number[rule].policy, Some(by_number[rule].index))).collect()
            })
            .clone()
    }
}

/// The entries of one subject and class, where `allowed` holds every rule that matches the class, ascending.
///
/// No two entries of a protocol overlap, so the longest prefix is the only one; the entry for every protocol is found where
/// there is none for the packet's own, and therefore what only the rules for all ports allow needs no other entry.
pub(super) fn entries(
    subject: u32,
    class: u32,
    allowed: &[(usize, ResolvedPorts)],
    rule_sets: &mut RuleSets<'_>,
) -> Vec<PortEntry> {
    let every: Vec<usize> =
        allowed.iter().filter(|(_, ports)| *ports == ResolvedPorts::Every).map(|(rule, _)| *rule).collect();
    let mut entries = Vec::new();
    for protocol in Protocol::ALL {
        for (first, last, rules) in constant_intervals(protocol, allowed) {
            if rules == every {
                continue;
            }
            let rule_set = rule_sets.get(rules);
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
        let rule_set = rule_sets.get(every);
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
fn constant_intervals(protocol: Protocol, allowed: &[(usize, ResolvedPorts)]) -> Vec<(u16, u16, Vec<usize>)> {
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
    let mut intervals: Vec<(u16, u16, Vec<usize>)> = Vec::new();
    for (first, last) in cuts.iter().copied().zip(ends) {
        let rules: Vec<usize> =
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
