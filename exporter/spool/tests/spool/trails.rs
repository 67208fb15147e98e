//! What namespaces ask for the evidence about them.

use std::fs;
use std::sync::Arc;

use podwitness_spool::{Definitions, Identity, Reader, Revision, RuleSet, Trail};

use crate::samples::{Dictionary, batches, checkpoint, commit, segments, wide, writer};

/// Knows what [`Dictionary`] knows, and these.
struct WithTrails(Option<Arc<[Trail]>>);

impl WithTrails {
    fn of(namespaces: &[&str]) -> Self {
        Self(Some(namespaces.iter().map(|namespace| trail(namespace)).collect()))
    }
}

impl Definitions for WithTrails {
    fn identity(&self, id: u32) -> Option<Identity> {
        Dictionary.identity(id)
    }

    fn rule_set(&self, id: u32) -> Option<RuleSet> {
        Dictionary.rule_set(id)
    }

    fn revision(&self, number: i64) -> Option<Revision> {
        Dictionary.revision(number)
    }

    fn trails(&self) -> Option<Arc<[Trail]>> {
        self.0.clone()
    }
}

fn trail(namespace: &str) -> Trail {
    Trail { namespace: namespace.to_owned(), retention_seconds: 86_400, legal_hold: true, external_addresses: 2 }
}

fn namespaces(batch: &podwitness_spool::Batch) -> Option<Vec<&str>> {
    Some(batch.definitions.trails()?.iter().map(|trail| trail.namespace.as_str()).collect())
}

#[test]
fn trails_are_told_once_a_segment_and_when_they_change_and_a_removed_one_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    let both = WithTrails::of(&["bank", "shop"]);
    for time in 1..=12 {
        writer.commit(wide(time), &both, &checkpoint(1)).unwrap();
    }
    assert!(segments(dir.path()).len() > 2);
    for path in segments(dir.path()) {
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes.windows(4).filter(|window| window == b"bank").count(), 1);
    }
    writer.commit(Vec::new(), &WithTrails::of(&["shop"]), &checkpoint(2)).unwrap();
    writer.commit(wide(13), &WithTrails::of(&[]), &checkpoint(3)).unwrap();

    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let (before, after) = read.split_at(12);
    for batch in before {
        assert_eq!(namespaces(batch).unwrap(), ["bank", "shop"]);
        assert_eq!(batch.definitions.trail("shop"), Some(&trail("shop")));
        assert_eq!(batch.definitions.trail("lab"), None);
    }
    assert_eq!(after.iter().map(|batch| namespaces(batch).unwrap()).collect::<Vec<_>>(), [vec!["shop"], vec![]]);
}

#[test]
fn a_reader_in_the_middle_of_a_segment_knows_the_trails_told_before() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    writer.commit(wide(1), &WithTrails::of(&["shop"]), &checkpoint(1)).unwrap();
    writer.commit(wide(2), &WithTrails::of(&["shop"]), &checkpoint(2)).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    let end = reader.next().unwrap().unwrap().end;
    reader.done(end).unwrap();
    drop(reader);
    let rest = batches(&mut Reader::open(dir.path()).unwrap());
    assert_eq!(rest.iter().map(namespaces).collect::<Vec<_>>(), [Some(vec!["shop"])]);
}

#[test]
fn a_writer_that_knows_no_trails_tells_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit(&mut writer, 1, wide(1));
    writer.commit(wide(2), &WithTrails(None), &checkpoint(2)).unwrap();
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    assert_eq!(read.iter().map(namespaces).collect::<Vec<_>>(), [None, None]);
}
