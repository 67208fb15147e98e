//! A demo that cannot fail proves nothing: each thing that can be wrong is found.

use std::net::SocketAddr;

use podwitness_lab::{Attempt, Outcome};

use super::{Probe, faults};
use crate::demo::errands::Errand;
use crate::demo::script::script;
use crate::evidence::{PolicyRule, Record, Side};

fn errand(about: &str) -> Errand {
    script().into_iter().find(|errand| errand.about.contains(about)).unwrap()
}

fn probe(errand: &Errand, outcome: Outcome) -> Probe<'_> {
    let local: SocketAddr = "10.0.0.1:40000".parse().unwrap();
    let remote = SocketAddr::new("10.0.0.2".parse().unwrap(), errand.port);
    Probe { errand, attempt: Attempt { local, remote, outcome } }
}

/// The record that says what `decision` of the errand says, as it should.
fn record(probe: &Probe<'_>, decision: usize) -> Record {
    let decision = &probe.errand.over_v4.decisions[decision];
    let deny = decision.verdict == "deny";
    let policies = decision.policies.iter().map(|text| {
        let (namespace, rest) = text.split_once('/').unwrap();
        let (name, rule) = rest.split_once('[').map_or((rest, None), |(name, rule)| (name, Some(rule)));
        let rule = rule.map(|rule| rule.trim_end_matches(']').parse().unwrap());
        PolicyRule { namespace: namespace.to_owned(), name: name.to_owned(), rule }
    });
    let side = |address: SocketAddr, port| Side { ip: Some(address.ip()), port, ..Side::default() };
    let attempt = probe.attempt;
    Record {
        time: 0,
        namespace: "shop".to_owned(),
        seq: 1,
        event: if deny { "deny" } else { "open" }.to_owned(),
        verdict: Some(decision.verdict.clone()),
        direction: Some(decision.direction.clone()),
        reason: Some(decision.reason.clone()),
        count: 1,
        protocol: Some(probe.errand.protocol.name().to_owned()),
        src: side(attempt.local, (!deny).then_some(attempt.local.port())),
        dst: side(attempt.remote, Some(attempt.remote.port())),
        policies: policies.rev().collect(),
    }
}

#[test]
fn what_is_as_expected_has_no_fault() {
    for errand in script() {
        let expected = &errand.over_v4;
        let probe = probe(&errand, if expected.answered { Outcome::Answered } else { Outcome::TimedOut });
        let records: Vec<Record> = (0..expected.decisions.len()).map(|decision| record(&probe, decision)).collect();
        assert_eq!(faults(&[probe], &records), Vec::<String>::new());
    }
}

#[test]
fn what_got_through_and_should_not_have_is_a_fault() {
    let errand = errand("goes around");
    let probe = probe(&errand, Outcome::Answered);
    let records = [record(&probe, 0)];
    assert_eq!(
        faults(&[probe], &records),
        ["shop/frontend -> shop/db 5432/TCP over IPv4: the policies say TimedOut, and it was Answered"]
    );
}

#[test]
fn what_was_stopped_and_should_not_have_been_is_a_fault() {
    let errand = errand("asks the database");
    let probe = probe(&errand, Outcome::TimedOut);
    let records = [record(&probe, 0), record(&probe, 1)];
    assert_eq!(faults(&[probe], &records).len(), 1);
}

#[test]
fn a_record_that_is_missing_is_a_fault() {
    let errand = errand("asks the database");
    let probe = probe(&errand, Outcome::Answered);
    let records = [record(&probe, 0)];
    let faults = faults(&[probe], &records);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("should say egress allow (rule) by [shop/api-to-db[0]] and ingress"), "{faults:?}");
}

#[test]
fn a_record_that_is_there_twice_is_a_fault() {
    let errand = errand("visits the shop");
    let probe = probe(&errand, Outcome::Answered);
    let records = [record(&probe, 0), record(&probe, 0)];
    assert_eq!(faults(&[probe], &records).len(), 1);
}

#[test]
fn a_record_that_names_another_rule_is_a_fault() {
    let errand = errand("within the range");
    let probe = probe(&errand, Outcome::Answered);
    let mut records = [record(&probe, 0), record(&probe, 1)];
    records[1].policies[0].rule = Some(0);
    assert_eq!(faults(&[probe], &records).len(), 1);
}

#[test]
fn a_record_of_traffic_that_nobody_sent_is_a_fault() {
    let errand = errand("visits the shop");
    let probe = probe(&errand, Outcome::Answered);
    let mut stray = record(&probe, 0);
    stray.src.port = Some(40_001);
    let records = [record(&probe, 0), stray];
    let faults = faults(&[probe], &records);
    assert!(faults.len() == 1 && faults[0].contains("was not sent"), "{faults:?}");
}

#[test]
fn a_miscount_and_a_loss_are_faults() {
    let errand = errand("goes around");
    let probe = probe(&errand, Outcome::TimedOut);
    let mut twice = record(&probe, 0);
    twice.count = 2;
    let mut loss = record(&probe, 0);
    "loss".clone_into(&mut loss.event);
    let faults = faults(&[probe], &[twice, loss]);
    assert!(faults[0].contains("counts 2") && faults[1].contains("1 records were lost"), "{faults:?}");
}
