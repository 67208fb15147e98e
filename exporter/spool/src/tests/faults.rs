//! The disk fails at every call in turn, for one call or several, in every way: what was committed is read once, what
//! was not is never read, whether the program is killed or the power goes.

use std::fs;
use std::path::Path;

use super::faulty_disk::{Fault, FaultyDisk};
use crate::message::{Checkpoint, Identity, Origin, Record, Revision, RuleSet, Verdict};
use crate::{Definitions, Reader, SpoolError, Writer, WriterOptions};

const OPTIONS: WriterOptions = WriterOptions { max_bytes: 1 << 20, segment_bytes: 4 << 10 };
const COMMITS: u64 = 14;

struct Dictionary;

impl Definitions for Dictionary {
    fn identity(&self, id: u32) -> Option<Identity> {
        Some(Identity { id, pod: format!("pod-{id}"), ..Identity::default() })
    }

    fn rule_set(&self, _: u32) -> Option<RuleSet> {
        None
    }

    fn revision(&self, _: i64) -> Option<Revision> {
        None
    }
}

fn origin() -> Origin {
    Origin { cluster: "c".to_owned(), node: "n".to_owned(), boot: "b".to_owned(), ..Origin::default() }
}

/// The batch that commits position `to`. Each try has another number of records, so that bytes of a try that failed are
/// told from those of the one that did not.
fn batch(to: u64, attempt: usize) -> (Vec<Record>, Checkpoint) {
    let record = Verdict {
        time_us: i64::try_from(to).unwrap(),
        count: i64::try_from(attempt).unwrap(),
        namespace: format!("namespace-{}", to % 2),
        src_identity: u32::try_from(to).unwrap(),
        src_ip: vec![7; 300],
        ..Verdict::default()
    };
    let records = vec![Record::Verdict(record); 1 + (usize::try_from(to).unwrap() + attempt) % 3];
    (
        records,
        Checkpoint { ring: "ring".to_owned(), ring_position: to, drained_epoch: 1, drained_entries: 0, sums: None },
    )
}

fn verdict(record: Record) -> Verdict {
    let Record::Verdict(verdict) = record else { panic!("only verdicts were written") };
    verdict
}

/// A record as the tests compare it: position, attempt, namespace, seq.
type Row = (i64, i64, String, i64);

/// Every row that the reader gives now. Definitions are those of the rows.
fn read_all(reader: &mut Reader, rows: &mut Vec<Row>) -> Option<crate::Position> {
    let mut last = None;
    while let Some(batch) = reader.next().unwrap() {
        for verdict in batch.records.into_iter().map(verdict) {
            let pod = &batch.definitions.identity(verdict.src_identity).unwrap().pod;
            assert_eq!(*pod, format!("pod-{}", verdict.src_identity));
            rows.push((verdict.time_us, verdict.count, verdict.namespace, verdict.seq));
        }
        last = Some(batch.end);
    }
    last
}

/// Tries again, as both programs do; says how often it took.
fn persist<T>(mut attempt: impl FnMut(usize) -> Result<T, SpoolError>) -> T {
    const TRIES: usize = 50;
    for count in 0..TRIES {
        match attempt(count) {
            Ok(done) => return done,
            Err(SpoolError::Io { .. }) => {}
            Err(error) => panic!("a fault of the disk became {error}"),
        }
    }
    panic!("did not succeed in {TRIES} tries");
}

#[derive(Default)]
struct Model {
    /// What commits that returned have written, in order.
    committed: Vec<Row>,
    /// The position up to which they are.
    position: u64,
    /// How many of these rows the reader has marked done, at least.
    done: usize,
    next: std::collections::BTreeMap<String, i64>,
}

impl Model {
    fn rows_of(&self, to: u64, attempt: usize) -> Vec<Row> {
        let mut next = self.next.clone();
        let mut rows = Vec::new();
        for verdict in batch(to, attempt).0.into_iter().map(verdict) {
            let seq = next.entry(verdict.namespace.clone()).or_insert(1);
            rows.push((verdict.time_us, verdict.count, verdict.namespace, *seq));
            *seq += 1;
        }
        rows
    }

    fn commit(&mut self, to: u64, attempt: usize) {
        for row in self.rows_of(to, attempt) {
            self.next.insert(row.2.clone(), row.3 + 1);
            self.committed.push(row);
        }
        self.position = to;
    }

