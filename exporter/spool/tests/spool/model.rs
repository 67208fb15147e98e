//! Random lives of both programs against a list of what was committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use podwitness_spool::{Position, Reader, Record, SpoolError, Writer, WriterOptions};
use proptest::prelude::*;

use crate::samples::{Dictionary, MARK, checkpoint, cut, length, origin, record, segments, verdict};

const OPTIONS: WriterOptions = WriterOptions { max_bytes: 12 << 10, segment_bytes: 4 << 10 };
const NAMESPACES: [&str; 3] = ["shop", "bank", "_unknown"];

#[derive(Clone, Debug)]
enum Step {
    /// Records, by the namespace's index.
    Commit(Vec<usize>),
    /// The writer is ended and opened again, perhaps in a new boot.
    Reopen { reboot: bool },
    /// The writer dies in a commit: this share of what it wrote, in 1/1000, stands in the file, and this behind it.
    Crash { records: Vec<usize>, kept: u64, garbage: Vec<u8> },
    /// At most so many batches.
    Read(usize),
    /// What was read is marked done.
    Done,
    /// The reader dies and is opened again.
    ReopenReader,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = || prop::collection::vec(0..NAMESPACES.len(), 0..24);
    let garbage = prop_oneof![Just(Vec::new()), Just(vec![0; 100]), prop::collection::vec(any::<u8>(), 1..200)];
    let step = prop_oneof![
        8 => records().prop_map(Step::Commit),
        2 => prop::bool::weighted(0.2).prop_map(|reboot| Step::Reopen { reboot }),
        3 => (records(), 0..=1000u64, garbage)
            .prop_map(|(records, kept, garbage)| Step::Crash { records, kept, garbage }),
        5 => (1..8usize).prop_map(Step::Read),
        3 => Just(Step::Done),
        2 => Just(Step::ReopenReader),
    ];
    prop::collection::vec(step, 1..60)
}

/// A record as the model knows it: boot, namespace, time, seq.
type Row = (String, &'static str, i64, i64);

struct Model<'a> {
    dir: &'a Path,
    boot: usize,
    writer: Option<Writer>,
    reader: Option<Reader>,
    /// Rows of each committed batch.
    committed: Vec<Vec<Row>>,
    /// Index of the last commit in this boot, plus 1.
    committed_in_boot: Option<usize>,
    next: BTreeMap<&'static str, i64>,
    time: i64,
    read: usize,
    read_to: Option<Position>,
    done: usize,
}

