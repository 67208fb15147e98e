//! When nothing goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use podwitness_spool::{
    Identity, Reader, Record, Recovered, Revision, RuleSet, SpoolError, Verdict, Writer, WriterOptions,
};

use crate::samples::{
    Dictionary, SMALL, batches, checkpoint, commit, commit_wide, length, origin, record, segment, segments, times,
    verdicts, wide, writer,
};

#[test]
fn what_was_committed_is_read_as_it_was_and_the_caller_sees_its_sequence_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, recovered) = writer(dir.path());
    assert_eq!(recovered, Recovered { is_empty: true, ..Recovered::default() });
    let mut first = vec![record("shop", 1), record("bank", 2), record("shop", 3)];
    let committed = writer.commit(&mut first, &Dictionary, &checkpoint(1)).unwrap();
    assert_eq!(committed.records, 3);
    assert_eq!(committed.bytes, length(&segment(dir.path(), 1)));
    assert_eq!(writer.bytes(), committed.bytes);
    commit(&mut writer, 2, vec![record("bank", 4)]);
    commit(&mut writer, 3, Vec::new());

    let mut reader = Reader::open(dir.path()).unwrap();
    let read = batches(&mut reader);
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].records, first);
    assert_eq!(read[0].end.offset(), committed.bytes);
    assert_eq!(read[0].end, podwitness_spool::Position::new(read[0].end.segment(), read[0].end.offset()));
    assert_eq!(read[1].bytes, read[1].end.offset() - read[0].end.offset());
    assert_eq!(reader.bytes().unwrap(), writer.bytes());
    assert_eq!(*read[0].origin, origin("boot-1"));
    let seqs: Vec<_> = verdicts(&read).map(|verdict| (verdict.namespace.as_str(), verdict.seq)).collect();
    assert_eq!(seqs, [("shop", 1), ("bank", 1), ("shop", 2), ("bank", 2)]);
    commit(&mut writer, 4, vec![record("shop", 5)]);
    assert_eq!(times(&batches(&mut reader)), [5]);
}

#[test]
fn definitions_are_written_once_a_segment_and_stand_in_each() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    for time in 1..=12 {
        let mut records = wide(time);
        let [Record::Verdict(verdict)] = &mut records[..] else { unreachable!("a wide batch has one record") };
        verdict.src_identity = 1 + u32::from(time % 2 == 0);
        commit(&mut writer, 1, records);
    }
    assert!(segments(dir.path()).len() > 2);
    for path in segments(dir.path()) {
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes.windows(4).filter(|window| window == b"pod-").count(), 2);
    }
    for batch in batches(&mut Reader::open(dir.path()).unwrap()) {
        let [Record::Verdict(verdict)] = &batch.records[..] else { unreachable!("each batch has one record") };
        let pod = &batch.definitions.identity(verdict.src_identity).unwrap().pod;
        assert_eq!(*pod, format!("pod-{}", verdict.src_identity));
        assert!(batch.definitions.identity(3).is_none());
    }
}

#[test]
fn definitions_are_there_for_a_reader_that_comes_back_in_the_middle_of_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=2);
    let mut reader = Reader::open(dir.path()).unwrap();
    let end = reader.next().unwrap().unwrap().end;
    reader.done(end).unwrap();
    drop(reader);
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    assert_eq!(times(&read), [2]);
    assert_eq!(read[0].definitions.identity(1).unwrap().pod, "pod-1");
}