    /// A new life of both programs on what is left in `dir`: everything committed and not done is read once. The batch
    /// that is being tried may be there as a whole, from any of its tries up to this one, and then its checkpoint is too.
    fn check(&self, dir: &Path, trying: Option<(u64, usize)>, may_be_done: &[usize]) {
        let (writer, recovered) = Writer::open(dir, OPTIONS, origin()).unwrap();
        assert!(recovered.damage.is_empty(), "{recovered:?}");
        let mut rows = Vec::new();
        read_all(&mut Reader::open(dir).unwrap(), &mut rows);
        drop(writer);
        let position = recovered.checkpoint.map_or(0, |checkpoint| checkpoint.ring_position);
        let mut expected = self.committed.clone();
        if position != self.position {
            let (to, last_attempt) = trying.expect("the checkpoint is the last committed one");
            assert_eq!(position, to);
            let attempt = rows.last().and_then(|row| usize::try_from(row.1).ok()).expect("no done batch is tried");
            assert!(attempt <= last_attempt);
            expected.extend(self.rows_of(to, attempt));
        }
        let done = expected.len() - rows.len();
        assert!(done == self.done || may_be_done.contains(&done), "{done} done, not {}", self.done);
        assert_eq!(rows, expected[done..]);
    }

    /// Both ways to die at this moment.
    fn check_deaths(&self, disk: &FaultyDisk, dir: &Path, trying: Option<(u64, usize)>, may_be_done: &[usize]) {
        let killed = tempfile::tempdir().unwrap();
        for folder in ["segments", "exporter"] {
            fs::create_dir_all(killed.path().join(folder)).unwrap();
            for entry in fs::read_dir(dir.join(folder)).into_iter().flatten() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), killed.path().join(folder).join(entry.file_name())).unwrap();
            }
        }
        self.check(killed.path(), trying, may_be_done);
        let unpowered = tempfile::tempdir().unwrap();
        disk.after_power_loss(dir, unpowered.path());
        self.check(unpowered.path(), trying, may_be_done);
    }
}

/// What the writer does when a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It tries again.
    Retry,
    /// It dies, and its successor tries what the checkpoint says is not there.
    Die,
}

/// Both programs live through the faults, and are checked for what a death would leave at each failure and soon after.
/// Returns the number of calls to the disk.
fn live_through(fault: Fault, failing: std::ops::Range<usize>, after: After) -> usize {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("spool");
    let disk = FaultyDisk::new(fault, failing.clone());
    let mut model = Model::default();
    let open = || persist(|_| Writer::open_on(disk.handle(), &dir, OPTIONS, origin()));
    let mut writer = Some(open().0);
    let mut reader = persist(|_| Reader::open_on(disk.handle(), &dir));
    let mut read = Vec::new();

    for to in 1..=COMMITS {
        persist(|attempt| {
            let (records, checkpoint) = batch(to, attempt);
            match writer.as_mut().unwrap().commit(records, &Dictionary, &checkpoint) {
                Ok(_) => {
                    model.commit(to, attempt);
                    Ok(())
                }
                Err(error) => {
                    assert!(disk.calls() > failing.start, "failed without a fault: {error}");
                    let end = read_all(&mut reader, &mut read);
                    assert_eq!(read, model.committed[..read.len()], "a batch was read whose commit failed");
                    if let Some(end) = end {
                        // Now, because the newest segment may be one whose name is not durable.
                        persist(|_| reader.done(end));
                        model.done = read.len();
                    }
                    model.check_deaths(&disk, &dir, Some((to, attempt)), &[]);
                    if after == After::Die {
                        writer = None;
                        let (successor, recovered) = open();
                        writer = Some(successor);
                        if recovered.checkpoint.is_some_and(|checkpoint| checkpoint.ring_position == to) {
                            model.commit(to, attempt);
                        }
                        // What the successor found to be committed stays so, though the one before it failed to sync it.
                        model.check_deaths(&disk, &dir, None, &[]);
                        if model.position == to {
                            return Ok(());
                        }
                    }
                    Err(error)
                }
            }
        });
        if disk.calls() > failing.start && disk.calls() < failing.end + 20 {
            model.check_deaths(&disk, &dir, None, &[]);
        }
        if to % 4 == 0 {
            drop(writer.take());
            writer = Some(open().0);
        }
        if to % 3 == 0
            && let Some(end) = read_all(&mut reader, &mut read)
        {
            assert_eq!(read, model.committed[..read.len()]);
            persist(|_| reader.done(end).inspect_err(|_| model.check_deaths(&disk, &dir, None, &[read.len()])));
            model.done = read.len();
            if to % 2 == 0 {
                drop(reader);
                reader = persist(|_| Reader::open_on(disk.handle(), &dir));
            }
        }
    }
    drop(writer);
    drop(open());
    read_all(&mut reader, &mut read);
    assert_eq!(read, model.committed, "after the faults");
    model.check_deaths(&disk, &dir, None, &[]);
    disk.calls()
}

