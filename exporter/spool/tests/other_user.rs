//! The reader in a process of another user, who shares nothing with the writer but the group of the spool's folder.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use podwitness_spool::{
    Checkpoint, Definitions, Identity, Origin, Reader, Record, Revision, RuleSet, SpoolError, Verdict, Writer,
    WriterOptions,
};

const SPOOL: &str = "PODWITNESS_TEST_SPOOL";
const OPTIONS: WriterOptions = WriterOptions { max_bytes: 1 << 20, segment_bytes: 4 << 10 };
const BATCHES: usize = 12;
const OTHER_USER: u32 = 64_001;
const SHARED_GROUP: u32 = 64_002;

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

/// The reader. Not a test; the test below runs it in a process.
#[test]
#[ignore = "run by a_reader_of_another_user_reads_and_reclaims, in a process of its own"]
fn reader_process() {
    let dir = env::var_os(SPOOL).expect("the test that runs this says where the spool is");
    let dir = Path::new(&dir);
    let mut reader = Reader::open(dir).unwrap();
    let batches: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).collect();
    assert_eq!(batches.len(), BATCHES);
    reader.done(batches[BATCHES - 1].end).unwrap();
    let refused = Writer::open(dir, OPTIONS, Origin::default()).err().unwrap();
    assert!(matches!(refused, SpoolError::Locked { role: "agent", .. }), "{refused}");
}

/// Without root the process is of the same user, which shows less.
#[test]
fn a_reader_of_another_user_reads_and_reclaims() {
    let root = tempfile::tempdir().unwrap();
    let program = root.path().join("reader");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let spool = root.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let is_root = fs::metadata(&spool).unwrap().uid() == 0;
    if is_root {
        chown(&spool, None, Some(SHARED_GROUP)).unwrap();
    }
    fs::set_permissions(&spool, Permissions::from_mode(0o2770)).unwrap();

    let (mut writer, _) = Writer::open(&spool, OPTIONS, Origin::default()).unwrap();
    for _ in 0..BATCHES {
        let verdict = Verdict { src_ip: vec![7; 800], ..Verdict::default() };
        writer.commit(vec![Record::Verdict(verdict)], &Nothing, &Checkpoint::default()).unwrap();
    }
    let segments = || fs::read_dir(spool.join("segments")).unwrap().count();
    assert!(segments() > 2);
    let mut command = Command::new(program);
    command.args(["--ignored", "--exact", "reader_process"]).env(SPOOL, &spool);
    if is_root {
        command.uid(OTHER_USER).gid(SHARED_GROUP);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(segments(), 1);
}
