//! A writer in a process of its own is killed again and again, while a reader reads.
//!
//! Alone in its binary: a process that another test starts would hold this one's locks between fork and exec.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use podwitness_spool::{
    Checkpoint, Definitions, Identity, Origin, Reader, Record, Recovered, Revision, RuleSet, SpoolError, Verdict,
    Writer, WriterOptions,
};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

const SPOOL: &str = "PODWITNESS_TEST_SPOOL";
const LIVES: u64 = 40;
const DEADLINE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;

/// What a position's batch holds, in both processes: so many records, of this namespace.
fn contents(position: u64) -> (usize, &'static str) {
    (usize::try_from(position % 5).unwrap(), ["shop", "bank"][usize::from(position.is_multiple_of(7))])
}

fn checkpoint(position: u64) -> Checkpoint {
    Checkpoint { ring_position: position, ..Checkpoint::default() }
}

fn writer(dir: &Path) -> (Writer, Recovered) {
    let options = WriterOptions { max_bytes: 1 << 20, segment_bytes: 4 << 10 };
    Writer::open(dir, options, Origin { boot: "boot-1".to_owned(), ..Origin::default() }).unwrap()
}

struct Nothing;

impl Definitions for Nothing {
    fn identity(&self, _: u32) -> Option<Identity> {
        None
    }

    fn rule_set(&self, _: u32) -> Option<RuleSet> {
        None
    }

    fn revision(&self, _: i64) -> Option<Revision> {
        None
    }
}

/// The writer: goes on from its checkpoint for ever. Not a test; the test below runs it in a process.
#[test]
#[ignore = "run by a_writer_killed_at_any_moment_loses_and_doubles_nothing, in a process of its own"]
fn writer_process() {
    let dir = env::var_os(SPOOL).expect("the test that runs this says where the spool is");
    let (mut writer, recovered) = writer(Path::new(&dir));
    assert!(recovered.damage.is_empty(), "{recovered:?}");
    let mut position = recovered.checkpoint.map_or(0, |checkpoint| checkpoint.ring_position);
    loop {
        let (count, namespace) = contents(position + 1);
        let time_us = i64::try_from(position + 1).unwrap();
        let verdict = Verdict { time_us, namespace: namespace.to_owned(), src_ip: vec![7; 40], ..Verdict::default() };
        match writer.commit(vec![Record::Verdict(verdict); count], &Nothing, &checkpoint(position + 1)) {
            Ok(_) => position += 1,
            Err(SpoolError::Full { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Ends with the test, however that ends.
struct Process(Child);

impl Process {
    fn spawn(dir: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "writer_process"]).env(SPOOL, dir);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        let status = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "the writer ended by itself");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Checks each batch against the one that must come next.
#[derive(Default)]
struct Witness {
    position: u64,
    next: BTreeMap<String, i64>,
    /// Both as they were when a batch was last marked done.
    done: (u64, BTreeMap<String, i64>),
}

impl Witness {
    /// Reads what there is; says how many batches.
    fn read(&mut self, reader: &mut Reader, most: u64) -> u64 {
        for count in 0..most {
            let Some(batch) = reader.next().unwrap() else { return count };
            self.position += 1;
            let (length, namespace) = contents(self.position);
            assert_eq!(batch.records.len(), length, "at position {}", self.position);
            for record in batch.records {
                let Record::Verdict(verdict) = record else { panic!("only verdicts were written") };
                assert_eq!(u64::try_from(verdict.time_us).unwrap(), self.position);
                assert_eq!(verdict.namespace, namespace);
                let next = self.next.entry(verdict.namespace).or_insert(1);
                assert_eq!(verdict.seq, *next, "at position {}", self.position);
                *next += 1;
            }
            if self.position.is_multiple_of(8) {
                reader.done(batch.end).unwrap();
                self.done = (self.position, self.next.clone());
            }
        }
        most
    }
}

#[test]
fn a_writer_killed_at_any_moment_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(writer(dir.path()));
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut witness = Witness::default();
    for life in 0..LIVES {
        let process = Process::spawn(dir.path());
        // One in four is killed while it opens the spool, or soon after; the others after so many batches and a moment.
        let batches = if life % 4 == 0 { 0 } else { 1 + rng.next_u64() % 40 };
        let moment = Duration::from_micros(rng.next_u64() % 10_000);
        let begun = Instant::now();
        let mut read = 0;
        while read < batches {
            read += witness.read(&mut reader, batches - read);
            assert!(begun.elapsed() < DEADLINE, "{read} of {batches} batches in {DEADLINE:?}");
        }
        let read_on = Instant::now();
        while read_on.elapsed() < moment {
            witness.read(&mut reader, 1);
        }
        process.kill();
        if life % 3 == 0 {
            drop(reader);
            reader = Reader::open(dir.path()).unwrap();
            (witness.position, witness.next) = witness.done.clone();
        }
    }
    let (_writer, recovered) = writer(dir.path());
    witness.read(&mut reader, u64::MAX);
    assert_eq!(recovered.checkpoint, Some(checkpoint(witness.position)));
    assert!(witness.position > LIVES, "only {} batches", witness.position);
}
