//! What a seal says follows from what was noted, and the chain from what the store has.

use std::collections::BTreeMap;
use std::time::Duration;

use podwitness_seals::document;
use podwitness_seals::key::{KeyId, PrivateKey};
use podwitness_seals::seal::{Chain, NamespaceRetention, Seal, Sealer};
use podwitness_seals::time::Time;

use super::head::{FoundSeal, Newest, Standing, judge};
use super::state::{Head, Noted, Staged, State};
use super::{Circumstances, Facts, compose};
use crate::staging::{Content, Plan, PlannedFile};

const MINUTE_US: i64 = 60_000_000;

fn file(namespace: &str, seqs: (i64, i64), holes: &[(i64, i64)]) -> PlannedFile {
    let missing: i64 = holes.iter().map(|(first, last)| last - first + 1).sum();
    let time = Time::from_micros(seqs.0 * MINUTE_US).into();
    PlannedFile {
        path: format!("verdicts/{namespace}-{}.parquet", seqs.0),
        staged: "0.parquet".to_owned(),
        bytes: 10,
        sha256: "00".to_owned(),
        locked_until: None,
        content: Content {
            table: "verdicts".to_owned(),
            boot: "boot-1".to_owned(),
            namespace: Some(namespace.to_owned()),
            schema_version: 2,
            rows: u64::try_from(seqs.1 - seqs.0 + 1 - missing).unwrap(),
            first_seq: seqs.0,
            last_seq: seqs.1,
            holes: holes.to_vec(),
            first_time: time,
            last_time: time,
            retain_until: time,
        },
    }
}

fn plan(number: u64, files: Vec<PlannedFile>) -> Plan {
    let rows = files.iter().map(|file| file.content.rows).sum();
    Plan {
        version: 2,
        end: podwitness_spool::Position::new(1, number).into(),
        files,
        facts: Facts { spooled: BTreeMap::from([("verdicts".to_owned(), rows)]), ..Facts::default() },
    }
}

fn at(minute: i64) -> Circumstances {
    Circumstances {
        boot: "boot-1".to_owned(),
        now: Time::from_micros(minute * MINUTE_US),
        interval: Duration::from_secs(60),
        is_last: false,
        sealer: Sealer { version: "1".to_owned(), started: Time::from_micros(0), after_crash: false },
        clock: None,
        key_id: key(1),
        next_key_id: None,
    }
}

fn key(seed: u8) -> KeyId {
    PrivateKey::from_seed(&[seed; 32]).public().id()
}

fn begun() -> State {
    let mut state = State::new("lab", "node-a");
    state.begin(Time::from_micros(0));
    state
}

/// Takes `seal` over as signed and put.
fn put(state: &mut State, seal: &Seal) {
    state.stage(Staged::sign(seal, &PrivateKey::from_seed(&[1; 32]), seal.window.end));
    state.sealed();
}

fn seal(state: &mut State, minute: i64) -> Seal {
    let seal = compose(state, &at(minute));
    put(state, &seal);
    seal
}

#[test]
fn each_object_is_in_one_seal_however_often_its_batch_is_noted() {
    let mut state = begun();
    let batch = plan(1, vec![file("shop", (1, 3), &[]), file("bank", (1, 1), &[])]);
    assert_eq!((state.note(&batch), state.note(&batch)), (Noted::Now, Noted::Before));
    let first = seal(&mut state, 1);
    assert_eq!(state.note(&batch), Noted::Before);
    let second = seal(&mut state, 2);
    let paths: Vec<&str> = first.objects.iter().map(|object| object.path.as_str()).collect();
    assert_eq!(paths, ["verdicts/bank-1.parquet", "verdicts/shop-1.parquet"]);
    assert_eq!(second.objects, []);
    for seal in [&first, &second] {
        let rows = seal.objects.iter().map(|object| object.rows).sum();
        assert_eq!(seal.balance.differences(&BTreeMap::from([("verdicts".to_owned(), rows)])), Vec::<String>::new());
    }
    assert_eq!((first.seal, first.chain, first.previous_sha256.as_ref()), (1, Chain::Begins, None));
    assert_eq!((second.seal, second.chain), (2, Chain::Continues));
    assert_eq!(second.previous_sha256.unwrap(), state_hash(&state, 2, &first));
    assert_eq!(second.window.start, first.window.end);
}

/// The hash of `seal`, which is the one before number `next`.
fn state_hash(state: &State, next: u64, seal: &Seal) -> String {
    assert_eq!(state.head.as_ref().unwrap().seal, next);
    podwitness_seals::sha256(&document::to_bytes(seal))
}

#[test]
fn records_that_were_read_and_are_in_no_file_are_a_difference() {
    let mut state = begun();
    let mut batch = plan(1, vec![file("shop", (1, 3), &[])]);
    *batch.facts.spooled.get_mut("verdicts").unwrap() += 1;
    state.note(&batch);
    let sealed = seal(&mut state, 1);
    assert_eq!(sealed.balance.differences(&BTreeMap::from([("verdicts".to_owned(), 3)])).len(), 1);
}

