//! What the writer does with the segments that it finds: see "Recovery" in the crate's documentation.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::cursor;
use crate::disk::Disk;
use crate::error::{Damage, DamageKind, SpoolError};
use crate::folder::Folder;
use crate::frame;
use crate::message::{Checkpoint, Origin};
use crate::position::Position;
use crate::preamble;
use crate::segment::{self, Access, Met, Opened, Segment};
use crate::sequences::Sequences;

/// What a writer found when it opened the spool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last one committed in the same boot; `None` where there is none.
    pub checkpoint: Option<Checkpoint>,
    /// Whether no segment was there: the spool is new, or somebody has removed all that it had.
    pub is_empty: bool,
    /// Bytes of a commit that was not finished, cut off the newest segment.
    pub torn_bytes: u64,
    /// Damage in the segments that were read. The reader will report it too; sequence numbers leave a hole for it.
    pub damage: Vec<Damage>,
    /// Newest segments that had no valid header and no committed batch: removed.
    pub removed: Vec<PathBuf>,
    /// Files and folders among the segments that are not the spool's: left alone and not counted.
    pub foreign: Vec<PathBuf>,
}

/// Where the writer goes on.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// The newest segment's number, 0 where there is none.
    pub(crate) number: u64,
    /// Where its last committed batch ends: what the next segment's header says. Its mark may not be durable, so it does
    /// not count.
    pub(crate) committed: u64,
    /// Where the next batch begins: behind the mark.
    pub(crate) length: u64,
    /// The segment, where more may be written to it.
    pub(crate) open: Option<OpenTail>,
}

