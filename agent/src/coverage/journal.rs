//! Where records of coverage and policies wait for the spool.
//!
//! Order is kept. While the spool is full they wait in memory, up to [`MOST_BYTES`]; what finds no room is counted, and so
//! is all that comes after it until half of the room is free: then the count is a record.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use podwitness_spool::{Coverage, PolicyVersion, Record, words::CoverageEvent};

use super::now_us;

/// Far more than all policies of a large cluster, which are stated at once.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// The records that are not in the spool yet.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Record>,
    bytes: usize,
    /// How many found no room, and since when.
    lost: Option<(i64, i64)>,
}

impl Journal {
    /// Adds a row of `coverage`.
    pub(crate) fn coverage(&self, record: Coverage) {
        self.waiting().add(Record::Coverage(record));
    }

    /// Adds a row of `policies`.
    pub(crate) fn policy(&self, record: PolicyVersion) {
        self.waiting().add(Record::Policy(record));
    }

    /// The oldest records, at most so many.
    pub(crate) fn oldest(&self, most: usize) -> Vec<Record> {
        let mut waiting = self.waiting();
        waiting.tell_loss();
        waiting.records.iter().take(most).cloned().collect()
    }

    /// The oldest records, as many as this, are in the spool.
    pub(crate) fn committed(&self, count: usize) {
        let mut waiting = self.waiting();
        for record in waiting.records.drain(..count).collect::<Vec<_>>() {
            waiting.bytes -= record.encoded_len();
        }
        // All policies are stated at once, and after that few at a time.
        if waiting.records.is_empty() {
            waiting.records = VecDeque::new();
        }
    }

    /// Gives up the oldest record, which no spool can take; it counts as lost.
    pub(crate) fn give_up_oldest(&self) {
        self.committed(1);
        self.waiting().lose();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().records.len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // It is whole between any two statements that could panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, record: Record) {
        self.tell_loss();
        if self.lost.is_some() || self.bytes + record.encoded_len() > MOST_BYTES {
            self.lose();
        } else {
            self.push(record);
        }
    }

    fn push(&mut self, record: Record) {
        self.bytes += record.encoded_len();
        self.records.push_back(record);
    }

    fn lose(&mut self) {
        let (count, since) = self.lost.unwrap_or_else(|| (0, now_us()));
        self.lost = Some((count + 1, since));
    }

    /// Makes a record of what was lost, once there is room again.
    fn tell_loss(&mut self) {
        if self.bytes > MOST_BYTES / 2 {
            return;
        }
        let Some((count, since)) = self.lost.take() else { return };
        self.push(Record::Coverage(Coverage {
            time_us: now_us(),
            event: CoverageEvent::RecordsLost.number().into(),
            since_us: Some(since),
            detail:
                "they found no room in the agent's memory while the spool took nothing, or were larger than a segment"
                    .to_owned(),
            count: Some(count),
            ..Coverage::default()
        }));
    }
}
