//! The spool, read: what is there next, with everything told that a person should know.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use podwitness_runtime::readiness::Condition;
use podwitness_spool::{Batch, Damage, Position, Reader, SpoolError};

use crate::metrics::Metrics;

/// The reading side of the spool.
pub(crate) struct Source {
    path: PathBuf,
    reader: Reader,
    /// Read and not taken yet.
    waiting: VecDeque<Next>,
    metrics: Arc<Metrics>,
}

/// What the spool has next.
pub(crate) enum Next {
    /// A batch as the agent committed it.
    Batch(Batch),
    /// Bytes that cannot be read any more. Told and counted already.
    Damage(Damage),
}

impl Next {
    /// Where it ends in the spool.
    fn end(&self) -> Position {
        match self {
            Self::Batch(batch) => batch.end,
            Self::Damage(damage) => damage.end,
        }
    }
}

impl Source {
    /// Opens the spool at `path`; `None` while the agent has not made it. `open` is met from then on.
    pub(crate) fn open(path: &Path, open: &Condition, metrics: &Arc<Metrics>) -> Result<Option<Self>, SpoolError> {
        match Reader::open(path) {
            Ok(reader) => {
                open.set(true);
                let metrics = Arc::clone(metrics);
                Ok(Some(Self { path: path.to_owned(), reader, waiting: VecDeque::new(), metrics }))
            }
            Err(SpoolError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is next, or `None` when there is nothing now.
    pub(crate) fn next(&mut self) -> Result<Option<Next>, SpoolError> {
        if let Some(next) = self.waiting.pop_front() {
            return Ok(Some(next));
        }
        match self.reader.next() {
            Ok(None) => Ok(None),
            Ok(Some(batch)) => {
                self.metrics.records_read.inc_by(batch.records.len() as u64);
                Ok(Some(Next::Batch(batch)))
            }
            Err(SpoolError::Damage(damage)) => {
                tracing::error!(
                    spool = %self.path.display(),
                    bytes = damage.bytes,
                    "{damage}: the records there are lost, and `seq` will show how many"
                );
                self.metrics.spool_damaged_bytes.inc_by(damage.bytes);
                Ok(Some(Next::Damage(damage)))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives back what [`Source::next`] gave last: it will be next again.
    pub(crate) fn put_back(&mut self, next: Next) {
        self.waiting.push_front(next);
    }

    /// Everything up to `end` is in the store.
    pub(crate) fn done(&mut self, end: Position) -> Result<(), SpoolError> {
        self.reader.done(end)
    }

    /// Everything up to `end` is in the store, where `end` was read by an earlier run: the spool is read again up to
    /// there, because only what was read can be done. It may be done already.
    pub(crate) fn done_again(&mut self, end: Position) -> Result<(), SpoolError> {
        while let Some(next) = self.next()? {
            let position = next.end();
            if position < end {
                continue;
            }
            // Behind the end: it was done already, or damage reaches across it. Of damage nothing is left to export.
            if position == end || matches!(next, Next::Damage(_)) {
                return self.done(position);
            }
            self.put_back(next);
            return Ok(());
        }
        Ok(())
    }

    /// Bytes in the spool.
    pub(crate) fn bytes(&self) -> Result<u64, SpoolError> {
        self.reader.bytes()
    }
}
