//! The first eight bytes of each file of the spool: whose it is and in which version.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::error::SpoolError;

/// What this program writes: the spool's name, and the version in the last byte.
pub(crate) const OURS: [u8; 8] = *b"PWSPOOL\x01";
/// Bytes before the first frame.
pub(crate) const BYTES: u64 = OURS.len() as u64;

#[derive(Debug)]
pub(crate) enum Preamble {
    Good,
    /// Torn, damaged or not the spool's.
    Bad,
}

/// Refuses a version that this program does not know: guessing would lose records.
pub(crate) fn read(file: &File, path: &Path) -> Result<Preamble, SpoolError> {
    let mut bytes = [0; OURS.len()];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Preamble::Bad),
        Err(source) => return Err(SpoolError::io("read", path, source)),
    }
    let ([magic @ .., found], [our_magic @ .., supported]) = (bytes, OURS);
    // There was no version 0: a byte that never reached the disk reads so.
    if magic != our_magic || found == 0 {
        return Ok(Preamble::Bad);
    }
    if found > supported {
        return Err(SpoolError::NewerFormat { path: path.to_owned(), found, supported });
    }
    Ok(Preamble::Good)
}
