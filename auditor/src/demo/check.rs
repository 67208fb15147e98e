//! Whether what happened is what was expected, and whether the evidence says so, and nothing else.

use std::collections::HashSet;
use std::net::IpAddr;

use podwitness_lab::{Attempt, Outcome};

use super::errands::{Decision, Errand};
use crate::evidence::Record;

/// One errand as it was run over one family.
#[derive(Clone, Debug)]
pub(super) struct Probe<'errand> {
    pub(super) errand: &'errand Errand,
    pub(super) attempt: Attempt,
}

/// Everything that is not as it should be, a sentence each: outcomes that were not expected, decisions that the evidence
/// lacks or has otherwise, and records of traffic that nobody sent.
pub(super) fn faults(probes: &[Probe<'_>], records: &[Record]) -> Vec<String> {
    let decided: Vec<&Record> = records.iter().filter(|record| is_decision(record)).collect();
    let mut accounted = HashSet::new();
    let mut faults = Vec::new();
    for probe in probes {
        let own: Vec<usize> = (0..decided.len()).filter(|at| belongs(decided[*at], probe)).collect();
        let decisions: Vec<&Record> = own.iter().map(|at| decided[*at]).collect();
        faults.extend(faults_of(probe, &decisions).into_iter().map(|fault| format!("{}: {fault}", name(probe))));
        accounted.extend(own);
    }
    for (at, record) in decided.iter().enumerate() {
        if !accounted.contains(&at) {
            faults.push(format!("the evidence has a record of traffic that was not sent: {record:?}"));
        }
    }
    faults.extend(records.iter().filter(|record| record.event == "loss").map(|record| {
        let reason = record.reason.as_deref().unwrap_or("no reason");
        format!("{} records were lost: {reason}", record.count)
    }));
    faults
}

fn faults_of(probe: &Probe<'_>, found: &[&Record]) -> Vec<String> {
    let mut faults = Vec::new();
    let outcome = probe.attempt.outcome;
    let list = |decisions: &[Decision]| match decisions {
        [] => "nothing".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
    };
    if let Some(multiple) = found.iter().find(|record| record.count != 1) {
        faults.push(format!("it was tried once, and the evidence counts {}", multiple.count));
    }
    let mut decisions: Vec<Decision> = found.iter().map(|record| decision(record)).collect();
    decisions.sort();
    let expected = probe.errand.expected(probe.attempt.remote.ip());
    let wanted = if expected.answered { Outcome::Answered } else { Outcome::TimedOut };
    if outcome != wanted {
        faults.push(format!("the policies say {wanted:?}, and it was {outcome:?}"));
    }
    let mut wanted = expected.decisions.clone();
    wanted.sort();
    if decisions != wanted {
        faults.push(format!("the evidence should say {}, and says {}", list(&wanted), list(&decisions)));
    }
    faults
}

/// Whether the record says what was decided about traffic like that of the demo's probes.
fn is_decision(record: &Record) -> bool {
    ["open", "change", "deny"].contains(&record.event.as_str())
        && record.protocol.as_deref().is_some_and(|protocol| ["TCP", "UDP"].contains(&protocol))
}

fn belongs(record: &Record, probe: &Probe<'_>) -> bool {
    let Attempt { local, remote, .. } = &probe.attempt;
    record.protocol.as_deref() == Some(probe.errand.protocol.name())
        && record.src.ip == Some(local.ip())
        && record.dst.ip == Some(remote.ip())
        && record.dst.port == Some(remote.port())
        // Denied attempts are counted over their source ports.
        && record.src.port.is_none_or(|port| port == local.port())
}

fn decision(record: &Record) -> Decision {
    let mut policies: Vec<String> = record.policies.iter().map(ToString::to_string).collect();
    policies.sort();
    Decision {
        direction: record.direction.clone().unwrap_or_default(),
        verdict: record.verdict.clone().unwrap_or_default(),
        reason: record.reason.clone().unwrap_or_default(),
        policies,
    }
}

fn name(probe: &Probe<'_>) -> String {
    let text = probe.errand.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("{} over {}", words.join(" "), family(probe.attempt.remote.ip()))
}

pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests;
