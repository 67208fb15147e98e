//! Each thing that is known to go wrong with files, by name.

use std::fs;
use std::io;

use podwitness_spool::{Damage, DamageKind, Reader, SpoolError, Writer};

use crate::samples::{
    MARK, SMALL, batches, checkpoint, commit, commit_wide, cut, flip, length, origin, segment, segments, times,
    verdicts, wide, writer,
};

/// Everything that the reader gives, its damage apart.
fn read_with_damage(reader: &mut Reader) -> (Vec<i64>, Vec<Damage>) {
    let (mut read, mut damaged) = (Vec::new(), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(batch)) => read.extend(times(&[batch])),
            Ok(None) => return (read, damaged),
            Err(SpoolError::Damage(damage)) => damaged.push(damage),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn torn_tail_is_not_read_and_is_cut_by_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = segment(dir.path(), 1);
    let (mut first, _) = writer(dir.path());
    commit_wide(&mut first, 1..=1);
    let committed = length(&path);
    commit_wide(&mut first, 2..=2);
    drop(first);
    for torn in [1, 7, 8, 9, 500, length(&path) - committed - MARK - 1] {
        let whole = fs::read(&path).unwrap();
        cut(&path, committed + torn);
        let mut reader = Reader::open(dir.path()).unwrap();
        assert_eq!(times(&batches(&mut reader)), [1]);
        let (mut second, recovered) = writer(dir.path());
        assert_eq!((recovered.torn_bytes, recovered.checkpoint), (torn, Some(checkpoint(1))));
        assert_eq!(length(&path), committed);
        commit_wide(&mut second, 3..=3);
        let read = batches(&mut reader);
        assert_eq!((times(&read), verdicts(&read).next().unwrap().seq), (vec![3], 2));
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn torn_mark_does_not_lose_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = segment(dir.path(), 1);
    commit_wide(&mut writer(dir.path()).0, 1..=2);
    for torn in [0, 1, 8, MARK - 1] {
        cut(&path, length(&path) - MARK + torn);
        let mut reader = Reader::open(dir.path()).unwrap();
        assert_eq!(times(&batches(&mut reader)), [1], "it is not known yet whether it was synced");
        let recovered = writer(dir.path()).1;
        assert_eq!((recovered.torn_bytes, recovered.checkpoint), (torn, Some(checkpoint(2))));
        assert_eq!(times(&batches(&mut reader)), [2]);
    }
}

#[test]
fn torn_header_of_the_newest_segment_is_removed_and_the_one_before_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    commit_wide(&mut writer(dir.path()).0, 1..=1);
    let torn = segment(dir.path(), 2);
    for bytes in [&b""[..], b"PWSPO", b"PWSPOOL\x01\x40\0\0\0", &[0; 5000]] {
        fs::write(&torn, bytes).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        assert_eq!(times(&batches(&mut reader)), [1]);
        let (_, recovered) = writer(dir.path());
        assert_eq!((recovered.removed, recovered.checkpoint), (vec![torn.clone()], Some(checkpoint(1))));
        assert!(!torn.exists());
    }
    let (mut last, _) = writer(dir.path());
    commit_wide(&mut last, 2..=8);
    let read = batches(&mut Reader::open(dir.path()).unwrap());
    assert_eq!(times(&read), (1..=8).collect::<Vec<_>>());
    assert!(verdicts(&read).map(|verdict| verdict.seq).eq(1..=8));
}

#[test]
fn a_segment_that_was_being_made_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(writer(dir.path()));
    let unfinished = segment(dir.path(), 1).with_extension("tmp");
    fs::write(&unfinished, b"PWSPOOL").unwrap();
    let (_writer, recovered) = writer(dir.path());
    assert!(!unfinished.exists() && recovered.foreign.is_empty());
}

#[test]
fn bad_crc_in_the_middle_is_reported_once_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = segment(dir.path(), 1);
    let (mut first, _) = writer(dir.path());
    let mut ends = Vec::new();
    for time in 1..=3 {
        commit_wide(&mut first, time..=time);
        ends.push(length(&path));
    }
    let pristine = fs::read(&path).unwrap();
    // In the length, in the checksum, in the payload.
    for offset in [0, 3, 4, 100] {
        fs::write(&path, &pristine).unwrap();
        flip(&path, ends[0] + offset);
        let mut reader = Reader::open(dir.path()).unwrap();
        let (read, damage) = read_with_damage(&mut reader);
        assert_eq!(read, [1, 3]);
        let [damage] = damage[..] else { panic!("{damage:?}") };
        assert_eq!((damage.kind, damage.segment, damage.offset), (DamageKind::Frames, 1, ends[0]));
        assert_eq!(damage.bytes, ends[1] - MARK - ends[0]);
    }
    drop(first);
    let (mut second, recovered) = writer(dir.path());
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.checkpoint, Some(checkpoint(3)));
    commit_wide(&mut second, 4..=4);
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut seqs = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(batch)) => seqs.extend(verdicts(&[batch]).map(|verdict| verdict.seq)),
            Ok(None) => break,
            Err(error) => assert!(matches!(error, SpoolError::Damage(_))),
        }
    }
    assert_eq!(seqs[..2], [1, 3]);
    assert!(seqs[2] > 4, "after damage a number may have been used that nobody can read any more: {seqs:?}");
}

