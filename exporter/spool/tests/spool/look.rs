//! What is seen from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use podwitness_spool::{Look, Reader, look};

use crate::samples::{batches, commit, commit_wide, length, record, segments, writer};

#[test]
fn what_waits_is_what_the_reader_has_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=12);
    let bytes = segments(dir.path()).iter().map(|path| length(path)).sum();
    let before = look(dir.path()).unwrap();
    assert_eq!((before.bytes, before.waiting_bytes), (bytes, bytes));
    assert!(before.last_written.is_some());

    let mut reader = Reader::open(dir.path()).unwrap();
    let read = batches(&mut reader);
    let (half, last) = (read[read.len() / 2].end, read.last().unwrap().end);
    reader.done(half).unwrap();
    let between = look(dir.path()).unwrap().waiting_bytes;
    assert!(between > 0 && between < bytes, "{between} of {bytes}");
    reader.done(last).unwrap();
    let drained = look(dir.path()).unwrap();
    // A mark, or the header of a segment that has nothing yet.
    assert!(drained.waiting_bytes < read[0].bytes, "{drained:?}");
    commit(&mut writer, 20, vec![record("shop", 1)]);
    assert!(look(dir.path()).unwrap().waiting_bytes > drained.waiting_bytes);
}

#[test]
fn looking_at_an_empty_folder_makes_nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(look(dir.path()).unwrap(), Look { bytes: 0, waiting_bytes: 0, last_written: None });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
