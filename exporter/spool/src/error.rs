//! What can go wrong, and what is found wrong on the disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::position::Position;

/// Why the spool could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The agent has not made the folder yet.
    #[error("spool folder {path} does not exist; it is made by the agent when it starts")]
    Absent {
        /// The spool's folder.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process holds the one writer's or the one reader's place.
    #[error("another {role} has the spool {path} open; stop it, or give this one a spool of its own")]
    Locked {
        /// `agent` (the writer) or `exporter` (the reader).
        role: &'static str,
        /// The spool's folder.
        path: PathBuf,
    },
    /// The options do not fit together.
    #[error("spool options are impossible: {problem}")]
    Options {
        /// Which, and what was expected.
        problem: String,
    },
    /// The batch would pass the limit. Nothing was written; it will fit when the reader has reclaimed.
    #[error(
        "the spool is full: {bytes} bytes on disk and {needed} more would pass the limit of {max_bytes}; the exporter must catch up"
    )]
    Full {
        /// Bytes of all segments on disk now.
        bytes: u64,
        /// Bytes that the batch would have added.
        needed: u64,
        /// [`WriterOptions::max_bytes`](crate::WriterOptions::max_bytes).
        max_bytes: u64,
    },
    /// Somebody has removed the segment that is written to or read, or the folder with it. What was written to it, and not
    /// read yet, is lost; a batch was not committed. Only a spool that is opened anew takes and gives more.
    #[error("{path} was removed by somebody else: what was in it and not in the store yet is lost")]
    Removed {
        /// The segment, or the folder of segments.
        path: PathBuf,
    },
    /// The batch can never fit. Nothing was written.
    #[error("a batch of {bytes} bytes does not fit into a segment of {segment_bytes}; split it")]
    BatchTooLarge {
        /// Bytes that a fresh segment with this batch alone would have.
        bytes: u64,
        /// [`WriterOptions::segment_bytes`](crate::WriterOptions::segment_bytes).
        segment_bytes: u64,
    },
    /// Committed bytes are unreadable or gone. The reader has stepped past them: the next call goes on behind.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The segment was written in a newer format. Nothing is skipped.
    #[error("{path} has spool format {found}, this program knows {supported}; upgrade it")]
    NewerFormat {
        /// The segment or cursor file.
        path: PathBuf,
        /// The version in the file.
        found: u8,
        /// The version that this program reads.
        supported: u8,
    },
    /// A newer agent has written a kind of record that this program does not know. Nothing is skipped.
    #[error("{path} has a record at byte {offset} of a kind that this program does not know; upgrade it")]
    NewerRecord {
        /// The segment file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
    /// The reader's cursor file is unreadable.
    #[error(
        "the cursor {path} is damaged; remove it to read again from the oldest segment, which repeats what was exported from there"
    )]
    CursorDamaged {
        /// The cursor file.
        path: PathBuf,
    },
    /// The reader's cursor is in a segment that is newer than any there is.
    #[error(
        "the cursor {path} is in segment {cursor} but the newest is {newest}; if the segments were removed on purpose, remove the cursor too"
    )]
    CursorAhead {
        /// The cursor file.
        path: PathBuf,
        /// The cursor's segment.
        cursor: u64,
        /// The newest segment.
        newest: u64,
    },
    /// The position was not given out by this reader.
    #[error("position {position} has not been read yet and cannot be done")]
    NotRead {
        /// What was asked to be marked done.
        position: Position,
    },
}

impl SpoolError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Committed bytes of the spool that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spool damage: {kind} in segment {segment}, {bytes} bytes from byte {offset}")]
pub struct Damage {
    /// What is wrong.
    pub kind: DamageKind,
    /// The segment's number.
    pub segment: u64,
    /// The first byte that is unreadable.
    pub offset: u64,
    /// How many bytes were passed over; 0 where the segment is missing.
    pub bytes: u64,
    /// Where reading goes on; may be given to [`Reader::done`](crate::Reader::done).
    pub end: Position,
}

/// What is wrong with a damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Frames whose checksum is wrong.
    Frames,
    /// A segment that cannot be read at all because its header is unreadable.
    Header,
    /// A segment that is not there, though a later one is.
    Missing,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Frames => "unreadable frames",
            Self::Header => "unreadable header",
            Self::Missing => "file missing",
        })
    }
}