#[test]
fn damaged_mark_in_the_middle_is_reported_and_does_not_lose_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = segment(dir.path(), 1);
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=1);
    let mark = length(&path) - MARK;
    commit_wide(&mut writer, 2..=3);
    flip(&path, mark + 10);
    let (read, damage) = read_with_damage(&mut Reader::open(dir.path()).unwrap());
    assert_eq!(read, [1, 2, 3]);
    let [damage] = damage[..] else { panic!("{damage:?}") };
    assert_eq!((damage.kind, damage.offset, damage.bytes), (DamageKind::Frames, mark, MARK));
}

#[test]
fn damage_at_the_end_of_an_older_segment_is_not_taken_for_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    let path = segment(dir.path(), 1);
    let mut time = 0;
    let mut ends = Vec::new();
    while segments(dir.path()).len() < 2 {
        time += 1;
        commit_wide(&mut writer, time..=time);
        ends.push(length(&path));
    }
    let pristine = fs::read(&path).unwrap();
    let last_begins = ends[ends.len() - 3];
    let flipped = || flip(&path, last_begins + 100);
    let gone = || cut(&path, last_begins);
    let torn = || cut(&path, last_begins + 100);
    for damage_it in [&flipped as &dyn Fn(), &gone, &torn] {
        fs::write(&path, &pristine).unwrap();
        damage_it();
        let (read, damage) = read_with_damage(&mut Reader::open(dir.path()).unwrap());
        let kept: Vec<_> = (1..=time).filter(|&kept| kept != time - 1).collect();
        assert_eq!(read, kept);
        assert_eq!(damage.len(), 1);
        assert_eq!((damage[0].segment, damage[0].offset), (1, last_begins));
        assert_eq!(damage[0].bytes, ends[ends.len() - 1] - MARK - last_begins);
    }
}

#[test]
fn damaged_header_of_an_older_segment_passes_over_it_and_says_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=12);
    let path = segment(dir.path(), 2);
    flip(&path, 20);
    let mut reader = Reader::open(dir.path()).unwrap();
    let (read, damage) = read_with_damage(&mut reader);
    assert_eq!((damage.len(), damage[0].kind, damage[0].segment), (1, DamageKind::Header, 2));
    assert_eq!(damage[0].bytes, length(&path));
    assert!(read.len() < 12 && read.starts_with(&[1]) && read.ends_with(&[12]));
    reader.done(damage[0].end).unwrap();
    drop(reader);
    assert!(!path.exists());
    let (again, damage) = read_with_damage(&mut Reader::open(dir.path()).unwrap());
    assert_eq!((&again[..], damage.len()), (&read[read.len() - again.len()..], 0));
}

#[test]
fn damaged_header_of_the_newest_segment_with_batches_is_kept_and_no_number_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _) = writer(dir.path());
    commit_wide(&mut first, 1..=6);
    drop(first);
    assert_eq!(segments(dir.path()).len(), 2);
    flip(&segment(dir.path(), 2), 20);
    let (mut second, recovered) = writer(dir.path());
    assert_eq!(recovered.checkpoint, None, "of which boot it is cannot be read");
    assert_eq!((recovered.damage.len(), recovered.damage[0].kind), (1, DamageKind::Header));
    commit_wide(&mut second, 7..=7);
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut read = Vec::new();
    let damage = loop {
        match reader.next() {
            Ok(Some(batch)) => read.push(batch),
            Ok(None) => panic!("the damage was not reported"),
            Err(SpoolError::Damage(damage)) => break damage,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((damage.kind, damage.segment), (DamageKind::Header, 2));
    let behind = batches(&mut reader);
    assert_eq!(times(&behind), [7]);
    assert!(verdicts(&behind).next().unwrap().seq > 6);
}

#[test]
fn missing_segment_in_the_sequence_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(dir.path());
    commit_wide(&mut writer, 1..=16);
    assert!(segments(dir.path()).len() >= 4);
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.next().unwrap().unwrap();
    fs::remove_file(segment(dir.path(), 2)).unwrap();
    let (read, damage) = read_with_damage(&mut reader);
    assert_eq!((damage.len(), damage[0].kind, damage[0].segment), (1, DamageKind::Missing, 2));
    assert!(read.starts_with(&[2, 3, 4]) && read.ends_with(&[16]) && read.len() < 15);
}

