//! A look at a spool from outside: nothing is locked, made or moved by it.

use std::path::Path;
use std::time::SystemTime;

use crate::cursor;
use crate::error::SpoolError;
use crate::folder::Folder;
use crate::lock;
use crate::message::Origin;
use crate::position::Position;
use crate::segment::{Access, Opened, Segment};

/// What is in a spool now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Bytes of all segments.
    pub bytes: u64,
    /// At most so many of them wait for the reader; headers and marks are counted with the batches.
    pub waiting_bytes: u64,
    /// When the newest segment was last written to; `None` where there is no segment.
    pub last_written: Option<SystemTime>,
}

/// Who wrote the newest segment that can be read; `None` where there is no such segment, or no spool.
pub fn newest_origin(dir: &Path) -> Result<Option<Origin>, SpoolError> {
    let folder = Folder::new(dir);
    for &number in folder.list()?.numbers.iter().rev() {
        if let Opened::Ready(segment) = Segment::open(&folder, number, Access::Read)? {
            return Ok(Some(segment.header.origin));
        }
    }
    Ok(None)
}

/// Whether an agent has the spool in this folder open for writing, now.
pub fn has_writer(dir: &Path) -> Result<bool, SpoolError> {
    lock::is_held(&Folder::new(dir), lock::Role::Writer)
}

/// Looks at the spool in a folder that is there, whoever else uses it.
pub fn look(dir: &Path) -> Result<Look, SpoolError> {
    let folder = Folder::new(dir);
    let done = cursor::load(&folder)?.unwrap_or(Position { segment: 0, offset: 0 });
    let mut look = Look { bytes: 0, waiting_bytes: 0, last_written: None };
    for number in folder.list()?.numbers {
        let path = folder.segment(number);
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            // The reader has just removed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SpoolError::io("look at", &path, source)),
        };
        look.bytes += metadata.len();
        look.waiting_bytes += match number.cmp(&done.segment) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => metadata.len().saturating_sub(done.offset),
            std::cmp::Ordering::Greater => metadata.len(),
        };
        look.last_written = metadata.modified().ok();
    }
    Ok(look)
}
