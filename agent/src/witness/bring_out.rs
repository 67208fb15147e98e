//! What is brought out of the kernel and the journal, and in which order: nothing is given back or removed there before the
//! commit that has it is durable, and what is too large for one is brought out in parts.

use podwitness_datapath::Sweep;
use podwitness_spool::{Definitions as _, Record, SpoolError};

use super::{Drained, Witness, WitnessError, commit::Refusal, enrich::Enricher};
use crate::{balance::Taken, privacy::Protection, step::Step};

/// Events in one commit at the most, so that a commit is some megabytes.
const MOST_EVENTS: usize = 16_384;

/// Records of the journal in one commit at the most.
const MOST_OF_JOURNAL: usize = 1024;

impl Witness {
    /// Sweeps until every connection was visited, making room in the ring between.
    pub(super) fn sweep(&mut self) -> Result<(), WitnessError> {
        while self.outlet.sweep()? == Sweep::RingFull {
            if !self.bring_out(false)? {
                return Ok(());
            }
        }
        Step::Swept.reached();
        Ok(())
    }

    /// Brings what is there into the spool. False where the spool takes nothing now.
    pub(super) fn bring_out(&mut self, drains: bool) -> Result<bool, WitnessError> {
        Ok(self.bring_out_journal()
            && self.tell_trails()
            && self.bring_out_events()?
            && (!drains || self.bring_out_denials()?))
    }

    /// Has the spool know what namespaces ask for, also where there is no record that it applies to.
    fn tell_trails(&mut self) -> bool {
        if self.definitions.trails() == self.told_trails {
            return true;
        }
        match self.commit(Vec::new(), self.position, self.drained, Taken::default()) {
            Ok(()) => true,
            Err(error) => self.refused(&error),
        }
    }

    pub(super) fn bring_out_journal(&mut self) -> bool {
        let mut most = MOST_OF_JOURNAL;
        loop {
            let records = self.journal.oldest(most);
            let count = records.len();
            if count == 0 {
                return true;
            }
            Step::JournalRead.reached();
            match self.commit(records, self.position, self.drained, Taken::default()) {
                Ok(()) => {
                    Step::JournalCommitted.reached();
                    self.journal.committed(count);
                    if let Err(error) = self.in_use.note() {
                        tracing::warn!(%error, "cannot note that the spool is in use: its loss would not be seen");
                    } else if let Err(error) = self.definitions.loss_is_told() {
                        tracing::warn!(%error, "the next start finds in the spool that the loss is told");
                    }
                }
                Err(Refusal::Spool(SpoolError::BatchTooLarge { .. })) if count > 1 => most = count / 2,
                Err(error @ Refusal::Spool(SpoolError::BatchTooLarge { .. })) => {
                    tracing::error!(%error, "a policy is larger than a segment of the spool: its text is not recorded");
                    self.journal.give_up_oldest();
                }
                Err(error) => return self.refused(&error),
            }
        }
    }

    fn bring_out_events(&mut self) -> Result<bool, WitnessError> {
        let mut events = Vec::new();
        let mut most = MOST_EVENTS;
        loop {
            events.clear();
            let end = self.outlet.read_events(self.position, most, &mut events);
            if end == self.position {
                return Ok(true);
            }
            self.backends.complete(&self.outlet, self.position, &mut events)?;
            self.clock.follow()?;
            let enricher = self.enricher();
            let records: Vec<Record> = events.iter().filter_map(|event| enricher.event(event)).collect();
            let unread = events.len() - records.len();
            let taken = Taken { events: events.len() as u64, ..Taken::default() };
            Step::EventsRead.reached();
            match self.commit(records, end, self.drained, taken) {
                Ok(()) => Step::EventsCommitted.reached(),
                Err(Refusal::Spool(SpoolError::BatchTooLarge { .. })) if events.len() > 1 => {
                    // Segments are set to be small, or what the records refer to is large.
                    most = events.len() / 2;
                    continue;
                }
                Err(error) => return Ok(self.refused(&error)),
            }
            self.metrics.unread(unread);
            self.outlet.acknowledge_events(end);
            Step::EventsAcknowledged.reached();
            self.position = end;
        }
    }

    fn enricher(&self) -> Enricher<'_> {
        let protection = Protection::new(&self.key, self.definitions.trails());
        Enricher { clock: self.clock, definitions: &self.definitions, protection }
    }

    fn bring_out_denials(&mut self) -> Result<bool, WitnessError> {
        let epoch = self.outlet.turn_epoch()?;
        Step::EpochTurned.reached();
        let (mut denials, losses) = self.outlet.counted_through(epoch)?;
        self.full_tables.look(&self.outlet.counters()?, &denials, &losses);
        if denials.is_empty() && losses.is_empty() {
            return Ok(true);
        }
        denials.sort_unstable_by_key(|(key, _)| (key.epoch, *key));
        self.clock.follow()?;
        let mut most = denials.len();
        loop {
            let enricher = self.enricher();
            let rest = denials.get(self.drained.entries..).unwrap_or_default();
            let part = &rest[..most.min(rest.len())];
            let is_last = part.len() == rest.len();
            let mut records: Vec<Record> = part.iter().filter_map(|denial| enricher.denial(denial)).collect();
            let unread = part.len() - records.len();
            let mut taken = Taken { denied: things(&records), ..Taken::default() };
            let drained = if is_last {
                taken.lost = losses.iter().map(|(_, loss)| loss.count).sum();
                records.extend(losses.iter().map(|loss| enricher.loss(loss)));
                Drained { epoch, entries: 0 }
            } else {
                Drained { entries: self.drained.entries + part.len(), ..self.drained }
            };
            Step::DenialsRead.reached();
            match self.commit(records, self.position, drained, taken) {
                Ok(()) => Step::DenialsCommitted.reached(),
                Err(Refusal::Spool(SpoolError::BatchTooLarge { .. })) if part.len() > 1 => {
                    most = part.len() / 2;
                    continue;
                }
                Err(error) => return Ok(self.refused(&error)),
            }
            self.metrics.unread(unread);
            self.drained = drained;
            if is_last {
                self.outlet.remove_counted(epoch)?;
                Step::DenialsRemoved.reached();
                return Ok(true);
            }
        }
    }
}

/// How many things the verdicts stand for together.
fn things(records: &[Record]) -> u64 {
    let count = |record: &Record| match record {
        Record::Verdict(verdict) => verdict.count.cast_unsigned(),
        _ => 0,
    };
    records.iter().map(count).sum()
}
