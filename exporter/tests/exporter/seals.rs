//! What was put is sealed, whatever happens to the exporter, to what it knows and to its key.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use podwitness_schemas::layout;
use podwitness_seals::document;
use podwitness_seals::key::PublicKey;
use podwitness_seals::seal::{Chain, Seal};
use podwitness_spool::words::CoverageEvent;
use podwitness_spool::{Coverage, Record, Writer};

use crate::support::{Bench, Dictionary, TIME, checkpoint, files_below, open, origin, wait_until};

/// A seal with its bytes and its path from the root.
struct Found {
    path: PathBuf,
    bytes: Vec<u8>,
    seal: Seal,
}

/// Every seal of a bench's store, in the chain's order.
fn seals(bench: &Bench) -> Vec<Found> {
    let documents = files_below(&bench.store().join("seals")).into_iter();
    let mut seals: Vec<Found> = documents
        .filter(|path| path.extension().is_some_and(|is| is == "json"))
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            Found { seal: document::from_bytes(&bytes).unwrap(), bytes, path }
        })
        .collect();
    seals.sort_by_key(|found| found.seal.seal);
    seals
}

/// Checks all that holds of every chain, and gives its seals.
pub(crate) fn check(bench: &Bench) -> Vec<Seal> {
    let found = seals(bench);
    let mut listed = Vec::new();
    let mut before: Option<&Found> = None;
    for found in &found {
        let seal = &found.seal;
        let pem = fs::read_to_string(bench.store().join(layout::key_path(&seal.key_id.0))).unwrap();
        let key = PublicKey::from_pem(&pem).unwrap();
        assert_eq!(key.id(), seal.key_id);
        let signature = fs::read(format!("{}{}", found.path.display(), layout::SIGNATURE_SUFFIX)).unwrap();
        assert!(key.verifies(&found.bytes, &signature), "{}", found.path.display());
        if let Some(before) = before {
            assert_eq!(seal.seal, before.seal.seal + 1);
            assert_eq!(seal.previous_sha256.as_deref(), Some(podwitness_seals::sha256(&before.bytes).as_str()));
            assert_eq!(seal.window.start, before.seal.window.end);
            let named = before.seal.next_key_id.as_ref().unwrap_or(&before.seal.key_id);
            assert_eq!(*named, seal.key_id);
        } else {
            assert_eq!((seal.seal, seal.previous_sha256.as_ref()), (1, None));
        }
        let mut rows = std::collections::BTreeMap::<String, u64>::new();
        for object in &seal.objects {
            let bytes = fs::read(bench.store().join(&object.path)).unwrap();
            assert_eq!((podwitness_seals::sha256(&bytes), bytes.len() as u64), (object.sha256.clone(), object.bytes));
            *rows.entry(object.table.clone()).or_default() += object.rows;
            listed.push(bench.store().join(&object.path));
        }
        assert_eq!(seal.balance.differences(&rows), Vec::<String>::new());
        before = Some(found);
    }
    let once: BTreeSet<PathBuf> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "an object is listed twice");
    assert_eq!(once, bench.objects().into_iter().collect(), "every object is listed");
    found.into_iter().map(|found| found.seal).collect()
}

fn agent(event: CoverageEvent) -> Record {
    Record::Coverage(Coverage { time_us: TIME, event: event.number().into(), ..Coverage::default() })
}

fn commit(writer: &mut Writer, records: Vec<Record>, position: u64) {
    writer.commit(records, &Dictionary, &checkpoint(position)).unwrap();
}

