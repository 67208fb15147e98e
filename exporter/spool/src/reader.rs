//! The exporter's side.

use std::path::Path;
use std::sync::Arc;

use crate::cursor;
use crate::definitions::SegmentDefinitions;
use crate::disk::{Disk, Os};
use crate::envelope::{Body, Mark, StoredBatch};
use crate::error::{Damage, DamageKind, SpoolError};
use crate::folder::Folder;
use crate::frame::{Frame, Scan};
use crate::lock::{Lock, Role};
use crate::message::{Origin, Record};
use crate::position::Position;
use crate::segment::{self, Access, Met, Opened, Segment};

/// What one commit wrote.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Who wrote it.
    pub origin: Arc<Origin>,
    /// What the records refer to; see [`SegmentDefinitions`].
    pub definitions: Arc<SegmentDefinitions>,
    /// The records, in the order of their sequence numbers; none where only the checkpoint moved.
    pub records: Vec<Record>,
    /// What to give to [`Reader::done`] when the records are in the store.
    pub end: Position,
    /// Bytes that it takes in the spool.
    pub bytes: u64,
}

/// The one reader of a spool. It opens segments only for reading, so that it may run as another user than the writer,
/// as a member of the folder's group.
pub struct Reader {
    folder: Folder,
    disk: Box<dyn Disk>,
    /// Where the next batch is looked for; `None` until there is a first segment.
    at: Option<Position>,
    /// What was marked done last, whose segments have been removed.
    done: Option<Position>,
    current: Option<Current>,
    _lock: Lock,
}

/// The segment that is being read.
struct Current {
    segment: Box<Segment>,
    origin: Arc<Origin>,
    definitions: Arc<SegmentDefinitions>,
    /// Where its committed batches end, known once the next segment is there. Until then only marks tell.
    sealed: Option<u64>,
}

/// What there is at an offset of the current segment.
enum Step {
    Batch { batch: Box<StoredBatch>, end: u64 },
    Pass { end: u64 },
    Damage { end: u64 },
    Nothing,
}