#[test]
fn the_newest_segments_that_are_gone_with_the_cursor_left_are_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _) = writer(dir.path());
    commit_wide(&mut first, 1..=12);
    let mut reader = Reader::open(dir.path()).unwrap();
    let end = batches(&mut reader).last().unwrap().end;
    reader.done(end).unwrap();
    drop((first, reader));
    for path in segments(dir.path()) {
        fs::rename(path, segment(dir.path(), 1)).unwrap();
    }
    let error = Reader::open(dir.path()).unwrap().next().unwrap_err();
    assert!(matches!(error, SpoolError::CursorAhead { cursor: 3.., newest: 1, .. }), "{error}");
    assert!(error.to_string().contains("exporter/cursor"), "{error}");
}

#[test]
fn damaged_cursor_is_named() {
    let dir = tempfile::tempdir().unwrap();
    commit_wide(&mut writer(dir.path()).0, 1..=1);
    let mut reader = Reader::open(dir.path()).unwrap();
    let end = batches(&mut reader).last().unwrap().end;
    reader.done(end).unwrap();
    drop(reader);
    let cursor = dir.path().join("exporter/cursor");
    flip(&cursor, length(&cursor) - 1);
    let error = Reader::open(dir.path()).err().unwrap();
    assert!(matches!(&error, SpoolError::CursorDamaged { path } if *path == cursor), "{error}");
}

#[test]
fn foreign_file_in_the_folder_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    commit_wide(&mut writer(dir.path()).0, 1..=1);
    let names =
        ["1.seg", "000000000000000x.seg", "0000000000000000.seg", "0000000000000002.seg.bak", "notes", "lost+found"];
    let mut foreign: Vec<_> = names.iter().map(|name| dir.path().join("segments").join(name)).collect();
    for path in &foreign {
        fs::write(path, "not the spool's").unwrap();
    }
    foreign.sort();
    let (mut second, recovered) = writer(dir.path());
    assert_eq!(recovered.foreign, foreign);
    assert_eq!(second.bytes(), length(&segment(dir.path(), 1)));
    commit_wide(&mut second, 2..=12);
    let mut reader = Reader::open(dir.path()).unwrap();
    let read = batches(&mut reader);
    assert_eq!(times(&read), (1..=12).collect::<Vec<_>>());
    reader.done(read.last().unwrap().end).unwrap();
    assert!(foreign.iter().all(|path| path.exists()));
}

#[test]
fn second_writer_is_refused_and_told_which_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = writer(dir.path());
    let error = Writer::open(dir.path(), SMALL, origin("boot-1")).err().unwrap();
    assert!(matches!(&error, SpoolError::Locked { role: "agent", path } if path == dir.path()));
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    drop(first);
    writer(dir.path());
}

#[test]
fn second_reader_is_refused_and_told_which_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, _) = writer(dir.path());
    let first = Reader::open(dir.path()).unwrap();
    let error = Reader::open(dir.path()).err().unwrap();
    assert!(matches!(&error, SpoolError::Locked { role: "exporter", path } if path == dir.path()));
    drop(first);
    Reader::open(dir.path()).unwrap();
}

#[test]
fn unwritable_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let spool = file.join("spool");
    let error = Writer::open(&spool, SMALL, origin("boot-1")).err().unwrap();
    let SpoolError::Io { action: "make folder", path, source } = &error else { panic!("{error}") };
    assert!(spool.starts_with(path), "{error}");
    assert!(matches!(source.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists), "{source:?}");
}

#[test]
fn missing_spool_tells_the_reader_who_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let error = Reader::open(&spool).err().unwrap();
    assert!(matches!(&error, SpoolError::Absent { path } if *path == spool));
    assert!(!spool.exists());
}

#[test]
fn future_version_in_the_header_is_refused_by_both_sides_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _) = writer(dir.path());
    commit(&mut first, 1, wide(1));
    drop(first);
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] = 2;
    fs::write(&path, &bytes).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    for _ in 0..2 {
        let error = reader.next().unwrap_err();
        assert!(matches!(error, SpoolError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    }
    let error = Writer::open(dir.path(), SMALL, origin("boot-1")).err().unwrap();
    assert!(matches!(error, SpoolError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// A frame whose envelope has field 15 alone, as a later program may write it.
#[test]
fn kind_of_frame_that_a_newer_agent_added_is_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    commit_wide(&mut writer(dir.path()).0, 1..=1);
    let path = segment(dir.path(), 1);
    let offset = length(&path);
    let payload = [15 << 3 | 2, 0];
    let length = 2u32.to_le_bytes();
    let covered = [&1u64.to_le_bytes()[..], &offset.to_le_bytes(), &length, &payload].concat();
    let frame = [&length[..], &crc32c::crc32c(&covered).to_le_bytes(), &payload].concat();
    fs::write(&path, [fs::read(&path).unwrap(), frame].concat()).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(times(&[reader.next().unwrap().unwrap()]), [1]);
    for _ in 0..2 {
        let error = reader.next().unwrap_err();
        assert!(matches!(error, SpoolError::NewerRecord { offset: at, .. } if at == offset), "{error}");
    }
}
