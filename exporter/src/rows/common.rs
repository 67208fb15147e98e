//! The columns that all tables have, and what a file's rows cover.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, TimestampMicrosecondBuilder};
use podwitness_spool::{Origin, SegmentDefinitions};

use super::columns::{Columns, TextBuilder, repeat, times};
use crate::words::Word;

/// What the rows cover; of at least one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// How many there are.
    pub rows: u64,
    /// `seq` of the first.
    pub first_seq: i64,
    /// `seq` of the last.
    pub last_seq: i64,
    /// The first and the last of each run of `seq` that is missing between the first and the last.
    pub holes: Vec<(i64, i64)>,
    /// `time` of the first row, which names the file. Unix microseconds.
    pub opening_time: i64,
    /// The earliest time in any row. Unix microseconds.
    pub first_time: i64,
    /// The latest time in any row. Unix microseconds.
    pub last_time: i64,
    /// The lowest and the highest policy revision, where any row has one.
    pub revisions: Option<(i64, i64)>,
}

/// What every row says.
pub(super) struct Moment {
    pub(super) time: i64,
    pub(super) last_time: Option<i64>,
    pub(super) seq: i64,
    pub(super) event: Word,
    /// 0 for none.
    pub(super) policy_revision: i64,
}

/// The columns of [`Moment`]s, and where they come from.
pub(crate) struct Common {
    origin: Arc<Origin>,
    span: Option<Span>,
    /// Ids in records for which the spool had no definition.
    unresolved: u64,
    time: TimestampMicrosecondBuilder,
    seq: Int64Builder,
    event: TextBuilder,
    policy_revision: Int64Builder,
    policy_sha256: TextBuilder,
}

impl Common {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self {
            origin,
            span: None,
            unresolved: 0,
            time: times(),
            seq: Int64Builder::new(),
            event: TextBuilder::new(),
            policy_revision: Int64Builder::new(),
            policy_sha256: TextBuilder::new(),
        }
    }

    pub(super) fn append(&mut self, moment: Moment, definitions: &SegmentDefinitions) {
        self.cover(&moment);
        let Moment { time, last_time: _, seq, event, policy_revision } = moment;
        self.time.append_value(time);
        self.seq.append_value(seq);
        self.event.append_value(event);
        self.policy_revision.append_option((policy_revision != 0).then_some(policy_revision));
        let revision = self.resolve(policy_revision, |number| definitions.revision(number));
        self.policy_sha256.append_option(revision.map(|revision| &revision.sha256));
    }

    /// The definition of `id`, where 0 stands for none.
    pub(super) fn resolve<I: Copy + Default + PartialEq, T>(
        &mut self,
        id: I,
        find: impl FnOnce(I) -> Option<T>,
    ) -> Option<T> {
        if id == I::default() {
            return None;
        }
        let found = find(id);
        self.unresolved += u64::from(found.is_none());
        found
    }

    /// What the rows cover so far; `None` while there are none.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// How many ids in records had no definition in the spool: each is a null in its row.
    pub(crate) fn unresolved(&self) -> u64 {
        self.unresolved
    }

    pub(super) fn finish(mut self, columns: &mut Columns) {
        let rows = self.seq.values_slice().len();
        columns.put("time", Arc::new(self.time.finish()));
        columns.put("seq", Arc::new(self.seq.finish()));
        columns.put("cluster", repeat(&self.origin.cluster, rows));
        columns.put("node", repeat(&self.origin.node, rows));
        columns.put("boot", repeat(&self.origin.boot, rows));
        columns.text("event", self.event);
        columns.put("policy_revision", Arc::new(self.policy_revision.finish()));
        columns.text("policy_sha256", self.policy_sha256);
    }

    fn cover(&mut self, moment: &Moment) {
        let &Moment { time, seq, policy_revision: revision, .. } = moment;
        let last_time = moment.last_time.unwrap_or(time).max(time);
        let span = self.span.get_or_insert(Span {
            rows: 0,
            first_seq: seq,
            last_seq: seq,
            holes: Vec::new(),
            opening_time: time,
            first_time: time,
            last_time,
            revisions: None,
        });
        span.rows += 1;
        if seq > span.last_seq + 1 {
            span.holes.push((span.last_seq + 1, seq - 1));
        }
        span.last_seq = seq;
        span.first_time = span.first_time.min(time);
        span.last_time = span.last_time.max(last_time);
        if revision != 0 {
            let (low, high) = span.revisions.unwrap_or((revision, revision));
            span.revisions = Some((low.min(revision), high.max(revision)));
        }
    }
}
