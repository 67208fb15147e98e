//! Version 1 on disk, byte for byte. Files of a version are never changed once that version has been released: a new
//! version gets a folder of its own, and the reader goes on reading the old ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use podwitness_spool::{Reader, Record, Service, Verdict, Writer};

use crate::samples::{Dictionary, SMALL, batches, checkpoint, origin, record};

const FILES: [&str; 3] = ["segments/0000000000000001.seg", "segments/0000000000000002.seg", "exporter/cursor"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
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
        }),
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

fn copy(from: &Path, to: &Path) {
    for name in FILES {
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[test]
fn today_writes_the_bytes_of_version_1() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let read = |root: &Path| -> BTreeMap<_, _> { FILES.map(|name| (name, fs::read(root.join(name)).ok())).into() };
    let (ours, theirs) = (read(dir.path()), read(&golden()));
    let differing: Vec<_> =
        FILES.into_iter().filter(|name| ours[name].is_none() || ours[name] != theirs[name]).collect();
    if !differing.is_empty() {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("v1.modified");
        copy(dir.path(), &fresh);
        panic!("{differing:?} differ from {}; what was written now is in {}", golden().display(), fresh.display());
    }
}

#[test]
fn today_reads_version_1() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden(), dir.path());
    let cursor = dir.path().join("exporter/cursor");
    assert_eq!(batches(&mut Reader::open(dir.path()).unwrap()).len(), 2, "the cursor is behind the first batch");
    fs::remove_file(cursor).unwrap();

    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let mut expected = vec![input(), vec![record("shop", 7)], vec![record("bank", 8)]];
    for (Record::Verdict(verdict), seq) in expected.iter_mut().flatten().zip([1, 1, 2, 1]) {
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
    let [Record::Verdict(verdict)] = &more[..] else { unreachable!("one record was given") };
    assert_eq!(verdict.seq, 2);
}
