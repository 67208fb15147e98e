//! Version 1 on disk, byte for byte. Files of a version are never changed once that version has been released: a new
//! version gets a folder of its own, and the reader goes on reading the old ones. What messages come to hold beside what
//! they held gets a folder of its own too: `v1` has verdicts alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use podwitness_spool::{
    Checkpoint, ClockState, Coverage, Definitions, Identity, PolicyVersion, Reader, Record, Revision, RuleSet, Service,
    Sums, Trail, Verdict, Writer,
};

use crate::samples::{Dictionary, SMALL, batches, checkpoint, origin, record, verdict};

const FILES: [&str; 3] = ["segments/0000000000000001.seg", "segments/0000000000000002.seg", "exporter/cursor"];
const THREE_TABLES: [&str; 1] = ["segments/0000000000000001.seg"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// One record with every field, and one with hardly any.
fn input() -> Vec<Record> {
    let full = Verdict {
        time_us: 1_700_000_000_000_001,
        last_time_us: Some(1_700_000_000_000_002),
        seq: 0,
        namespace: "shop".to_owned(),
        event: 4,
        verdict: 2,
        direction: 1,
        reason: 4,
        count: 3,
        protocol: Some(17),
        src_ip: vec![10, 0, 0, 1],
        dst_ip: vec![0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        src_port: Some(40_000),
        dst_port: Some(53),
        tcp_flags: Some(2),
        icmp_type: Some(8),
        icmp_code: Some(0),
        src_identity: 11,
        dst_identity: 404,
        src_known: 1,
        dst_known: 3,
        packets_out: Some(5),
        bytes_out: Some(600),
        packets_in: Some(0),
        bytes_in: Some(-1),
        rule_set: 21,
        previous_rule_set: 22,
        previous_verdict: 1,
        policy_revision: 31,
        service: Some(Service {
            namespace: "shop".to_owned(),
            name: "dns".to_owned(),
            ip: vec![10, 96, 0, 10],
            port: 53,
            nat_resolution: "exact".to_owned(),
            ..Service::default()
        }),
        ..Verdict::default()
    };
    let loss = Verdict { namespace: "_unknown".to_owned(), event: 6, count: 9, ..Verdict::default() };
    vec![Record::Verdict(full), Record::Verdict(loss)]
}

/// Two boots of two and one commits; the first commit is done.
fn write(dir: &Path) {
    let (mut writer, _) = Writer::open(dir, SMALL, origin("boot-1")).unwrap();
    writer.commit(input(), &Dictionary, &checkpoint(1)).unwrap();
    writer.commit(vec![record("shop", 7)], &Dictionary, &checkpoint(2)).unwrap();
    drop(writer);
    let (mut writer, _) = Writer::open(dir, SMALL, origin("boot-2")).unwrap();
    writer.commit(vec![record("bank", 8)], &Dictionary, &checkpoint(3)).unwrap();
    let mut reader = Reader::open(dir).unwrap();
    let end = reader.next().unwrap().unwrap().end;
    reader.done(end).unwrap();
}

/// A record of each table with every field, and one of each with hardly any.
fn three_tables() -> Vec<Record> {
    let Some(Record::Verdict(verdict)) = input().into_iter().next() else { unreachable!("it is made so") };
    let service =
        Service { backend_ip: vec![10, 0, 0, 2], backend_port: Some(5353), ..verdict.service.clone().unwrap() };
    let verdict = Verdict { service: Some(service), ..verdict };
    let coverage = Coverage {
        time_us: 1_700_000_000_000_003,
        seq: 0,
        event: 5,
        interface: Some(7),
        interface_name: "veth7".to_owned(),
        netns: "cni-7".to_owned(),
        namespace: "shop".to_owned(),
        pod: "web".to_owned(),
        pod_uid: "uid-web".to_owned(),
        addresses: vec![vec![10, 0, 0, 1], vec![0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
        since_us: Some(1_700_000_000_000_000),
        mode: 2,
        unknown_endpoints: 1,
        policy_revision: 31,
        reason: "attach".to_owned(),
        detail: "no such device".to_owned(),
        count: Some(4),
        ..Coverage::default()
    };
    let policy = PolicyVersion {
        time_us: 1_700_000_000_000_004,
        seq: 0,
        event: 2,
        namespace: "shop".to_owned(),
        name: "one-port".to_owned(),
        uid: "uid-policy".to_owned(),
        generation: 3,
        resource_version: "812".to_owned(),
        text: r#"{"spec":{}}"#.to_owned(),
        policy_revision: 32,
        revision_from: 30,
        revision_to: 31,
        effective_from_us: Some(1_700_000_000_000_001),
        effective_to_us: Some(1_700_000_000_000_004),
        understood: Some(false),
        faults: vec!["ingress[0]: unknown operator".to_owned()],
        count: Some(5),
    };
    vec![
        Record::Verdict(verdict),
        Record::Coverage(coverage),
        Record::Policy(policy),
        Record::Coverage(Coverage { event: 1, ..Coverage::default() }),
        Record::Policy(PolicyVersion { event: 4, count: Some(0), ..PolicyVersion::default() }),
        record("shop", 7),
    ]
}

fn write_three_tables(dir: &Path) {
    let (mut writer, _) = Writer::open(dir, SMALL, origin("boot-1")).unwrap();
    writer.commit(three_tables(), &Dictionary, &checkpoint(1)).unwrap();
}

/// Knows what [`Dictionary`] knows, and a trail.
struct WithTrail;

impl Definitions for WithTrail {
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
        let namespace = "shop".to_owned();
        let trail = Trail { namespace, retention_seconds: 34_560_000, legal_hold: true, external_addresses: 3 };
        Some([trail].into())
    }
}

/// What is stated beside connections, endpoints and policies: the balance, the clock, and an address that is hashed.
fn statements() -> Vec<Record> {
    let clock = ClockState { synchronised: true, offset_us: -12, error_us: 9000, step_us: 250_000 };
    let Record::Verdict(verdict) = record("shop", 7) else { unreachable!("it is made so") };
    let hashed = Verdict { src_ip: Vec::new(), external_form: 3, external_hmac: (0..16).collect(), ..verdict };
    vec![
        Record::Coverage(Coverage { event: 12, balance: r#"{"events_read":5}"#.to_owned(), ..Coverage::default() }),
        Record::Coverage(Coverage { event: 13, clock: Some(clock), ..Coverage::default() }),
        Record::Verdict(hashed),
    ]
}

fn counted() -> Checkpoint {
    let spooled = [("coverage".to_owned(), 2), ("verdicts".to_owned(), 1)].into();
    let sums = Sums { events_read: 5, denied_recorded: 6, lost_recorded: 7, spooled };
    Checkpoint { sums: Some(sums), ..checkpoint(1) }
}

fn write_statements(dir: &Path) {
    let (mut writer, _) = Writer::open(dir, SMALL, origin("boot-1")).unwrap();
    writer.commit(statements(), &WithTrail, &counted()).unwrap();
}

fn copy(from: &Path, files: &[&str], to: &Path) {
    for name in files {
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

fn assert_written(write: impl FnOnce(&Path), files: &[&str], name: &str) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let read = |root: &Path| -> BTreeMap<String, _> {
        files.iter().map(|&name| (name.to_owned(), fs::read(root.join(name)).ok())).collect()
    };
    let (ours, theirs) = (read(dir.path()), read(&golden(name)));
    let differing: Vec<_> = files.iter().filter(|&&name| ours[name].is_none() || ours[name] != theirs[name]).collect();
    if !differing.is_empty() {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.modified"));
        copy(dir.path(), files, &fresh);
        panic!("{differing:?} differ from {}; what was written now is in {}", golden(name).display(), fresh.display());
    }
}

#[test]
fn today_writes_the_bytes_of_version_1() {
    assert_written(write, &FILES, "v1");
    assert_written(write_three_tables, &THREE_TABLES, "v1-three-tables");
    assert_written(write_statements, &THREE_TABLES, "v1-statements");
}

#[test]
fn what_was_stated_is_read_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden("v1-statements"), &THREE_TABLES, dir.path());
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let mut expected = statements();
    for (record, number) in expected.iter_mut().zip([1, 2, 1]) {
        match record {
            Record::Verdict(verdict) => verdict.seq = number,
            Record::Coverage(coverage) => coverage.seq = number,
            Record::Policy(version) => version.seq = number,
        }
    }
    assert_eq!(read[0].records, expected);
    assert_eq!(read[0].definitions.trails(), WithTrail.trails().as_ref());
    let (_, recovered) = Writer::open(dir.path(), SMALL, origin("boot-1")).unwrap();
    assert_eq!(recovered.checkpoint, Some(counted()));
}

#[test]
fn each_table_has_a_sequence_of_its_own_that_goes_on_with_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden("v1-three-tables"), &THREE_TABLES, dir.path());
    let (mut writer, _) = Writer::open(dir.path(), SMALL, origin("boot-1")).unwrap();
    writer.commit(three_tables(), &Dictionary, &checkpoint(2)).unwrap();
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let [first, second] = &read[..] else { panic!("two batches and not {}", read.len()) };
    for (batch, [verdicts, coverage, policies]) in [(first, [1, 1, 1]), (second, [3, 3, 3])] {
        let mut expected = three_tables();
        let mut next = [verdicts, coverage, policies].map(|first| first..);
        for record in &mut expected {
            match record {
                Record::Verdict(verdict) => verdict.seq = next[0].next().unwrap(),
                Record::Coverage(coverage) => coverage.seq = next[1].next().unwrap(),
                Record::Policy(version) => version.seq = next[2].next().unwrap(),
            }
        }
        assert_eq!(batch.records, expected);
        assert_eq!(batch.definitions.revision(32).unwrap().sha256, "ab".repeat(32), "policies refer to it");
    }
}

#[test]
fn today_reads_version_1() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden("v1"), &FILES, dir.path());
    let cursor = dir.path().join("exporter/cursor");
    assert_eq!(batches(&mut Reader::open(dir.path()).unwrap()).len(), 2, "the cursor is behind the first batch");
    fs::remove_file(cursor).unwrap();

    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let mut expected = vec![input(), vec![record("shop", 7)], vec![record("bank", 8)]];
    for (record, seq) in expected.iter_mut().flatten().zip([1, 1, 2, 1]) {
        let Record::Verdict(verdict) = record else { unreachable!("only verdicts are there") };
        verdict.seq = seq;
    }
    assert_eq!(read.iter().map(|batch| batch.records.clone()).collect::<Vec<_>>(), expected);
    let boots: Vec<_> = read.iter().map(|batch| batch.origin.boot.as_str()).collect();
    assert_eq!(boots, ["boot-1", "boot-1", "boot-2"]);
    let definitions = &read[0].definitions;
    assert_eq!(definitions.identity(11).unwrap().pod, "pod-11");
    assert!(definitions.identity(404).is_none());
    assert_eq!(definitions.rule_set(21).unwrap().policies[0].name, "policy-21");
    assert_eq!(definitions.rule_set(22).unwrap().policies[0].name, "policy-22");
    assert_eq!(definitions.revision(31).unwrap().sha256, "ab".repeat(32));

    let (mut writer, recovered) = Writer::open(dir.path(), SMALL, origin("boot-2")).unwrap();
    assert_eq!(recovered.checkpoint, Some(checkpoint(3)));
    let mut more = vec![record("bank", 9)];
    writer.commit(&mut more, &Dictionary, &checkpoint(4)).unwrap();
    assert_eq!(verdict(&more[0]).seq, 2);
}
