//! The spool between the agent, which writes it, and the exporter, which reads it: a folder of checksummed segments.
//!
//! # What holds
//!
//! 1. A batch is committed as a whole and durably, together with its checkpoint, or not at all.
//! 2. The reader gets every committed batch once, in the order of the commits, and nothing else: neither half a batch
//!    nor one whose commit failed, whatever the writer is doing at that moment and wherever it was killed.
//! 3. `seq` runs from 1 without a hole per boot: for the verdicts of each namespace, for coverage and for policies. A
//!    number is not used twice even after damage: then there is a hole, which shows the loss.
//! 4. A segment can be read without the ones before it: it has its own header and its own definitions.
//! 5. A file that has been under a segment's name with a valid header is never replaced, and its number never reused.
//! 6. The writer never removes a segment with a valid header, the reader never the newest; nobody else removes any.
//! 7. Committed bytes that cannot be read are reported with their place, never stepped over silently.
//! 8. A batch is not committed to a segment that somebody has removed.
//!
//! # On disk, version 1
//!
//! ```text
//! <spool>/agent.lock, exporter.lock     flock of the one writer, the one reader
//! <spool>/segments/<16 digits>.seg      segments, numbered from 1 without a gap; <16 digits>.tmp while being made
//! <spool>/exporter/cursor               how far the reader is done; cursor.tmp while being made
//!
//! segment  = preamble  frame(header)  { frame(batch)  frame(mark) }
//! cursor   = preamble  frame(cursor)
//! preamble = "PWSPOOL"  version u8
//! frame    = length u32 LE  crc32c u32 LE  payload of that length, never 0
//! crc32c   over  segment number u64 LE (0 for the cursor)  offset of the frame u64 LE  length u32 LE  payload
//! payload  = protobuf message `Envelope` (src/envelope.rs), one of header, batch, mark, cursor
//! ```
//!
//! The checksum covers the frame's place, so that no bytes are valid anywhere but where they were written.
//!
//! **Commit.** The batch is written behind the last committed one and synced; then the *mark* is written, with the
//! batch's offset and checksum, and not synced. The reader takes a batch only if a mark at or behind its end is there,
//! or if the next segment's header says that it lies within this segment's committed length. So a batch that was
//! written but whose sync failed is never taken, and may be written again elsewhere.
//!
//! **Failure.** After a failed write the segment is cut back to its committed length; where that fails too, the segment
//! is closed. After a failed sync the segment is always closed: the kernel may have dropped the pages and call them
//! clean. The next segment's header states the committed length of the closed one; what lies behind it is void.
//!
//! **A new segment** is made under the temporary name with its header, synced, renamed, and the folder synced.
//!
//! **Recovery** syncs the folder and reads the newest segment: the header has the state before it, the batches have the rest. A last batch
//! without a mark is valid, but may never have been synced: it is written once more in place, synced and marked.
//! What follows the last valid frame is a torn tail, and is cut. A newest segment that has neither a valid header nor a
//! mark is removed, and the one before is read. Where there is no segment the numbers go on behind the cursor. So a batch whose commit failed may be committed by a recovery, if the
//! writer died before it wrote anything else; its checkpoint is then the recovered one.
//!
//! **Damage** is an invalid frame with a valid mark behind it, or any invalid byte within the length that the next
//! segment's header states. Reading goes on at the next mark, or its batch. The very last batch, damaged together with
//! its mark while no segment follows, cannot be told from a torn tail: it is counted as one, and the checkpoint goes back.
//!
//! **Definitions** stand in the batch that first refers to them in their segment, and hold from that batch on. For an
//! id that the writer was not given a definition for, there is none, and the column is null.
//!
//! **Trails**, what namespaces ask for the evidence about them, are stated all together: by the first batch of a segment,
//! and by the first one after a change. What a statement does not name has none any more.
#![forbid(unsafe_code)]

mod cursor;
mod definitions;
mod disk;
mod envelope;
mod error;
mod folder;
mod frame;
mod lock;
mod look;
pub mod message;
mod position;
mod preamble;
mod reader;
mod recovery;
mod segment;
mod sequences;
#[cfg(test)]
mod tests;
pub mod words;
mod writer;

pub use definitions::{Definitions, SegmentDefinitions};
pub use error::{Damage, DamageKind, SpoolError};
pub use look::{Look, has_writer, look, newest_origin};
pub use message::{
    Checkpoint, ClockState, Coverage, Identity, Origin, PolicyRule, PolicyVersion, Record, Revision, RuleSet, Service,
    Sums, Trail, UNKNOWN_NAMESPACE, Verdict,
};
pub use position::Position;
pub use reader::{Batch, Reader};
pub use recovery::Recovered;
pub use writer::{Committed, Writer, WriterOptions};