/// Every call in turn fails, with the `burst - 1` calls after it, until there is no such call.
fn every_call_fails(fault: Fault, burst: usize) {
    for after in [After::Retry, After::Die] {
        let without = live_through(fault, usize::MAX..usize::MAX, after);
        let mut first = 0;
        while live_through(fault, first..first + burst, after) > first {
            first += 1;
        }
        assert!(first >= without, "{first} calls failed in turn, and {without} are made without a fault");
    }
}

#[test]
fn nothing_is_lost_or_doubled_when_a_call_does_nothing() {
    every_call_fails(Fault::Nothing, 1);
}

#[test]
fn nothing_is_lost_or_doubled_when_the_disk_is_full_for_one_call() {
    every_call_fails(Fault::HalfWritten, 1);
}

#[test]
fn nothing_is_lost_or_doubled_when_a_call_is_done_and_fails() {
    every_call_fails(Fault::Done, 1);
}

#[test]
fn nothing_is_lost_or_doubled_when_the_cut_after_a_failed_write_fails_too() {
    every_call_fails(Fault::HalfWritten, 2);
}

#[test]
fn nothing_is_lost_or_doubled_when_the_segment_after_a_failed_sync_fails_too() {
    every_call_fails(Fault::Nothing, 5);
}

/// A spool with one committed batch, on a disk that works so far.
fn one_commit(fault: Fault, dir: &Path) -> (FaultyDisk, Writer) {
    let disk = FaultyDisk::new(fault, 0..0);
    let (mut writer, _) = Writer::open_on(disk.handle(), dir, OPTIONS, origin()).unwrap();
    let (records, checkpoint) = batch(1, 0);
    writer.commit(records, &Dictionary, &checkpoint).unwrap();
    (disk, writer)
}

#[test]
fn a_failed_write_gives_its_room_back_and_the_segment_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, mut writer) = one_commit(Fault::HalfWritten, dir.path());
    let before = writer.bytes();
    disk.fail_calls(disk.calls()..disk.calls() + 1);
    let (mut records, checkpoint) = batch(2, 0);
    let error = writer.commit(&mut records, &Dictionary, &checkpoint).unwrap_err();
    let SpoolError::Io { action: "write", path, source } = &error else { panic!("{error}") };
    assert_eq!((source.kind(), writer.bytes()), (std::io::ErrorKind::StorageFull, before));
    assert!(path.ends_with("segments/0000000000000001.seg"), "{error}");
    assert!(writer.commit(&mut records, &Dictionary, &checkpoint).unwrap().worked_around.is_none());
    assert_eq!(fs::read_dir(dir.path().join("segments")).unwrap().count(), 1);
}

#[test]
fn a_failed_sync_is_told_and_the_batch_stands_in_a_new_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, mut writer) = one_commit(Fault::Nothing, dir.path());
    let before = writer.bytes();
    let first_sync = disk.calls() + 1;
    disk.fail_calls(first_sync..first_sync + 1);
    let (records, checkpoint) = batch(2, 0);
    let committed = writer.commit(records, &Dictionary, &checkpoint).unwrap();
    let told = committed.worked_around.unwrap();
    assert!(matches!(&told, SpoolError::Io { action: "sync", .. }), "{told}");
    assert_eq!(writer.bytes(), before + committed.bytes, "the first try gave its room back");
    assert_eq!(fs::read_dir(dir.path().join("segments")).unwrap().count(), 2);
}
