//! Frames: `length u32 LE | crc32c u32 LE | payload`. The checksum covers the frame's place (segment number and
//! offset, u64 LE each), the length and the payload; the payload is never empty.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use prost::Message as _;

use crate::envelope::{Body, Envelope, Mark};

/// Bytes of a frame before its payload.
pub(crate) const PREFIX: usize = 8;
const MARK_PAYLOAD: u32 = 16;
/// Bytes of a frame that holds a [`Mark`].
pub(crate) const MARK_BYTES: u64 = PREFIX as u64 + MARK_PAYLOAD as u64;

/// What stands at an offset.
#[derive(Debug)]
pub(crate) enum Scan {
    /// The limit has been reached.
    End,
    /// No whole, valid frame: torn, damaged, or being written.
    Bad,
    /// A valid frame whose kind, or a record in it, a newer program has added.
    Newer,
    /// A valid frame.
    Frame(Frame),
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) body: Body,
    pub(crate) crc: u32,
    /// Where the next frame begins.
    pub(crate) end: u64,
}

fn checksum(segment: u64, offset: u64, length: [u8; 4], payload: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(place, &length), payload)
}

/// Fills in the prefix of a buffer that has [`PREFIX`] bytes of room and then the payload. Gives the checksum.
pub(crate) fn seal(buffer: &mut [u8], segment: u64, offset: u64) -> u32 {
    let (prefix, payload) = buffer.split_at_mut(PREFIX);
    let length = u32::try_from(payload.len()).expect("segments are smaller than 4 GiB").to_le_bytes();
    let crc = checksum(segment, offset, length, payload);
    prefix[..4].copy_from_slice(&length);
    prefix[4..].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// The frame that holds this body at this place.
pub(crate) fn encode(body: Body, segment: u64, offset: u64) -> Vec<u8> {
    let mut buffer = vec![0; PREFIX];
    buffer.extend(body.into_payload());
    seal(&mut buffer, segment, offset);
    buffer
}

/// The frame that says that the batch at `batch` with this checksum is committed.
pub(crate) fn encode_mark(batch: u64, crc: u32, segment: u64, offset: u64) -> Vec<u8> {
    encode(Body::Mark(Mark { offset: batch, crc: Some(crc) }), segment, offset)
}

/// Reads the frame at an offset, looking at no byte from `limit` on.
pub(crate) fn scan(file: &File, segment: u64, offset: u64, limit: u64) -> io::Result<Scan> {
    if offset >= limit {
        return Ok(Scan::End);
    }
    let mut prefix = [0; PREFIX];
    if !read_whole(file, &mut prefix, offset, limit)? {
        return Ok(Scan::Bad);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = prefix;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let crc = u32::from_le_bytes([c0, c1, c2, c3]);
    let begin = offset + PREFIX as u64;
    if length == 0 || u64::from(length) > limit.saturating_sub(begin) {
        return Ok(Scan::Bad);
    }
    let mut payload = vec![0; length as usize];
    if !read_whole(file, &mut payload, begin, limit)? || checksum(segment, offset, [l0, l1, l2, l3], &payload) != crc {
        return Ok(Scan::Bad);
    }
    let Ok(envelope) = Envelope::decode(payload.as_slice()) else { return Ok(Scan::Bad) };
    let end = begin + u64::from(length);
    Ok(match envelope.body {
        None => Scan::Newer,
        Some(Body::Batch(batch)) if batch.entries.iter().any(|entry| entry.record.is_none()) => Scan::Newer,
        Some(body) => Scan::Frame(Frame { body, crc, end }),
    })
}

/// Whether that much is there. The file may be cut by the writer while it is read.
fn read_whole(file: &File, buffer: &mut [u8], offset: u64, limit: u64) -> io::Result<bool> {
    if limit.saturating_sub(offset) < buffer.len() as u64 {
        return Ok(false);
    }
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where frames are valid again behind a bad place: at the first mark from `from` on, or at the batch that this mark
/// belongs to. `None` says that nothing from there on was ever committed, as far as the bytes can tell.
pub(crate) fn resume(file: &File, segment: u64, from: u64, limit: u64) -> io::Result<Option<u64>> {
    let mut rest = vec![0; usize::try_from(limit.saturating_sub(from)).unwrap_or(usize::MAX)];
    if !read_whole(file, &mut rest, from, limit)? {
        return Ok(None);
    }
    let length = MARK_PAYLOAD.to_le_bytes();
    for (index, _) in rest.windows(length.len()).enumerate().filter(|(_, window)| *window == length) {
        let at = from + index as u64;
        let Scan::Frame(Frame { body: Body::Mark(mark), .. }) = scan(file, segment, at, limit)? else { continue };
        if mark.offset >= from
            && let Scan::Frame(Frame { body: Body::Batch(_), end, .. }) = scan(file, segment, mark.offset, at)?
            && end == at
        {
            return Ok(Some(mark.offset));
        }
        return Ok(Some(at));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_the_length_that_the_search_looks_for_whatever_it_holds() {
        for (offset, crc) in [(1, 0), (u64::MAX, u32::MAX), (8, 1)] {
            assert_eq!(encode_mark(offset, crc, 1, 1).len() as u64, MARK_BYTES);
        }
    }
}
