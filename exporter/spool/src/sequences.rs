//! Sequence numbers, within one boot, from 1, without a hole: of the verdicts of each namespace, of the coverage records
//! and of the policy records. A sequence's name is the namespace, or one of the two below.

use std::collections::BTreeMap;

use crate::envelope::{Header, StoredBatch};
use crate::message::Record;

/// A namespace has no slash in its name.
const COVERAGE: &str = "/coverage";
const POLICIES: &str = "/policies";

/// Which sequence a record belongs to.
fn name(record: &Record) -> &str {
    match record {
        Record::Verdict(verdict) => &verdict.namespace,
        Record::Coverage(_) => COVERAGE,
        Record::Policy(_) => POLICIES,
    }
}

fn number(record: &mut Record) -> &mut i64 {
    match record {
        Record::Verdict(verdict) => &mut verdict.seq,
        Record::Coverage(coverage) => &mut coverage.seq,
        Record::Policy(version) => &mut version.seq,
    }
}

/// The next number of each sequence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sequences {
    next: BTreeMap<String, i64>,
    first: i64,
}

impl Default for Sequences {
    fn default() -> Self {
        Self { next: BTreeMap::new(), first: 1 }
    }
}

/// Next numbers as they will be when a batch is committed.
pub(crate) struct Advance(BTreeMap<String, i64>);

impl Sequences {
    pub(crate) fn from_header(header: &Header) -> Self {
        Self { next: header.next_seq.clone(), first: header.first_seq.max(1) }
    }

    pub(crate) fn to_header(&self) -> (BTreeMap<String, i64>, i64) {
        (self.next.clone(), self.first)
    }

    /// Numbers the records without using the numbers up: that is [`Self::advance`]'s, once they are committed.
    pub(crate) fn number(&self, records: &mut [Record]) -> Advance {
        let mut advance: BTreeMap<String, i64> = BTreeMap::new();
        for record in records {
            let sequence = name(record);
            let next = if let Some(next) = advance.get_mut(sequence) {
                next
            } else {
                let next = self.next.get(sequence).copied().unwrap_or(self.first);
                advance.entry(sequence.to_owned()).or_insert(next)
            };
            *number(record) = *next;
            *next += 1;
        }
        Advance(advance)
    }

    pub(crate) fn advance(&mut self, advance: Advance) {
        self.next.extend(advance.0);
    }

    /// Uses up the numbers that a batch read back has.
    pub(crate) fn replay(&mut self, mut batch: StoredBatch) {
        for record in batch.entries.iter_mut().filter_map(|entry| entry.record.as_mut()) {
            let after = *number(record) + 1;
            let sequence = name(record);
            match self.next.get_mut(sequence) {
                Some(next) => *next = after.max(*next),
                None => {
                    self.next.insert(sequence.to_owned(), after);
                }
            }
        }
    }

    /// Leaves out as many numbers, in every sequence, as damaged bytes can have held: a number is never used twice, and
    /// the hole shows the loss.
    pub(crate) fn skip_damaged(&mut self, bytes: u64) {
        /// Fewer bytes than any record takes.
        const SMALLEST_RECORD: u64 = 8;
        let skipped = i64::try_from(bytes / SMALLEST_RECORD + 1).expect("a segment is far smaller than 2^63 bytes");
        for next in self.next.values_mut() {
            *next += skipped;
        }
        self.first += skipped;
    }
}