#[test]
fn a_definition_that_nobody_knows_is_asked_for_again_and_does_not_hold_up_the_record() {
    struct Late(bool);
    impl podwitness_spool::Definitions for Late {
        fn identity(&self, id: u32) -> Option<Identity> {
            self.0.then(|| Identity { id, ..Identity::default() })
        }
        fn rule_set(&self, id: u32) -> Option<RuleSet> {
            self.0.then(|| RuleSet { id, ..RuleSet::default() })
        }
        fn revision(&self, number: i64) -> Option<Revision> {
            self.0.then(|| Revision { number, ..Revision::default() })
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    let verdict = Verdict { dst_identity: 5, previous_rule_set: 6, policy_revision: 7, ..Verdict::default() };
    for known in [false, true] {
        writer.commit(vec![Record::Verdict(verdict.clone())], &Late(known), &checkpoint(1)).unwrap();
    }
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let known = |index: usize| {
        let definitions = &read[index].definitions;
        [definitions.identity(5).is_some(), definitions.rule_set(6).is_some(), definitions.revision(7).is_some()]
    };
    assert_eq!((known(0), known(1)), ([false; 3], [true; 3]));
}

#[test]
fn an_id_that_a_new_agent_gives_another_meaning_has_it_from_then_on() {
    struct Named(&'static str);
    impl podwitness_spool::Definitions for Named {
        fn identity(&self, id: u32) -> Option<Identity> {
            Some(Identity { id, pod: self.0.to_owned(), ..Identity::default() })
        }
        fn rule_set(&self, _: u32) -> Option<RuleSet> {
            None
        }
        fn revision(&self, _: i64) -> Option<Revision> {
            None
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["old", "new"] {
        let (mut writer, _) = writer(dir.path());
        writer.commit(vec![record("shop", 1)], &Named(name), &checkpoint(1)).unwrap();
    }
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let pods: Vec<_> = read.iter().map(|batch| batch.definitions.identity(1).unwrap().pod.as_str()).collect();
    assert_eq!(pods, ["old", "new"]);
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn definitions_that_do_not_change_are_shared_between_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=2);
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    assert!(Arc::ptr_eq(&read[0].definitions, &read[1].definitions));
    assert!(Arc::ptr_eq(&read[0].origin, &read[1].origin));
}

#[test]
fn done_removes_what_lies_before_but_never_the_newest_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=12);
    let before = segments(dir.path());
    assert!(before.len() > 2);
    let mut reader = Reader::open(dir.path()).unwrap();
    let read = batches(&mut reader);
    reader.done(read[0].end).unwrap();
    assert_eq!(segments(dir.path()), before);
    reader.done(read.last().unwrap().end).unwrap();
    assert_eq!(segments(dir.path()), before[before.len() - 1..]);
    assert_eq!(writer.bytes(), length(&before[before.len() - 1]));
    reader.done(read[0].end).unwrap();
    drop(reader);
    assert!(Reader::open(dir.path()).unwrap().next().unwrap().is_none(), "an older position took back a newer one");
}

#[test]
fn done_at_the_end_of_a_segment_removes_it_once_there_is_a_next_one() {
    let dir = tempfile::tempdir().unwrap();
    commit(&mut writer(dir.path()).0, 1, wide(1));
    let (mut second, _) = Writer::open(dir.path(), SMALL, origin("boot-2")).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    let first = reader.next().unwrap().unwrap();
    commit(&mut second, 1, wide(2));
    reader.done(first.end).unwrap();
    assert_eq!(segments(dir.path()), [segment(dir.path(), 2)]);
    assert_eq!(times(&batches(&mut reader)), [2]);
    drop(reader);
    assert_eq!(times(&batches(&mut Reader::open(dir.path()).unwrap())), [2]);
}

#[test]
fn a_position_that_was_not_read_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=1);
    let mut reader = Reader::open(dir.path()).unwrap();
    let end = reader.next().unwrap().unwrap().end;
    drop(reader);
    let mut reader = Reader::open(dir.path()).unwrap();
    assert!(matches!(reader.done(end), Err(SpoolError::NotRead { position }) if position == end));
}

#[test]
fn a_new_boot_begins_its_own_segment_sequences_and_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    commit(&mut writer(dir.path()).0, 7, vec![record("shop", 1)]);
    let (mut second, recovered) = Writer::open(dir.path(), SMALL, origin("boot-2")).unwrap();
    assert_eq!(recovered.checkpoint, None);
    commit(&mut second, 1, vec![record("shop", 2)]);
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let rows: Vec<_> =
        read.iter().map(|batch| (batch.origin.boot.as_str(), verdicts(&read).next().unwrap().seq)).collect();
    assert_eq!(rows, [("boot-1", 1), ("boot-2", 1)]);
    assert_eq!(segments(dir.path()).len(), 2);
}

