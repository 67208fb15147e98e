//! Segments that somebody else removes while they are used.

use std::fs;

use podwitness_spool::{Reader, SpoolError, Writer, newest_origin};

use crate::samples::{Dictionary, SMALL, checkpoint, commit, commit_wide, origin, record, segment, segments, writer};

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
