//! The agent's side: see "Commit" and "Failure" in the crate's documentation.

use std::path::Path;

use crate::definitions::{Defined, Definitions};
use crate::disk::{Disk, Os};
use crate::envelope::{Header, StoredBatch, encode_batch};
use crate::error::SpoolError;
use crate::folder::Folder;
use crate::frame;
use crate::lock::{Lock, Role};
use crate::message::{Checkpoint, Origin, Record};
use crate::recovery::{OpenTail, Recovered, State, Tail, recover};
use crate::segment::{self, Segment};
use crate::sequences::Sequences;

/// How much the spool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// Bytes of all segments together that are never passed; at least twice `segment_bytes`, so that there is always
    /// room for a batch once the reader has caught up.
    pub max_bytes: u64,
    /// Bytes at which a segment ends, 4 KiB to 1 GiB. Also bounds a batch.
    pub segment_bytes: u64,
}

impl WriterOptions {
    const SMALLEST_SEGMENT: u64 = 4 << 10;
    const LARGEST_SEGMENT: u64 = 1 << 30;
    const USUAL_SEGMENT: u64 = 64 << 20;

    /// Segments of 64 MiB, or less where the spool is small.
    pub fn with_max_bytes(max_bytes: u64) -> Self {
        Self { max_bytes, segment_bytes: Self::USUAL_SEGMENT.min(max_bytes / 8).max(Self::SMALLEST_SEGMENT) }
    }

    fn check(&self) -> Result<(), SpoolError> {
        let Self { max_bytes, segment_bytes } = *self;
        let (least, most) = (Self::SMALLEST_SEGMENT, Self::LARGEST_SEGMENT);
        let problem = if !(least..=most).contains(&segment_bytes) {
            format!("segment_bytes is {segment_bytes}, expected {least} to {most}")
        } else if max_bytes / 2 < segment_bytes {
            format!("max_bytes is {max_bytes}, expected at least twice segment_bytes ({segment_bytes})")
        } else {
            return Ok(());
        };
        Err(SpoolError::Options { problem })
    }
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    /// Records that were committed.
    pub records: u64,
    /// Bytes that were added on disk.
    pub bytes: u64,
    /// Whether it is the first of a segment.
    pub begins_segment: bool,
    /// A write or sync that failed on the way and was worked around: the batch is durable, the disk deserves a look.
    pub worked_around: Option<SpoolError>,
}

/// The one writer of a spool.
pub struct Writer {
    folder: Folder,
    disk: Box<dyn Disk>,
    options: WriterOptions,
    origin: Origin,
    tail: Tail,
    defined: Defined,
    sequences: Sequences,
    checkpoint: Option<Checkpoint>,
    /// At least the bytes on disk, for the reader only removes; `None` where it must be looked up.
    bytes_at_most: Option<u64>,
    _lock: Lock,
}

/// How a commit to one segment failed.
enum Failure {
    /// As if it had not been tried.
    Nothing(SpoolError),
    /// The segment is closed; another one may do.
    NotSynced(SpoolError),
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Self {
        Self::Nothing(error)
    }
}

/// A batch as it will stand in a segment.
struct Encoded {
    head: StoredBatch,
    frame: Vec<u8>,
    crc: u32,
}

impl Encoded {
    /// Bytes with the mark.
    fn bytes(&self) -> u64 {
        self.frame.len() as u64 + frame::MARK_BYTES
    }
}

impl Writer {
    /// Opens the spool for the one writer, making the folder where it is missing, and recovers from whatever moment the
    /// last writer ended at. A different origin begins a new segment with the first commit; a different boot begins new
    /// sequences.
    pub fn open(dir: &Path, options: WriterOptions, origin: Origin) -> Result<(Self, Recovered), SpoolError> {
        Self::open_on(Box::new(Os), dir, options, origin)
    }

