//! The way into the spool: records, and with them how far the kernel was read.

use podwitness_datapath::Position;
use podwitness_spool::{Checkpoint, Definitions as _, Record, SpoolError};

use super::{Drained, Witness};
use crate::{balance::Taken, definitions::LedgerError, step::Step};

/// Why records were not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Definitions(#[from] LedgerError),
}

impl Witness {
    /// Makes records durable together with the place up to which they were read.
    pub(super) fn commit(
        &mut self,
        records: Vec<Record>,
        position: Position,
        drained: Drained,
        taken: Taken,
    ) -> Result<(), Refusal> {
        self.definitions.sync()?;
        let sums = self.balance.with(taken, &records);
        let checkpoint = Checkpoint {
            ring: self.outlet.ring_id().to_string(),
            ring_position: position,
            drained_epoch: u32::try_from(drained.epoch).expect("an epoch a second for 136 years"),
            drained_entries: u32::try_from(drained.entries).expect("a table has no more entries than 32 bits count"),
            sums: sums.clone(),
        };
        let lost = losses_by_reason(&records);
        // Where others are set in between, the next commit is told of them.
        let trails = self.definitions.trails();
        let committed = self.spool.commit(records, &*self.definitions, &checkpoint)?;
        if committed.begins_segment {
            Step::SegmentBegun.reached();
        }
        if let Some(trouble) = committed.worked_around {
            tracing::error!(error = %trouble, "the disk refused a write; the verdicts are in the spool all the same");
        }
        self.metrics.committed(committed.records, &lost);
        self.balance.committed(sums);
        self.told_trails = trails;
        self.is_refused = false;
        self.is_keeping_up.set(true);
        Ok(())
    }

    /// Tells that the spool takes nothing now, once until it does again.
    pub(super) fn refused(&mut self, error: &Refusal) -> bool {
        self.metrics.refused_by_spool();
        if !self.is_refused {
            tracing::error!(%error, "verdicts stay in the kernel until the spool takes them");
        }
        if let Refusal::Spool(SpoolError::Removed { path }) = error {
            self.removed = Some(SpoolError::Removed { path: path.clone() });
        }
        self.is_refused = true;
        self.is_keeping_up.set(false);
        false
    }
}

/// How many records the loss rows stand for, by the number of their reason.
fn losses_by_reason(records: &[Record]) -> Vec<(u32, u64)> {
    let loss = u32::from(podwitness_wire::EventKind::Loss.number());
    let rows = records.iter().filter_map(|record| match record {
        Record::Verdict(verdict) => Some(verdict),
        _ => None,
    });
    rows.filter(|verdict| verdict.event == loss)
        .map(|verdict| (verdict.reason, verdict.count.cast_unsigned()))
        .collect()
}
