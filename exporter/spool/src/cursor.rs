//! How far the reader is done, kept durably.

use std::fs::File;
use std::io;

use crate::disk::Disk;
use crate::envelope::{Body, Cursor};
use crate::error::SpoolError;
use crate::folder::Folder;
use crate::frame::{self, Frame, Scan};
use crate::position::Position;
use crate::preamble::{self, Preamble};
use crate::segment;

/// Stands for the segment's number in the checksum of a cursor's frame.
const NO_SEGMENT: u64 = 0;

/// The position that was stored last, `None` if none was.
pub(crate) fn load(folder: &Folder) -> Result<Option<Position>, SpoolError> {
    let path = folder.cursor();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SpoolError::io("open", &path, source)),
    };
    if matches!(preamble::read(&file, &path)?, Preamble::Good) {
        let scanned = frame::scan(&file, NO_SEGMENT, preamble::BYTES, segment::length(&file, &path)?);
        if let Scan::Frame(Frame { body: Body::Cursor(Cursor { segment, offset }), .. }) =
            scanned.map_err(|source| SpoolError::io("read", &path, source))?
        {
            return Ok(Some(Position { segment, offset }));
        }
    }
    Err(SpoolError::CursorDamaged { path })
}

/// Replaces the stored position: the old one or the new one is there at any moment.
pub(crate) fn store(folder: &Folder, disk: &dyn Disk, position: Position) -> Result<(), SpoolError> {
    let (path, fresh) = (folder.cursor(), folder.cursor().with_extension("tmp"));
    let mut bytes = preamble::OURS.to_vec();
    let cursor = Cursor { segment: position.segment, offset: position.offset };
    bytes.extend(frame::encode(Body::Cursor(cursor), NO_SEGMENT, preamble::BYTES));
    let file = disk.create(&fresh).map_err(|source| SpoolError::io("create", &fresh, source))?;
    disk.write(&file, &bytes, 0).map_err(|source| SpoolError::io("write", &fresh, source))?;
    disk.sync(&file).map_err(|source| SpoolError::io("sync", &fresh, source))?;
    disk.rename(&fresh, &path).map_err(|source| SpoolError::io("rename to", &path, source))?;
    disk.sync_folder(folder.exporter()).map_err(|source| SpoolError::io("sync folder", folder.exporter(), source))
}