    pub(crate) fn open_on(
        disk: Box<dyn Disk>,
        dir: &Path,
        options: WriterOptions,
        origin: Origin,
    ) -> Result<(Self, Recovered), SpoolError> {
        options.check()?;
        let folder = Folder::new(dir);
        folder.make(&*disk)?;
        let lock = Lock::take(&folder, Role::Writer)?;
        let (State { tail, sequences, checkpoint }, recovered) = recover(&folder, &*disk, &origin)?;
        let writer = Self {
            folder,
            disk,
            options,
            origin,
            tail,
            defined: Defined::default(),
            sequences,
            checkpoint,
            bytes_at_most: None,
            _lock: lock,
        };
        Ok((writer, recovered))
    }

    /// Commits the records and the checkpoint together: durable on return, or not there at all. No records with a
    /// changed checkpoint are a commit too.
    ///
    /// Sets each record's `seq`. After an error the same batch may be given again (keep it by giving `&mut records`): it
    /// will not be doubled.
    pub fn commit(
        &mut self,
        mut records: impl AsMut<[Record]>,
        definitions: &dyn Definitions,
        checkpoint: &Checkpoint,
    ) -> Result<Committed, SpoolError> {
        let records = records.as_mut();
        let advance = self.sequences.number(records);
        let segment_before = self.tail.number;
        let mut worked_around = None;
        let bytes = loop {
            match self.try_commit(records, definitions, checkpoint, &mut worked_around) {
                Ok(bytes) => break bytes,
                Err(Failure::NotSynced(error)) if worked_around.is_none() => worked_around = Some(error),
                Err(Failure::NotSynced(error) | Failure::Nothing(error)) => return Err(error),
            }
        };
        self.sequences.advance(advance);
        self.checkpoint = Some(checkpoint.clone());
        let begins_segment = self.tail.number != segment_before;
        Ok(Committed { records: records.len() as u64, bytes, begins_segment, worked_around })
    }

    /// Bytes of all segments on disk now, which the reader may have made fewer.
    pub fn bytes(&self) -> u64 {
        // The folder was readable when it was opened; if it no longer is, the commit says so.
        self.folder.list().map_or(self.bytes_at_most.unwrap_or(0), |listing| listing.bytes)
    }

    /// Tries the segment at hand, or a new one if there is none or no room in it. Returns the bytes added.
    fn try_commit(
        &mut self,
        records: &[Record],
        definitions: &dyn Definitions,
        checkpoint: &Checkpoint,
        worked_around: &mut Option<SpoolError>,
    ) -> Result<u64, Failure> {
        if self.tail.open.is_some() {
            let head = self.defined.head(records, definitions, checkpoint);
            let batch = encode(head, records, self.tail.number, self.tail.length);
            if self.tail.length + batch.bytes() <= self.options.segment_bytes {
                self.make_room(batch.bytes())?;
                self.append(&batch, worked_around)?;
                return Ok(batch.bytes());
            }
        }
        let number = self.tail.number + 1;
        let segment = Segment::encode_head(number, self.header());
        let head = Defined::default().head(records, definitions, checkpoint);
        let batch = encode(head, records, number, segment.len() as u64);
        let bytes = segment.len() as u64 + batch.bytes();
        if bytes > self.options.segment_bytes {
            return Err(SpoolError::BatchTooLarge { bytes, segment_bytes: self.options.segment_bytes }.into());
        }
        self.make_room(bytes)?;
        self.begin_segment(&segment)?;
        self.append(&batch, worked_around)?;
        Ok(bytes)
    }

    fn header(&self) -> Header {
        let (next_seq, first_seq) = self.sequences.to_header();
        Header {
            origin: self.origin.clone(),
            previous_length: self.tail.committed,
            next_seq,
            first_seq,
            checkpoint: self.checkpoint.clone(),
        }
    }

    /// Refuses what would pass the limit.
    fn make_room(&mut self, needed: u64) -> Result<(), SpoolError> {
        let max_bytes = self.options.max_bytes;
        // A segment from under a larger limit can go when the next one has begun: it must not keep that from beginning.
        let excess = self.tail.length.saturating_sub(self.options.segment_bytes);
        let is_passed = |bytes: u64| (bytes + needed).saturating_sub(excess) > max_bytes;
        if self.bytes_at_most.is_none_or(is_passed) {
            let bytes = self.folder.list()?.bytes;
            self.bytes_at_most = Some(bytes);
            if is_passed(bytes) {
                return Err(SpoolError::Full { bytes, needed, max_bytes });
            }
        }
        Ok(())
    }

