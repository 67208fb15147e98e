//! One segment file: how it begins, and a walk over its frames.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::envelope::{Body, Header, StoredBatch};
use crate::error::SpoolError;
use crate::folder::Folder;
use crate::frame::{self, Frame, Scan};
use crate::preamble::{self, Preamble};

/// A segment with a valid header.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: Box<Header>,
    /// Where the first batch begins.
    pub(crate) begin: u64,
}

/// What is found under a segment's name.
#[derive(Debug)]
pub(crate) enum Opened {
    Absent,
    /// The header is torn or damaged.
    Headless(File, PathBuf),
    Ready(Box<Segment>),
}

/// For whom a segment is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Mend,
}

/// What a [`walk`] meets, in order.
#[derive(Debug)]
pub(crate) enum Met {
    Batch { batch: Box<StoredBatch>, begin: u64, end: u64, crc: u32 },
    Mark { begin: u64 },
    Damage { begin: u64, end: u64 },
}

impl Segment {
    pub(crate) fn open(folder: &Folder, number: u64, access: Access) -> Result<Opened, SpoolError> {
        let path = folder.segment(number);
        let file = match OpenOptions::new().read(true).write(access == Access::Mend).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Absent),
            Err(source) => return Err(SpoolError::io("open", &path, source)),
        };
        match preamble::read(&file, &path)? {
            Preamble::Bad => return Ok(Opened::Headless(file, path)),
            Preamble::Good => {}
        }
        let limit = length(&file, &path)?;
        Ok(match scan(&file, &path, number, preamble::BYTES, limit)? {
            Scan::Frame(Frame { body: Body::Header(header), end, .. }) => {
                Opened::Ready(Box::new(Self { number, path, file, header, begin: end }))
            }
            _ => Opened::Headless(file, path),
        })
    }

    /// The bytes with which a segment begins, up to its first batch.
    pub(crate) fn encode_head(number: u64, header: Header) -> Vec<u8> {
        let mut head = preamble::OURS.to_vec();
        head.extend(frame::encode(Body::Header(Box::new(header)), number, preamble::BYTES));
        head
    }

    /// Reads the frame at an offset; see [`frame::scan`].
    pub(crate) fn scan(&self, offset: u64, limit: u64) -> Result<Scan, SpoolError> {
        scan(&self.file, &self.path, self.number, offset, limit)
    }

    /// Finds valid frames behind a bad place; see [`frame::resume`].
    pub(crate) fn resume(&self, from: u64, limit: u64) -> Result<Option<u64>, SpoolError> {
        frame::resume(&self.file, self.number, from, limit).map_err(|source| SpoolError::io("read", &self.path, source))
    }

    /// Refuses a segment that has no name any more. Whoever removes those that are done leaves the newest.
    pub(crate) fn refuse_removed(&self) -> Result<(), SpoolError> {
        refuse_removed(&self.file, &self.path)
    }

    /// Bytes in the file now.
    pub(crate) fn length(&self) -> Result<u64, SpoolError> {
        length(&self.file, &self.path)
    }
}

/// Refuses a file that has no name any more: nobody would ever find what is written to it.
pub(crate) fn refuse_removed(file: &File, path: &Path) -> Result<(), SpoolError> {
    let metadata = file.metadata().map_err(|source| SpoolError::io("look at", path, source))?;
    if metadata.nlink() == 0 { Err(SpoolError::Removed { path: path.to_owned() }) } else { Ok(()) }
}

/// Bytes in the file now.
pub(crate) fn length(file: &File, path: &Path) -> Result<u64, SpoolError> {
    Ok(file.metadata().map_err(|source| SpoolError::io("look at", path, source))?.len())
}

fn scan(file: &File, path: &Path, number: u64, offset: u64, limit: u64) -> Result<Scan, SpoolError> {
    match frame::scan(file, number, offset, limit).map_err(|source| SpoolError::io("read", path, source))? {
        Scan::Newer => Err(SpoolError::NewerRecord { path: path.to_owned(), offset }),
        other => Ok(other),
    }
}

/// Shows every valid frame from an offset on, stepping over damage to where a mark proves that frames follow. Returns
/// where the last valid frame ends.
pub(crate) fn walk(
    (file, path, number): (&File, &Path, u64),
    mut offset: u64,
    limit: u64,
    mut meet: impl FnMut(Met),
) -> Result<u64, SpoolError> {
    loop {
        match scan(file, path, number, offset, limit)? {
            Scan::Frame(Frame { body: Body::Batch(batch), crc, end }) => {
                meet(Met::Batch { batch, begin: offset, end, crc });
                offset = end;
            }
            Scan::Frame(Frame { body: Body::Mark(_), end, .. }) => {
                meet(Met::Mark { begin: offset });
                offset = end;
            }
            Scan::End => return Ok(offset),
            Scan::Bad | Scan::Newer | Scan::Frame(_) => {
                let resumed = frame::resume(file, number, offset, limit);
                match resumed.map_err(|source| SpoolError::io("read", path, source))? {
                    Some(end) => {
                        meet(Met::Damage { begin: offset, end });
                        offset = end;
                    }
                    None => return Ok(offset),
                }
            }
        }
    }
}
