//! Evidence that is wrong makes the proof fail, whichever part of it is.

use std::net::SocketAddr;

use podwitness_lab::{Attempt, Outcome};

use super::{CLIENT, SERVER, TRIALS, Trial, judge};
use crate::doctor::check::State;
use crate::evidence::{PolicyRule, Record, Side};

fn record(
    trial: &Trial,
    direction: &str,
    event: &str,
    verdict: &str,
    reason: &str,
    policies: &[Option<i32>],
) -> Record {
    let side = |ip, port| Side { ip: Some(ip), port, ..Side::default() };
    Record {
        time: 1_750_000_000_000_000,
        namespace: "doctor".to_owned(),
        seq: 1,
        event: event.to_owned(),
        verdict: Some(verdict.to_owned()),
        direction: Some(direction.to_owned()),
        reason: Some(reason.to_owned()),
        count: 1,
        protocol: Some("TCP".to_owned()),
        src: side(CLIENT, (event != "deny").then_some(40_000)),
        dst: side(SERVER, Some(trial.port)),
        policies: policies
            .iter()
            .map(|rule| PolicyRule { namespace: "doctor".to_owned(), name: "allow-one-port".to_owned(), rule: *rule })
            .collect(),
    }
}

/// The trial with the evidence that it should have.
fn good(trial: &Trial) -> (Attempt, Vec<Record>) {
    let at_server = match trial.outcome {
        Outcome::Answered => record(trial, "ingress", "open", "allow", "rule", &[Some(0)]),
        _ => record(trial, "ingress", "deny", "deny", "no-rule", &[None]),
    };
    let attempt = Attempt {
        local: SocketAddr::new(CLIENT, 40_000),
        remote: SocketAddr::new(SERVER, trial.port),
        outcome: trial.outcome,
    };
    (attempt, vec![record(trial, "egress", "open", "allow", "not-isolated", &[]), at_server])
}

#[test]
fn what_should_be_is_ok_and_shows_its_records() {
    for trial in &TRIALS {
        let (attempt, records) = good(trial);
        let check = judge(trial, &attempt, &records);
        assert_eq!((check.name, check.state), (trial.name, State::Ok), "{check:?}");
        assert!(check.found.contains("2025-06-15T15:06:40.000000Z ingress"), "{check:?}");
        assert!(check.found.ends_with(&format!("by {}", trial.by)), "{check:?}");
    }
}

#[test]
fn a_packet_or_a_record_that_is_not_as_it_should_be_fails() {
    for trial in &TRIALS {
        let (attempt, records) = good(trial);
        for outcome in [Outcome::Answered, Outcome::Refused, Outcome::TimedOut] {
            let is_right = outcome == trial.outcome;
            let state = judge(trial, &Attempt { outcome, ..attempt }, &records).state;
            assert_eq!(state == State::Ok, is_right, "{outcome:?}");
        }
        for (at, change) in [
            (1, (|record| record.verdict = Some("audit".to_owned())) as fn(&mut Record)),
            (1, |record| record.policies.clear()),
            (1, |record| record.count = 2),
            (1, |record| record.reason = None),
            (0, |record| record.verdict = Some("deny".to_owned())),
            (0, |record| record.dst.port = Some(1)),
        ] {
            let mut wrong = records.clone();
            change(&mut wrong[at]);
            assert_eq!(judge(trial, &attempt, &wrong).state, State::Failed, "{wrong:?}");
        }
        let twice = [records.clone(), records[1..].to_vec()].concat();
        assert_eq!(judge(trial, &attempt, &twice).state, State::Failed);
        let none = judge(trial, &attempt, &[]);
        assert!(none.found.contains("the evidence says: nothing"), "{none:?}");
    }
}