    /// Makes the next segment, with its header, the one to write to.
    fn begin_segment(&mut self, head: &[u8]) -> Result<(), Failure> {
        let number = self.tail.number + 1;
        let (path, unfinished) = (self.folder.segment(number), self.folder.unfinished_segment(number));
        self.bytes_at_most = None;
        let made = self.disk.create(&unfinished).and_then(|file| {
            self.disk.write(&file, head, 0)?;
            self.disk.sync(&file)?;
            Ok(file)
        });
        let named = made.and_then(|file| match self.disk.rename(&unfinished, &path) {
            // Nobody can say any more that the reader has not seen it: its number is used up.
            Err(error) if path.try_exists().unwrap_or(true) => Ok(Err(error)),
            renamed => renamed.map(|()| Ok(file)),
        });
        let file = named.map_err(|source| {
            // Under this name it is nobody's segment; what cannot be removed now is at the next open.
            let _ = self.disk.remove(&unfinished);
            match self.folder.segments().try_exists() {
                Ok(false) => SpoolError::Removed { path: self.folder.segments().to_owned() },
                _ => SpoolError::io("make segment", &unfinished, source),
            }
        })?;
        self.defined = Defined::default();
        let length = head.len() as u64;
        self.tail = Tail { number, committed: length, length, open: None };
        // From here on the reader may know it: where its name may not be durable, it stays as it is, and the next number
        // is tried.
        let folder = self.folder.segments();
        let file = file
            .and_then(|file| self.disk.sync_folder(folder).map(|()| file))
            .map_err(|source| Failure::NotSynced(SpoolError::io("sync folder", folder, source)))?;
        self.tail.open = Some(OpenTail { file, path });
        Ok(())
    }

    /// Writes the batch behind the committed ones, syncs it and marks it.
    fn append(&mut self, batch: &Encoded, worked_around: &mut Option<SpoolError>) -> Result<(), Failure> {
        let OpenTail { file, path, .. } = self.tail.open.as_ref().expect("a segment has been chosen before");
        let begin = self.tail.length;
        let end = begin + batch.frame.len() as u64;
        if let Err(source) = self.disk.write(file, &batch.frame, begin) {
            let error = SpoolError::io("write", path, source);
            self.bytes_at_most = None;
            if self.disk.truncate(file, begin).is_err() {
                self.tail.open = None;
            }
            return Err(Failure::Nothing(error));
        }
        if let Err(source) = self.disk.sync(file) {
            let error = SpoolError::io("sync", path, source);
            self.close();
            return Err(Failure::NotSynced(error));
        }
        if let Err(error) = segment::refuse_removed(file, path) {
            self.close();
            return Err(Failure::Nothing(error));
        }
        (self.tail.committed, self.tail.length) = (end, end);
        let mark = frame::encode_mark(begin, batch.crc, self.tail.number, end);
        if let Err(source) = self.disk.write(file, &mark, end) {
            // The batch is durable all the same; the next segment's header, or a recovery, says it in the mark's place.
            *worked_around = Some(SpoolError::io("write", path, source));
            self.close();
            return Ok(());
        }
        self.tail.length += frame::MARK_BYTES;
        self.bytes_at_most = self.bytes_at_most.map(|bytes| bytes + batch.bytes());
        self.defined.add(&batch.head);
        Ok(())
    }

    /// Leaves the segment for good, at its committed length. Cutting it only gives back room: the next segment's header
    /// says what is void.
    fn close(&mut self) {
        self.bytes_at_most = None;
        if let Some(OpenTail { file, .. }) = self.tail.open.take() {
            let _ = self.disk.truncate(&file, self.tail.length);
        }
    }
}

fn encode(head: StoredBatch, records: &[Record], segment: u64, offset: u64) -> Encoded {
    let mut frame = vec![0; frame::PREFIX];
    encode_batch(&head, records, &mut frame);
    let crc = frame::seal(&mut frame, segment, offset);
    Encoded { head, frame, crc }
}