#[derive(Debug)]
pub(crate) struct OpenTail {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

/// What the writer must know to go on.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tail: Tail,
    pub(crate) sequences: Sequences,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// Brings the newest segment to a state in which all its batches are committed, and reads the writer's state from it.
pub(crate) fn recover(folder: &Folder, disk: &dyn Disk, origin: &Origin) -> Result<(State, Recovered), SpoolError> {
    let listing = folder.list()?;
    let mut recovered = Recovered { foreign: listing.foreign, ..Recovered::default() };
    for path in listing.unfinished {
        disk.remove(&path).map_err(|source| SpoolError::io("remove", &path, source))?;
    }
    // The newest segment's maker may have died before its name was durable.
    let names = folder.segments();
    disk.sync_folder(names).map_err(|source| SpoolError::io("sync folder", names, source))?;

    let mut newest: Option<(u64, u64)> = None;
    // Segments with an unreadable header but committed batches: passed on the way to one that can be read.
    let mut headless: Vec<Headless> = Vec::new();
    for &number in listing.numbers.iter().rev() {
        match Segment::open(folder, number, Access::Mend)? {
            // The reader has removed it since the listing.
            Opened::Absent => {}
            Opened::Headless(file, path) => {
                let limit = segment::length(&file, &path)?;
                if newest.is_none() && resume(&file, &path, number, limit)?.is_none() {
                    disk.remove(&path).map_err(|source| SpoolError::io("remove", &path, source))?;
                    recovered.removed.push(path);
                } else {
                    newest = newest.or(Some((number, limit)));
                    headless.push(Headless { file, path, number, limit });
                }
            }
            Opened::Ready(segment) if newest.is_none() => {
                return mend(*segment, disk, origin, recovered);
            }
            Opened::Ready(segment) => {
                let mut state = State::default();
                if segment.header.origin.boot == origin.boot {
                    state.sequences = Sequences::from_header(&segment.header);
                    let limit = segment.length()?;
                    replay((&segment.file, &segment.path, number), segment.begin, limit, &mut state, &mut recovered)?;
                }
                return behind_headless(state, headless, newest, recovered);
            }
        }
    }
    recovered.is_empty = newest.is_none();
    if recovered.is_empty {
        return Ok((State { tail: behind_cursor(folder)?, ..State::default() }, recovered));
    }
    behind_headless(State::default(), headless, newest, recovered)
}

/// Where the reader is done with segments that nobody has any more: were their numbers given again, these would lie before
/// its cursor.
fn behind_cursor(folder: &Folder) -> Result<Tail, SpoolError> {
    Ok(match cursor::load(folder) {
        Ok(Some(Position { segment, offset })) => {
            Tail { number: segment, committed: offset, length: offset, open: None }
        }
        // Damage is the reader's to tell.
        Ok(None) | Err(SpoolError::CursorDamaged { .. }) => Tail::default(),
        Err(error) => return Err(error),
    })
}

struct Headless {
    file: File,
    path: PathBuf,
    number: u64,
    limit: u64,
}

/// Uses up the numbers that segments without a header may hold. Of which boot their checkpoints are is not known: none
/// is trusted.
fn behind_headless(
    mut state: State,
    headless: Vec<Headless>,
    newest: Option<(u64, u64)>,
    mut recovered: Recovered,
) -> Result<(State, Recovered), SpoolError> {
    for Headless { file, path, number, limit } in headless.into_iter().rev() {
        replay((&file, &path, number), preamble::BYTES, limit, &mut state, &mut Recovered::default())?;
        state.sequences.skip_damaged(limit);
        state.checkpoint = None;
        recovered.damage.push(Damage {
            kind: DamageKind::Header,
            segment: number,
            offset: 0,
            bytes: limit,
            end: Position { segment: number + 1, offset: 0 },
        });
    }
    if let Some((number, length)) = newest {
        state.tail = Tail { number, committed: length, length, open: None };
    }
    recovered.checkpoint.clone_from(&state.checkpoint);
    Ok((state, recovered))
}

fn resume(file: &File, path: &Path, number: u64, limit: u64) -> Result<Option<u64>, SpoolError> {
    frame::resume(file, number, preamble::BYTES, limit).map_err(|source| SpoolError::io("read", path, source))
}

/// What a [`replay`] found.
struct Replayed {
    /// Where the last valid frame ends.
    end: u64,
    /// Where the last batch, or damage in its place, ends.
    committed: u64,
    /// Where the last mark begins: everything before has been synced.
    synced: u64,
    /// The last batch, if no mark follows it: its offset and checksum.
    unmarked: Option<(u64, u32)>,
}

/// Takes the batches' numbers and checkpoints into the state.
fn replay(
    segment: (&File, &Path, u64),
    begin: u64,
    limit: u64,
    state: &mut State,
    recovered: &mut Recovered,
) -> Result<Replayed, SpoolError> {
    let number = segment.2;
    let mut replayed = Replayed { end: begin, committed: begin, synced: begin, unmarked: None };
    replayed.end = segment::walk(segment, begin, limit, |met| match met {
        Met::Batch { batch, begin, end, crc } => {
            state.checkpoint = Some(batch.checkpoint.clone());
            state.sequences.replay(*batch);
            replayed.unmarked = Some((begin, crc));
            replayed.committed = end;
        }
        Met::Mark { begin } => {
            replayed.synced = begin;
            replayed.unmarked = None;
        }
        Met::Damage { begin, end } => {
            state.sequences.skip_damaged(end - begin);
            replayed.committed = end;
            recovered.damage.push(Damage {
                kind: DamageKind::Frames,
                segment: number,
                offset: begin,
                bytes: end - begin,
                end: Position { segment: number, offset: end },
            });
        }
    })?;
    Ok(replayed)
}

/// Makes the newest segment end with a committed batch.
fn mend(
    segment: Segment,
    disk: &dyn Disk,
    origin: &Origin,
    mut recovered: Recovered,
) -> Result<(State, Recovered), SpoolError> {
    let Segment { number, path, file, header, begin } = segment;
    let limit = segment::length(&file, &path)?;
    let mut state = State {
        tail: Tail { number, committed: begin, length: begin, open: None },
        sequences: Sequences::from_header(&header),
        checkpoint: header.checkpoint,
    };
    let Replayed { end, committed, synced, unmarked } =
        replay((&file, &path, number), begin, limit, &mut state, &mut recovered)?;
    recovered.torn_bytes = limit - end;
    (state.tail.committed, state.tail.length) = (committed, end);

    // An earlier sync may have failed and left the pages clean without having written them: written once more, they are
    // dirty, and the next sync says the truth about them.
    let bytes = read(&file, synced, end).map_err(|source| SpoolError::io("read", &path, source))?;
    disk.write(&file, &bytes, synced).map_err(|source| SpoolError::io("write", &path, source))?;
    if limit > end {
        disk.truncate(&file, end).map_err(|source| SpoolError::io("truncate", &path, source))?;
    }
    if unmarked.is_some() || limit > end {
        disk.sync(&file).map_err(|source| SpoolError::io("sync", &path, source))?;
    }
    if let Some((batch, crc)) = unmarked {
        let mark = frame::encode_mark(batch, crc, number, end);
        disk.write(&file, &mark, end).map_err(|source| SpoolError::io("write", &path, source))?;
        state.tail.length += mark.len() as u64;
    }

    if header.origin.boot != origin.boot {
        state.sequences = Sequences::default();
        state.checkpoint = None;
    }
    if header.origin == *origin {
        state.tail.open = Some(OpenTail { file, path });
    }
    recovered.checkpoint.clone_from(&state.checkpoint);
    Ok((state, recovered))
}

fn read(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).expect("a segment fits into memory")];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}