#[test]
fn a_new_agent_in_the_same_boot_goes_on_with_sequences_and_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    commit(&mut writer(dir.path()).0, 7, vec![record("shop", 1)]);
    let upgraded = podwitness_spool::Origin { agent_version: "0.2.0".to_owned(), ..origin("boot-1") };
    let (mut second, recovered) = Writer::open(dir.path(), SMALL, upgraded).unwrap();
    assert_eq!(recovered.checkpoint, Some(checkpoint(7)));
    drop(second.commit(vec![record("shop", 2)], &Dictionary, &checkpoint(8)).unwrap());
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    let versions: Vec<_> = read.iter().map(|batch| batch.origin.agent_version.as_str()).collect();
    assert_eq!(versions, ["0.1.0", "0.2.0"]);
    assert_eq!(verdicts(&read).map(|verdict| verdict.seq).collect::<Vec<_>>(), [1, 2]);
    let header_alone = Writer::open(dir.path(), SMALL, origin("boot-1"));
    assert!(matches!(header_alone, Err(SpoolError::Locked { .. })));
    drop(second);
    // The state comes from the newest segment alone.
    fs::remove_file(segment(dir.path(), 1)).unwrap();
    assert_eq!(writer(dir.path()).1.checkpoint, Some(checkpoint(8)));
}

#[test]
fn a_full_spool_takes_nothing_until_the_reader_has_reclaimed() {
    let dir = tempfile::tempdir().unwrap();
    let options = WriterOptions { max_bytes: 8 << 10, segment_bytes: 4 << 10 };
    let (mut writer, _) = Writer::open(dir.path(), options, origin("boot-1")).unwrap();
    let mut committed = Vec::new();
    let full = loop {
        let time = i64::try_from(committed.len()).unwrap();
        match writer.commit(wide(time), &Dictionary, &checkpoint(1)) {
            Ok(_) => committed.push(time),
            Err(error) => break error,
        }
        assert!(writer.bytes() <= options.max_bytes);
    };
    let SpoolError::Full { bytes, needed, max_bytes } = full else { panic!("{full}") };
    assert!(bytes <= max_bytes && bytes + needed > max_bytes && bytes == writer.bytes());
    let mut reader = Reader::open(dir.path()).unwrap();
    let read = batches(&mut reader);
    assert_eq!(times(&read), committed);
    reader.done(read.last().unwrap().end).unwrap();
    commit(&mut writer, 2, wide(99));
    let read = batches(&mut reader);
    assert_eq!(times(&read), [99]);
    assert_eq!(verdicts(&read).next().unwrap().seq, i64::try_from(committed.len()).unwrap() + 1);
}

#[test]
fn a_batch_that_never_fits_is_told_from_a_full_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    let large: Vec<_> = (0..6).flat_map(wide).collect();
    let refused = writer.commit(large, &Dictionary, &checkpoint(1)).unwrap_err();
    assert!(matches!(refused, SpoolError::BatchTooLarge { bytes, segment_bytes: 4096 } if bytes > 4096), "{refused}");
    assert!(segments(dir.path()).is_empty());
    commit_wide(&mut writer, 1..=1);
}

#[test]
fn options_that_could_block_for_ever_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (max_bytes, segment_bytes) in [(8191, 4096), (1 << 20, 4095), (1 << 40, (1 << 30) + 1)] {
        let refused = Writer::open(dir.path(), WriterOptions { max_bytes, segment_bytes }, origin("boot-1"));
        assert!(matches!(refused, Err(SpoolError::Options { .. })), "{max_bytes} {segment_bytes}");
    }
    for max_bytes in [8 << 10, 1 << 20, 10 << 30] {
        drop(Writer::open(dir.path(), WriterOptions::with_max_bytes(max_bytes), origin("boot-1")).unwrap());
    }
}

#[test]
fn the_group_may_read_segments_and_change_the_folders_and_others_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    commit_wide(&mut writer(&spool).0, 1..=1);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in [spool.clone(), spool.join("segments"), spool.join("exporter")] {
        assert_eq!(mode(&folder), 0o770, "{}", folder.display());
    }
    assert_eq!(mode(&segment(&spool, 1)), 0o640);
}

#[test]
fn a_reader_may_come_before_the_first_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    assert!(reader.next().unwrap().is_none());
    let (mut writer, _) = writer(dir.path());
    assert!(reader.next().unwrap().is_none());
    commit_wide(&mut writer, 1..=1);
    assert_eq!(times(&batches(&mut reader)), [1]);
}