impl Reader {
    /// Opens the spool for the one reader, behind the last position marked done, else at the oldest segment.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        Self::open_on(Box::new(Os), dir)
    }

    pub(crate) fn open_on(disk: Box<dyn Disk>, dir: &Path) -> Result<Self, SpoolError> {
        let folder = Folder::new(dir);
        folder.make_exporter()?;
        let lock = Lock::take(&folder, Role::Reader)?;
        let done = cursor::load(&folder)?;
        Ok(Self { folder, disk, at: done, done, current: None, _lock: lock })
    }

    /// The next committed batch, or `None` when there is nothing more now.
    ///
    /// After [`SpoolError::Damage`] the next call goes on behind the damage; after any other error it tries again.
    #[expect(clippy::should_implement_trait, reason = "an iterator that ends may not begin again; this one does")]
    pub fn next(&mut self) -> Result<Option<Batch>, SpoolError> {
        loop {
            let done = self.done;
            let Some((current, at)) = self.enter()? else { return Ok(None) };
            let offset = at.offset;
            match current.step(offset)? {
                Step::Batch { mut batch, end } => {
                    at.offset = end;
                    SegmentDefinitions::learn(&mut current.definitions, &mut batch);
                    return Ok(Some(Batch {
                        origin: Arc::clone(&current.origin),
                        definitions: Arc::clone(&current.definitions),
                        records: batch.entries.into_iter().filter_map(|entry| entry.record).collect(),
                        end: *at,
                        bytes: end - offset,
                    }));
                }
                Step::Pass { end } => at.offset = end,
                Step::Damage { end } => {
                    at.offset = end;
                    let (segment, bytes) = (at.segment, end - offset);
                    return Err(Damage { kind: DamageKind::Frames, segment, offset, bytes, end: *at }.into());
                }
                Step::Nothing => {
                    // One that is done may have gone with what is done before it.
                    if done.is_none_or(|done| done.segment <= at.segment) {
                        current.segment.refuse_removed()?;
                    }
                    if !self.leave()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Durably remembers that everything up to this position, which [`Self::next`] gave, is in the store. Removes the
    /// segments that lie wholly before it, but never the newest. After an error the same position may be given again; one before
    /// the last that was done changes nothing.
    pub fn done(&mut self, position: Position) -> Result<(), SpoolError> {
        if self.at.is_none_or(|at| position > at) {
            return Err(SpoolError::NotRead { position });
        }
        if self.done.is_some_and(|done| position <= done) {
            return Ok(());
        }
        let position = self.past_sealed(position)?;
        let numbers = self.folder.list()?.numbers;
        let before: Vec<u64> = numbers.into_iter().filter(|&number| number < position.segment).collect();
        if !before.is_empty() {
            // The segment that stays must be on the disk before those go: the writer may be about to sync the folder.
            let folder = self.folder.segments();
            self.disk.sync_folder(folder).map_err(|source| SpoolError::io("sync folder", folder, source))?;
        }
        cursor::store(&self.folder, &*self.disk, position)?;
        for number in before {
            let path = self.folder.segment(number);
            self.disk.remove(&path).map_err(|source| SpoolError::io("remove", &path, source))?;
        }
        self.done = Some(position);
        Ok(())
    }

    /// Bytes of all segments on disk now.
    pub fn bytes(&self) -> Result<u64, SpoolError> {
        Ok(self.folder.list()?.bytes)
    }

    /// The same place as the beginning of the next segment, where the position is the end of one.
    fn past_sealed(&self, position: Position) -> Result<Position, SpoolError> {
        let next = Position { segment: position.segment + 1, offset: 0 };
        Ok(match Segment::open(&self.folder, next.segment, Access::Read)? {
            Opened::Ready(segment) if segment.header.previous_length <= position.offset => next,
            _ => position,
        })
    }

    /// The segment to read from, with the definitions up to the place where reading goes on; `None` where there is no
    /// segment yet.
    fn enter(&mut self) -> Result<Option<(&mut Current, &mut Position)>, SpoolError> {
        if self.current.is_none() {
            // The listing comes before the opening: a segment that is missing then, with a later one listed, is gone.
            let numbers = self.folder.list()?.numbers;
            let (Some(&oldest), Some(&newest)) = (numbers.first(), numbers.last()) else { return Ok(None) };
            let at = self.at.get_or_insert(Position { segment: oldest, offset: 0 });
            if at.segment > newest {
                let path = self.folder.cursor();
                return Err(SpoolError::CursorAhead { path, cursor: at.segment, newest });
            }
            match Segment::open(&self.folder, at.segment, Access::Read)? {
                Opened::Ready(segment) => self.current = Some(Current::new(segment, at)?),
                // It is being made, or its maker died: see Recovery in the crate's documentation.
                Opened::Absent | Opened::Headless(..) if at.segment == newest => return Ok(None),
                Opened::Absent => return Err(pass_over(at, DamageKind::Missing, 0).into()),
                Opened::Headless(file, path) => {
                    let bytes = segment::length(&file, &path)?;
                    return Err(pass_over(at, DamageKind::Header, bytes).into());
                }
            }
        }
        Ok(self.current.as_mut().zip(self.at.as_mut()))
    }

    /// Called where nothing more is committed in the current segment as far as is known: finds out more, or goes to the
    /// next one. `false` where there is no next one.
    fn leave(&mut self) -> Result<bool, SpoolError> {
        let (Some(current), Some(at)) = (&mut self.current, &mut self.at) else { return Ok(false) };
        let next = current.segment.number + 1;
        if current.sealed.is_some() {
            *at = Position { segment: next, offset: 0 };
            self.current = None;
            return Ok(true);
        }
        let newest = self.folder.list()?.numbers.last().copied().unwrap_or(0);
        current.sealed = match Segment::open(&self.folder, next, Access::Read)? {
            Opened::Ready(segment) => Some(segment.header.previous_length),
            Opened::Absent | Opened::Headless(..) if newest <= next => return Ok(false),
            // Nobody can say any more where this one ended: all that is valid in it counts.
            Opened::Absent | Opened::Headless(..) => Some(current.segment.length()?),
        };
        Ok(true)
    }
}

/// Steps over a whole segment.
fn pass_over(at: &mut Position, kind: DamageKind, bytes: u64) -> Damage {
    let segment = at.segment;
    *at = Position { segment: segment + 1, offset: 0 };
    Damage { kind, segment, offset: 0, bytes, end: *at }
}

impl Current {
    /// Collects the definitions of the batches before the position, which have been read in an earlier life.
    fn new(segment: Box<Segment>, at: &mut Position) -> Result<Self, SpoolError> {
        at.offset = at.offset.max(segment.begin);
        let mut definitions = Arc::default();
        let place = (&segment.file, segment.path.as_path(), segment.number);
        segment::walk(place, segment.begin, at.offset, |met| match met {
            Met::Batch { mut batch, .. } => SegmentDefinitions::learn(&mut definitions, &mut batch),
            // Damage has been reported when it was passed the first time.
            Met::Mark { .. } | Met::Damage { .. } => {}
        })?;
        Ok(Self { origin: Arc::new(segment.header.origin.clone()), segment, definitions, sealed: None })
    }

    fn step(&self, offset: u64) -> Result<Step, SpoolError> {
        if let Some(sealed) = self.sealed {
            return self.step_sealed(offset, sealed);
        }
        if let Some(step) = self.step_marked(offset, false)? {
            return Ok(step);
        }
        // The bytes were looked at before the mark that follows them, and the writer may have replaced them in between.
        // What stands before a mark that has been seen does not change any more: look again.
        Ok(self.step_marked(offset, true)?.unwrap_or(Step::Nothing))
    }

    /// All bytes up to `sealed` are final.
    fn step_sealed(&self, offset: u64, sealed: u64) -> Result<Step, SpoolError> {
        Ok(match self.segment.scan(offset, sealed)? {
            Scan::End => Step::Nothing,
            Scan::Frame(Frame { body: Body::Batch(batch), end, .. }) => Step::Batch { batch, end },
            Scan::Frame(Frame { body: Body::Mark(_), end, .. }) => Step::Pass { end },
            _ => {
                let limit = sealed.min(self.segment.length()?);
                Step::Damage { end: self.segment.resume(offset, limit)?.unwrap_or(sealed) }
            }
        })
    }

    /// Only what a mark follows is final. `None` where that depends on bytes that may have been replaced since they were
    /// read; never so where `settled` says that a mark behind them has been seen before.
    fn step_marked(&self, offset: u64, settled: bool) -> Result<Option<Step>, SpoolError> {
        let limit = self.segment.length()?;
        Ok(match self.segment.scan(offset, limit)? {
            Scan::End => Some(Step::Nothing),
            Scan::Frame(Frame { body: Body::Batch(batch), crc, end }) => match self.segment.scan(end, limit)? {
                Scan::Frame(Frame { body: Body::Mark(Mark { offset: of, crc: Some(its) }), end, .. })
                    if (of, its) == (offset, crc) =>
                {
                    Some(Step::Batch { batch, end })
                }
                _ => match self.segment.resume(end, limit)? {
                    None => Some(Step::Nothing),
                    Some(_) => settled.then_some(Step::Batch { batch, end }),
                },
            },
            Scan::Frame(Frame { body: Body::Mark(_), end, .. }) => Some(Step::Pass { end }),
            _ => match self.segment.resume(offset, limit)? {
                None => Some(Step::Nothing),
                Some(end) => settled.then_some(Step::Damage { end }),
            },
        })
    }
}
