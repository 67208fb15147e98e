//! Segments that somebody else removes while they are used.

use std::fs;

use podwitness_spool::{DamageKind, Reader, SpoolError, Writer, WriterOptions, newest_origin};

use crate::samples::{
    Dictionary, SMALL, checkpoint, commit, commit_wide, length, origin, record, segment, segments, writer,
};

fn is_removed<T>(outcome: &Result<T, SpoolError>) -> bool {
    matches!(outcome, Err(SpoolError::Removed { .. }))
}

#[test]
fn neither_side_goes_on_with_a_segment_that_has_no_name_any_more() {
    for is_whole_folder in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, _) = writer(dir.path());
        commit(&mut writer, 1, vec![record("shop", 1)]);
        let mut reader = Reader::open(dir.path()).unwrap();
        assert!(reader.next().unwrap().is_some());
        assert!(reader.next().unwrap().is_none());

        if is_whole_folder {
            fs::remove_dir_all(dir.path().join("segments")).unwrap();
        } else {
            fs::remove_file(segment(dir.path(), 1)).unwrap();
        }
        assert!(is_removed(&writer.commit(vec![record("shop", 2)], &Dictionary, &checkpoint(2))));
        assert!(is_removed(&reader.next()));
        // It does not begin another one of its own accord where the folder is gone too.
        assert_eq!(is_removed(&writer.commit(vec![record("shop", 2)], &Dictionary, &checkpoint(2))), is_whole_folder);
    }
}

/// Its reader knows numbers that must not mean something else.
#[test]
fn a_spool_that_has_lost_all_its_segments_goes_on_behind_what_was_read() {
    for is_cursor_whole in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (mut first, recovered) = writer(dir.path());
        assert!(recovered.is_empty);
        commit_wide(&mut first, 1..=12);
        let mut reader = Reader::open(dir.path()).unwrap();
        reader.next().unwrap().unwrap();
        let end = std::iter::from_fn(|| reader.next().unwrap()).last().unwrap().end;
        reader.done(end).unwrap();
        drop((first, reader));
        assert!(!writer(dir.path()).1.is_empty);
        let newest = segments(dir.path()).pop().unwrap();
        for path in segments(dir.path()) {
            fs::remove_file(path).unwrap();
        }
        if !is_cursor_whole {
            fs::write(dir.path().join("exporter/cursor"), "torn").unwrap();
        }

        let (mut next, recovered) = writer(dir.path());
        assert_eq!((recovered.is_empty, recovered.checkpoint), (true, None));
        commit(&mut next, 1, vec![record("shop", 1)]);
        let begun = segments(dir.path()).pop().unwrap();
        assert_eq!(begun > newest, is_cursor_whole, "{} and {}", newest.display(), begun.display());
        drop(next);
        let (mut next, recovered) = writer(dir.path());
        assert!(!recovered.is_empty);
        commit(&mut next, 2, vec![record("shop", 2)]);
        let Ok(mut reader) = Reader::open(dir.path()) else {
            assert!(!is_cursor_whole, "a cursor that says nothing is the reader's to tell");
            continue;
        };
        let damage = reader.next().unwrap_err();
        let SpoolError::Damage(damage) = damage else { panic!("{damage}") };
        assert_eq!((damage.kind, segment(dir.path(), damage.segment)), (DamageKind::Missing, newest));
        let read: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).flat_map(|batch| batch.records).collect();
        assert_eq!(read.len(), 2);
    }
}

#[test]
fn the_newest_segment_says_who_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(newest_origin(&dir.path().join("none")).unwrap(), None);
    for boot in ["boot-1", "boot-2"] {
        let (mut writer, _) = Writer::open(dir.path(), SMALL, origin(boot)).unwrap();
        commit(&mut writer, 1, vec![record("shop", 1)]);
        assert_eq!(newest_origin(dir.path()).unwrap(), Some(origin(boot)));
    }
    fs::write(segment(dir.path(), 2), "torn").unwrap();
    assert_eq!(newest_origin(dir.path()).unwrap(), Some(origin("boot-1")), "one that cannot be read says nothing");
}

#[test]
fn what_the_reader_removes_itself_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=12);
    let mut reader = Reader::open(dir.path()).unwrap();
    let before = segments(dir.path()).len();
    while let Some(batch) = reader.next().unwrap() {
        reader.done(batch.end).unwrap();
    }
    assert!(segments(dir.path()).len() < before);
    commit(&mut writer, 20, vec![record("shop", 1)]);
    assert!(reader.next().unwrap().is_some());
    assert!(reader.next().unwrap().is_none());
}

/// The newest segment is never removed; here it alone is more than there may be.
#[test]
fn a_limit_that_was_lowered_below_the_newest_segment_is_kept_when_the_next_one_has_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (mut before, _) =
        Writer::open(dir.path(), WriterOptions { segment_bytes: 1 << 19, ..SMALL }, origin("boot-1")).unwrap();
    commit_wide(&mut before, 1..=20);
    drop(before);
    let lowered = WriterOptions { max_bytes: 2 * SMALL.segment_bytes, ..SMALL };
    assert!(length(&segment(dir.path(), 1)) > lowered.max_bytes);
    let (mut after, _) = Writer::open(dir.path(), lowered, origin("boot-1")).unwrap();
    commit(&mut after, 21, vec![record("shop", 1)]);
    assert_eq!(segments(dir.path()).len(), 2);
    let full = after.commit(vec![record("shop", 2)], &Dictionary, &checkpoint(22));
    assert!(matches!(full, Err(SpoolError::Full { .. })), "the limit holds again: {full:?}");
    let mut reader = Reader::open(dir.path()).unwrap();
    while let Some(batch) = reader.next().unwrap() {
        reader.done(batch.end).unwrap();
    }
    assert_eq!(segments(dir.path()).len(), 1);
    commit(&mut after, 22, vec![record("shop", 2)]);
}
