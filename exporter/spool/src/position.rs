//! A place between two batches.

use std::fmt;

/// A place in the spool between two batches, ordered as they were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Position {
    /// The place with these numbers, which are those of a position that the reader once gave.
    pub fn new(segment: u64, offset: u64) -> Self {
        Self { segment, offset }
    }

    /// The segment's number, from 1.
    pub fn segment(self) -> u64 {
        self.segment
    }

    /// Bytes from the beginning of the segment.
    pub fn offset(self) -> u64 {
        self.offset
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.segment, self.offset)
    }
}