#[test]
fn a_chain_goes_on_over_stops_and_kills_and_ends_clean_with_the_agent() {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    commit(&mut writer, vec![agent(CoverageEvent::AgentStarted), open("shop", 1), open("bank", 2)], 1);
    bench.start().stop();
    let first = check(&bench);
    assert!(first.len() >= 2 && first.iter().all(|seal| !seal.last && !seal.sealer.after_crash), "{first:?}");
    assert_eq!(first[0].chain, Chain::Begins);

    commit(&mut writer, vec![open("shop", 3)], 2);
    let exporter = bench.start();
    wait_until("a record is sealed", || {
        (seals(&bench).last()?.seal.balance.rows["verdicts"].sealed == 1).then_some(())
    });
    exporter.kill();
    commit(&mut writer, vec![open("shop", 4), agent(CoverageEvent::AgentStopped)], 3);
    bench.start().stop();
    let all = check(&bench);
    assert!(all.last().unwrap().last && all.last().unwrap().sealer.after_crash);
    assert!(all[1..].iter().all(|seal| seal.chain == Chain::Continues));
    let rows: u64 = all.iter().map(|seal| seal.balance.rows["verdicts"].sealed).sum();
    assert_eq!(rows, 4);
    let policy = all.last().unwrap().policy.as_ref().unwrap();
    assert_eq!((policy.revision, policy.sha256.as_str()), (1, format!("{:064x}", 1).as_str()));

    // Nothing has happened since, and that is said too.
    bench.start().stop();
    let idle = check(&bench);
    assert!(idle.len() > all.len() && idle.last().unwrap().objects.is_empty());
    assert!(!idle.last().unwrap().sealer.after_crash);
}

#[test]
fn a_key_is_followed_by_the_one_that_a_seal_has_named() {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    commit(&mut writer, vec![open("shop", 1)], 1);
    bench.start().stop();
    let old = check(&bench).pop().unwrap().key_id;
    // An empty file asks for a key.
    fs::write(bench.path("key/node.key.next"), "").unwrap();
    bench.start().stop();
    let seals = check(&bench);
    let named: Vec<_> = seals.iter().filter_map(|seal| seal.next_key_id.clone()).collect();
    assert_eq!(named.len(), 1);
    assert_eq!(seals.last().unwrap().key_id, named[0]);
    assert_ne!(named[0], old);
    assert!(!bench.path("key/node.key.next").exists());
}

#[test]
fn a_chain_whose_state_is_lost_goes_on_from_the_store_and_says_so() {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    commit(&mut writer, vec![open("shop", 1)], 1);
    bench.start().stop();
    fs::remove_file(bench.path("spool/exporter/seals.json")).unwrap();
    commit(&mut writer, vec![open("shop", 2)], 2);
    bench.start().stop();
    let seals = check(&bench);
    assert_eq!(seals.iter().filter(|seal| seal.chain == Chain::Resumed).count(), 1);
    assert_eq!(seals.iter().flat_map(|seal| &seal.gaps).count(), 0);
}

#[test]
fn of_two_nodes_with_one_name_the_second_is_refused_and_loses_nothing() {
    let first = Bench::new();
    commit(&mut first.writer(origin()), vec![open("shop", 1)], 1);
    first.start().stop();
    // The newest seal of the first is made to be one of another machine's boot, as the second would find it.
    let second = Bench::with_store_of(&first);
    commit(&mut second.writer(origin()), vec![open("shop", 1)], 1);
    for found in seals(&first) {
        let path = found.path.to_str().unwrap().replace(&found.seal.boot, "0b00-another");
        let text = String::from_utf8(found.bytes).unwrap().replace(&found.seal.boot, "0b00-another");
        fs::write(path, text).unwrap();
        fs::remove_file(found.path).unwrap();
    }
    let exporter = second.start();
    let line = exporter.wait_for("another node is called node-a in cluster lab");
    assert!(line.contains("0b00-another") && line.contains("looking again until it is gone"), "{line}");
    exporter.terminate();
    let mut exporter = exporter;
    assert_eq!(exporter.wait().code(), Some(0));
    assert_eq!(first.objects().len(), 1, "the second has put nothing");
    assert!(podwitness_spool::look(&second.spool()).unwrap().waiting_bytes > 0);
}