#[test]
fn what_a_sequence_jumps_over_is_admitted() {
    let mut state = begun();
    state.note(&plan(1, vec![file("shop", (2, 9), &[(4, 5)])]));
    state.note(&plan(2, vec![file("shop", (10, 11), &[]), file("bank", (1, 2), &[])]));
    state.note(&plan(3, vec![file("shop", (14, 14), &[])]));
    let gaps: Vec<(i64, i64)> = seal(&mut state, 1).gaps.iter().map(|gap| (gap.first_seq, gap.last_seq)).collect();
    assert_eq!(gaps, [(1, 1), (4, 5), (12, 13)]);
    assert_eq!(seal(&mut state, 2).gaps, []);
}

#[test]
fn retention_that_is_raised_before_the_seal_extends_what_it_lists_and_lowered_shortens_nothing() {
    let mut state = begun();
    state.note(&plan(1, vec![file("shop", (1, 1), &[]), file("bank", (1, 1), &[])]));
    let asked = |namespace: &str, seconds| NamespaceRetention {
        namespace: namespace.to_owned(),
        seconds,
        hold: false,
        addresses: "full".to_owned(),
    };
    state.retention = vec![asked("bank", 0), asked("shop", 120)];
    let sealed = seal(&mut state, 1);
    let kept: Vec<i64> = sealed.objects.iter().map(|object| object.retain_until.micros() / MINUTE_US).collect();
    assert_eq!(kept, [1, 3]);
}

#[test]
fn a_clock_that_is_set_back_breaks_no_chain() {
    let mut state = begun();
    seal(&mut state, 10);
    let back = seal(&mut state, 3);
    assert_eq!((back.window.start.micros(), back.window.end.micros()), (10 * MINUTE_US, 3 * MINUTE_US));
}

#[test]
fn a_seal_is_locked_as_long_as_what_it_lists_and_an_idle_one_as_other_evidence_of_its_time() {
    let mut state = begun();
    let key = PrivateKey::from_seed(&[1; 32]);
    let at_minute = |minute: i64| Time::from_micros(minute * MINUTE_US);
    let until = |state: &State| {
        let seal = compose(state, &at(1));
        let day = Duration::from_secs(86_400);
        Staged::sign(&seal, &key, seal.window.end.after(state.longest_asked(day))).locked_until
    };
    assert_eq!(until(&state), Some(at_minute(1 + 24 * 60)), "an idle one");
    let mut locked = file("shop", (1, 1), &[]);
    locked.locked_until = Some(at_minute(9000).into());
    state.note(&plan(1, vec![locked]));
    assert_eq!(until(&state), Some(at_minute(9000)));
    let asked = NamespaceRetention {
        namespace: "bank".to_owned(),
        seconds: 864_000,
        hold: false,
        addresses: "full".to_owned(),
    };
    state.retention = vec![asked];
    assert_eq!(until(&state), Some(at_minute(1 + 240 * 60)), "the longest that anybody asks for");
}

#[test]
fn the_namespace_of_unknown_pods_has_one_name() {
    assert_eq!(podwitness_seals::seal::UNKNOWN_NAMESPACE, podwitness_spool::UNKNOWN_NAMESPACE);
}

fn found(seal: &Seal) -> FoundSeal {
    let head = Head::of(seal, &document::to_bytes(seal));
    FoundSeal { path: head.path, number: seal.seal, bytes: document::to_bytes(seal) }
}

#[test]
fn a_chain_is_taken_up_by_its_own_node_alone() {
    let mut state = begun();
    let first = seal(&mut state, 100);
    let newest = Newest::Seals(vec![found(&first)]);
    let lost = State::new("lab", "node-a");
    let judged = |state: &State, newest: &Newest, boot: &str, seed: u8, minute: i64| {
        judge(state, newest, boot, &key(seed), Time::from_micros(minute * MINUTE_US))
    };
    assert_eq!(judged(&state, &newest, "boot-1", 1, 101), Standing::Known);
    assert_eq!(judged(&lost, &Newest::None, "boot-1", 1, 101), Standing::Nothing);
    assert_eq!(judged(&lost, &Newest::Unreadable, "boot-1", 1, 101), Standing::Unreadable);
    assert_eq!(judged(&state, &Newest::Unreadable, "boot-1", 1, 101), Standing::Known);
    assert!(matches!(judged(&state, &Newest::None, "boot-1", 1, 101), Standing::Behind { .. }));
    // Its own key, or its own boot, or nobody there for longer than a seal may take.
    for (boot, seed, minute, other) in [("boot-2", 1, 101, false), ("boot-1", 2, 101, true), ("boot-2", 2, 104, true)] {
        match judged(&lost, &newest, boot, seed, minute) {
            Standing::Resumable { head, has_other_key } => {
                assert_eq!((head.seal, has_other_key), (1, other), "{boot} {seed} {minute}");
            }
            standing => panic!("{standing:?}"),
        }
    }
    assert!(matches!(judged(&lost, &newest, "boot-2", 2, 102), Standing::Foreign { .. }));
    // Another node has gone on with it.
    let mut other = state.clone();
    let second = compose(&other, &Circumstances { boot: "boot-2".to_owned(), ..at(101) });
    put(&mut other, &second);
    let newest = Newest::Seals(vec![found(&second)]);
    assert!(matches!(judged(&state, &newest, "boot-1", 1, 102), Standing::Foreign { .. }));
    assert_eq!(judged(&other, &newest, "boot-2", 1, 102), Standing::Known);
}