impl<'a> Model<'a> {
    fn new(dir: &'a Path) -> Self {
        let mut model = Self {
            dir,
            boot: 0,
            writer: None,
            reader: None,
            committed: Vec::new(),
            committed_in_boot: None,
            next: BTreeMap::new(),
            time: 0,
            read: 0,
            read_to: None,
            done: 0,
        };
        model.open(0);
        model.reader = Some(Reader::open(dir).unwrap());
        model
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boot)
    }

    fn open(&mut self, torn_bytes: u64) {
        let (writer, recovered) = Writer::open(self.dir, OPTIONS, origin(&self.boot_id())).unwrap();
        let expected = self.committed_in_boot.map(|position| checkpoint(u64::try_from(position).unwrap()));
        assert_eq!(recovered.checkpoint, expected);
        assert_eq!(recovered.torn_bytes, torn_bytes);
        assert_eq!(recovered.damage, []);
        self.writer = Some(writer);
    }

    /// The records, and the rows that they will be.
    fn batch(&mut self, namespaces: &[usize]) -> (Vec<Record>, Vec<Row>, BTreeMap<&'static str, i64>) {
        let mut next = self.next.clone();
        let rows: Vec<Row> = namespaces
            .iter()
            .map(|&index| {
                self.time += 1;
                let seq = next.entry(NAMESPACES[index]).or_insert(1);
                *seq += 1;
                (self.boot_id(), NAMESPACES[index], self.time, *seq - 1)
            })
            .collect();
        (rows.iter().map(|row| record(row.1, row.2)).collect(), rows, next)
    }

    /// Whether it was committed, and not refused because the spool is full.
    fn commit(&mut self, namespaces: &[usize]) -> bool {
        let (mut records, rows, next) = self.batch(namespaces);
        let position = checkpoint(u64::try_from(self.committed.len()).unwrap() + 1);
        let writer = self.writer.as_mut().unwrap();
        let before = writer.bytes();
        match writer.commit(&mut records, &Dictionary, &position) {
            Ok(committed) => {
                assert_eq!(committed.records, records.len() as u64);
                assert_eq!(writer.bytes(), before + committed.bytes);
                assert!(writer.bytes() <= OPTIONS.max_bytes);
                self.committed.push(rows);
                self.committed_in_boot = Some(self.committed.len());
                self.next = next;
                true
            }
            Err(SpoolError::Full { bytes, needed, max_bytes }) => {
                assert!(bytes == before && writer.bytes() == before && bytes + needed > max_bytes);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn crash(&mut self, namespaces: &[usize], kept: u64, garbage: &[u8]) {
        let before = segments(self.dir).last().map(|path| (path.clone(), length(path)));
        let (was, next) = (self.committed_in_boot, self.next.clone());
        if !self.commit(namespaces) {
            return;
        }
        self.writer = None;
        let path = segments(self.dir).pop().unwrap();
        let (begin, end) = (before.filter(|(old, _)| *old == path).map(|(_, length)| length), length(&path));
        let cut_at = begin.unwrap_or(0) + (end - begin.unwrap_or(0)) * kept / 1000;
        cut(&path, cut_at);
        // A disk leaves zeros where the name and version were to be; other bytes there would be another program's file.
        let garbage = if cut_at < 8 { vec![0; garbage.len()] } else { garbage.to_vec() };
        fs::write(&path, [fs::read(&path).unwrap(), garbage.clone()].concat()).unwrap();
        let whole = cut_at >= end - MARK;
        if !whole {
            self.committed.pop();
            (self.committed_in_boot, self.next) = (was, next);
        }
        let (writer, recovered) = Writer::open(self.dir, OPTIONS, origin(&self.boot_id())).unwrap();
        let expected = self.committed_in_boot.map(|position| checkpoint(u64::try_from(position).unwrap()));
        assert_eq!(recovered.checkpoint, expected);
        if let (Some(begin), false) = (begin, whole) {
            assert_eq!(recovered.torn_bytes, cut_at - begin + garbage.len() as u64);
        }
        self.writer = Some(writer);
    }

    fn read(&mut self, most: usize) {
        for _ in 0..most {
            let Some(batch) = self.reader.as_mut().unwrap().next().unwrap() else {
                assert_eq!(self.read, self.committed.len(), "a committed batch is not read");
                return;
            };
            let expected = self.committed.get(self.read).expect("a batch was read that was not committed");
            let rows: Vec<_> = batch.records.iter().map(verdict).collect();
            assert_eq!(rows.len(), expected.len());
            for (row, (boot, namespace, time, seq)) in rows.into_iter().zip(expected) {
                assert_eq!((&batch.origin.boot, row.namespace.as_str()), (boot, *namespace));
                assert_eq!((row.time_us, row.seq), (*time, *seq));
                assert_eq!(batch.definitions.identity(row.src_identity).unwrap().pod, "pod-1");
            }
            self.read += 1;
            self.read_to = Some(batch.end);
        }
    }

    fn done(&mut self) {
        if let Some(position) = self.read_to {
            self.reader.as_mut().unwrap().done(position).unwrap();
            self.done = self.read;
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Commit(namespaces) => {
                if !self.commit(&namespaces) {
                    self.read(usize::MAX);
                    self.done();
                    assert!(self.commit(&namespaces), "full, though everything was read and done");
                }
            }
            Step::Reopen { reboot } => {
                self.writer = None;
                if reboot {
                    self.boot += 1;
                    self.committed_in_boot = None;
                    self.next.clear();
                }
                self.open(0);
            }
            Step::Crash { records, kept, garbage } => self.crash(&records, kept, &garbage),
            Step::Read(most) => self.read(most),
            Step::Done => self.done(),
            Step::ReopenReader => {
                self.reader = None;
                self.reader = Some(Reader::open(self.dir).unwrap());
                self.read = self.done;
                self.read_to = None;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_committed_record_is_read_once_whatever_happens(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::new(dir.path());
        for step in steps {
            model.take(step);
        }
        model.read(usize::MAX);
        model.take(Step::ReopenReader);
        model.read(usize::MAX);
        assert_eq!(model.read, model.committed.len());
    }
}
