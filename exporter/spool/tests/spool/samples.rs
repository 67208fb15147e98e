//! Small batches and the files that they make.

use std::fs;
use std::path::{Path, PathBuf};

use podwitness_spool::{
    Batch, Checkpoint, Definitions, Identity, Origin, PolicyRule, Reader, Record, Recovered, Revision, RuleSet,
    Verdict, Writer, WriterOptions,
};

/// Segments as small as may be.
pub(crate) const SMALL: WriterOptions = WriterOptions { max_bytes: 1 << 20, segment_bytes: 4 << 10 };
/// Bytes of the frame that follows each batch.
pub(crate) const MARK: u64 = 24;

pub(crate) fn origin(boot: &str) -> Origin {
    Origin {
        cluster: "cluster-a".to_owned(),
        node: "node-a".to_owned(),
        boot: boot.to_owned(),
        agent_version: "0.1.0".to_owned(),
        object_sha256: "0f".repeat(32),
    }
}

pub(crate) fn checkpoint(position: u64) -> Checkpoint {
    Checkpoint { ring: "ring".to_owned(), ring_position: position, drained_epoch: 3, drained_entries: 0, sums: None }
}

/// A record that can be told from others by `time_us`, of about 50 bytes.
pub(crate) fn record(namespace: &str, time_us: i64) -> Record {
    Record::Verdict(Verdict {
        time_us,
        namespace: namespace.to_owned(),
        event: 1,
        verdict: 1,
        count: 1,
        protocol: Some(6),
        src_ip: vec![10, 0, 0, 1],
        dst_ip: vec![10, 0, 0, 2],
        src_identity: 1,
        ..Verdict::default()
    })
}

/// A batch of one record, sized so that a handful fill a small segment.
pub(crate) fn wide(time_us: i64) -> Vec<Record> {
    let Record::Verdict(verdict) = record("shop", time_us) else { unreachable!("it is made so") };
    vec![Record::Verdict(Verdict { src_ip: vec![7; 800], ..verdict })]
}

/// Knows every id but 404.
pub(crate) struct Dictionary;

impl Definitions for Dictionary {
    fn identity(&self, id: u32) -> Option<Identity> {
        let pod = format!("pod-{id}");
        (id != 404).then(|| Identity { id, namespace: "shop".to_owned(), pod, ..Identity::default() })
    }

    fn rule_set(&self, id: u32) -> Option<RuleSet> {
        let policy = PolicyRule { namespace: "shop".to_owned(), name: format!("policy-{id}"), ..PolicyRule::default() };
        (id != 404).then(|| RuleSet { id, policies: vec![policy] })
    }

    fn revision(&self, number: i64) -> Option<Revision> {
        (number != 404).then(|| Revision { number, sha256: "ab".repeat(32) })
    }
}

pub(crate) fn writer(dir: &Path) -> (Writer, Recovered) {
    Writer::open(dir, SMALL, origin("boot-1")).unwrap()
}

/// Commits a batch whose checkpoint says which it is.
pub(crate) fn commit(writer: &mut Writer, position: u64, records: Vec<Record>) {
    let committed = writer.commit(records, &Dictionary, &checkpoint(position)).unwrap();
    assert!(committed.worked_around.is_none(), "{committed:?}");
}

/// Commits wide batches, numbered in `time_us`.
pub(crate) fn commit_wide(writer: &mut Writer, times: std::ops::RangeInclusive<i64>) {
    for time in times {
        commit(writer, u64::try_from(time).unwrap(), wide(time));
    }
}

pub(crate) fn batches(reader: &mut Reader) -> Vec<Batch> {
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

/// The verdict that a record is.
pub(crate) fn verdict(record: &Record) -> &Verdict {
    let Record::Verdict(verdict) = record else { panic!("{record:?} is no verdict") };
    verdict
}

pub(crate) fn verdicts(batches: &[Batch]) -> impl Iterator<Item = &Verdict> {
    batches.iter().flat_map(|batch| &batch.records).map(verdict)
}

pub(crate) fn times(batches: &[Batch]) -> Vec<i64> {
    verdicts(batches).map(|verdict| verdict.time_us).collect()
}

pub(crate) fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join("segments").join(format!("{number:016}.seg"))
}

/// The paths of all segments, in order.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "seg")).collect();
    paths.sort();
    paths
}

pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

pub(crate) fn cut(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Turns over one bit.
pub(crate) fn flip(path: &Path, offset: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(offset).unwrap()] ^= 1;
    fs::write(path, bytes).unwrap();
}
