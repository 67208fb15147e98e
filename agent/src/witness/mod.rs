//! Brings what the kernel saw into the spool, each record once.
//!
//! Events are read from the ring without being given back, denials of past epochs without being removed. One commit
//! makes the records durable together with the position and the epoch up to which they were read; only then is the
//! position advanced and are the counts removed. After a crash the spool's last commit says what was done already.
//!
//! Coverage and policy records come out of the journal in the same way: they stay there until they are committed.
//!
//! Where the spool is full nothing is read: the maps go on counting, connections go on owing their records, and what
//! finds no room there is counted as lost, which is a record too.

mod backends;
mod enrich;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use podwitness_datapath::{Outlet, Position, Sweep};
use podwitness_runtime::{readiness::Condition, shutdown::Shutdown};
use podwitness_spool::{Checkpoint, Definitions as _, Record, SpoolError, Trail, Writer};

use crate::{
    balance::{self, Balance, Taken},
    clock::Clock,
    coverage::{self, Journal},
    definitions::{Definitions, LedgerError},
    full_tables::FullTables,
    life::Life,
    metrics::Metrics,
    privacy::{Key, Protection},
    step::Step,
    wall_clock::WallClock,
};
use backends::Backends;
use enrich::Enricher;

/// Events in one commit at the most, so that a commit is some megabytes.
const MOST_EVENTS: usize = 16_384;

/// Records of the journal in one commit at the most.
const MOST_OF_JOURNAL: usize = 1024;

/// How often the witness does what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intervals {
    /// How long an event may wait for a commit.
    pub(crate) commit: Duration,
    /// How often denials are drained.
    pub(crate) drain: Duration,
    /// How often the connection table is swept.
    pub(crate) sweep: Duration,
    /// How often the balance and the clock are stated at the least.
    pub(crate) state: Duration,
}

/// Steps in which the last statement of the balance is made, where the spool takes what there is.
const LAST_STEPS: usize = 3;

/// The witness: owns the way out of the kernel and the way into the spool.
pub(crate) struct Witness {
    outlet: Outlet,
    spool: Writer,
    definitions: Arc<Definitions>,
    key: Key,
    journal: Arc<Journal>,
    metrics: Metrics,
    is_keeping_up: Condition,
    intervals: Intervals,
    /// Up to where events are in the spool.
    position: Position,
    /// Where connections to Services have gone.
    backends: Backends,
    /// Up to where denials are in the spool.
    drained: Drained,
    /// What namespaces ask for, as the spool has been told.
    told_trails: Option<Arc<[Trail]>>,
    /// The spool did not take the last commit.
    is_refused: bool,
    /// Set where the spool takes nothing more, because it is gone.
    removed: Option<SpoolError>,
    clock: Clock,
    full_tables: FullTables,
    balance: Balance,
    wall_clock: WallClock,
    life: Life,
}

/// What a witness works with.
pub(crate) struct Parts {
    /// The way out of the kernel.
    pub(crate) outlet: Outlet,
    /// The way into the spool.
    pub(crate) spool: Writer,
    /// What numbers mean.
    pub(crate) definitions: Arc<Definitions>,
    /// The key of hashed addresses.
    pub(crate) key: Key,
    /// What the agent says of itself.
    pub(crate) metrics: Metrics,
    /// Met while the spool takes records.
    pub(crate) is_keeping_up: Condition,
    /// How often it does what.
    pub(crate) intervals: Intervals,
    /// Where it gives signs of life.
    pub(crate) life: Life,
    /// Whether what earlier agents took out of the ring is known, in the spool or because there were none.
    pub(crate) is_ring_known: bool,
}

/// Up to where denials are in the spool. An epoch that was turned does not change any more, so that its entries have an
/// order in which a part of them can be told from the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Drained {
    /// The last epoch of which all are.
    epoch: u64,
    /// How many of the later epochs are, in order of epoch and key.
    entries: usize,
}

/// Why the witness cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    /// The kernel did not give what it should.
    #[error(transparent)]
    Datapath(#[from] podwitness_datapath::Error),
    /// The spool is gone from under it.
    #[error("{0}; the next start makes the spool anew and records the loss")]
    Spool(#[source] SpoolError),
    /// A clock could not be read.
    #[error("cannot read the clock: {0}")]
    Clock(#[from] nix::Error),
}

/// Why records were not committed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Definitions(#[from] LedgerError),
}

impl Witness {
    /// Takes up the work where the spool says that it was left.
    pub(crate) fn new(parts: Parts, checkpoint: Option<&Checkpoint>) -> Result<Self, WitnessError> {
        let Parts { mut outlet, spool, definitions, key, metrics, is_keeping_up, intervals, life, is_ring_known } =
            parts;
        let times = balance::Times { interval: intervals.state, settle: intervals.commit };
        let mut balance = Balance::resume(outlet.ring_id(), checkpoint, times);
        if !is_ring_known {
            balance.forget();
        }
        let ours = checkpoint.filter(|checkpoint| checkpoint.ring == outlet.ring_id().to_string());
        let mut drained = Drained::default();
        if let Some(checkpoint) = ours {
            // A crash between the commit and these two steps left what is in the spool already.
            if checkpoint.ring_position > outlet.acknowledged() {
                outlet.acknowledge_events(checkpoint.ring_position);
            }
            drained.epoch = u64::from(checkpoint.drained_epoch);
            drained.entries = checkpoint.drained_entries as usize;
            outlet.remove_counted(drained.epoch)?;
        }
        let journal = Arc::<Journal>::default();
        if checkpoint.is_some_and(|before| ours.is_none() && before.ring != balance::NO_RING.to_string())
            && !outlet.follows_older()
        {
            tracing::warn!("the maps of the agent before are gone: nothing was enforced or recorded since then");
            journal.coverage(coverage::found_detached());
        }
        Step::TakenUp.reached();
        let position = outlet.acknowledged();
        Ok(Self {
            outlet,
            spool,
            definitions,
            key,
            journal,
            backends: Backends::open(metrics.clone()),
            metrics,
            is_keeping_up,
            intervals,
            position,
            drained,
            told_trails: None,
            is_refused: false,
            removed: None,
            clock: Clock::read()?,
            full_tables: FullTables::default(),
            balance,
            wall_clock: WallClock::new(intervals.state),
            life,
        })
    }

    /// From where it takes records of coverage and policies.
    pub(crate) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// Works until a shutdown is requested, and then once more for what is there at that moment. What comes into the
    /// journal later is [`finish`](Self::finish)'s.
    pub(crate) fn run(mut self, shutdown: &Shutdown) -> Result<Self, WitnessError> {
        let mut next_drain = Instant::now();
        let mut next_sweep = Instant::now();
        loop {
            let is_last = shutdown.wait_timeout(self.intervals.commit);
            if is_last {
                Step::Stopping.reached();
            }
            let (now, round) = (Instant::now(), SystemTime::now());
            if is_last || now >= next_sweep {
                next_sweep = now + self.intervals.sweep;
                self.sweep()?;
            }
            let drains = is_last || now >= next_drain;
            if drains {
                next_drain = now + self.intervals.drain;
            }
            self.journal_clock();
            let is_out = self.bring_out(drains)?;
            if let Some(error) = self.removed.take() {
                return Err(WitnessError::Spool(error));
            }
            let is_read = is_out && drains;
            if is_read && self.outlet.hand_over()? {
                self.position = self.outlet.acknowledged();
                self.drained = Drained::default();
                self.balance.change_ring(self.outlet.ring_id());
                tracing::info!("the maps of an older version are drained and removed");
            }
            self.state_balance(is_read.then_some(now))?;
            if is_out {
                self.life.go_on(round);
            }
            self.observe()?;
            if is_last {
                self.state_balance_last()?;
                Step::BroughtOut.reached();
                return Ok(self);
            }
        }
    }

    fn journal_clock(&mut self) {
        if let Some(row) = self.wall_clock.look(Clock::read) {
            self.journal.coverage(row);
        }
    }

    /// Goes on with the next statement of the balance; `read_since` as in [`Balance::step`]. Returns whether it was made.
    fn state_balance(&mut self, read_since: Option<Instant>) -> Result<bool, WitnessError> {
        let outlet = &self.outlet;
        let Some(statement) = self.balance.step(read_since, || outlet.counted_for_ring())? else { return Ok(false) };
        let differences = statement.differences();
        for difference in &differences {
            tracing::error!(difference, "the balance between the kernel and the spool does not hold");
        }
        self.metrics.balance_differences(differences.len());
        self.journal.coverage(balance::row(&statement));
        Step::BalanceStated.reached();
        Ok(true)
    }

    /// States the balance once more, of all that has come out.
    fn state_balance_last(&mut self) -> Result<(), WitnessError> {
        self.balance.hasten();
        let mut read_since = None;
        for _ in 0..LAST_STEPS {
            if self.state_balance(read_since)? {
                break;
            }
            thread::sleep(self.intervals.commit);
            let now = Instant::now();
            if !self.bring_out(true)? {
                break;
            }
            read_since = Some(now);
        }
        Ok(())
    }

    /// Whether the spool took all that it was given last.
    pub(crate) fn is_taken(&self) -> bool {
        !self.is_refused
    }

    /// Brings the rest of the journal into the spool, as far as it has room. `is_clean` says that the last of it is the
    /// agent's own end.
    pub(crate) fn finish(mut self, is_clean: bool) {
        self.bring_out_journal();
        let waiting = self.journal.len();
        if waiting == 0 && is_clean {
            Step::StopCommitted.reached();
            if let Err(error) = self.life.end() {
                tracing::warn!(%error, "the next start will say that this agent was killed, which it was not");
            }
            Step::Ended.reached();
        } else if waiting > 0 {
            tracing::error!(
                records = waiting,
                "records of coverage and policies are lost, because the spool takes nothing; the next start says what is \
                 the case then"
            );
        }
    }

    /// Sweeps until every connection was visited, making room in the ring between.
    fn sweep(&mut self) -> Result<(), WitnessError> {
        while self.outlet.sweep()? == Sweep::RingFull {
            if !self.bring_out(false)? {
                return Ok(());
            }
        }
        Step::Swept.reached();
        Ok(())
    }

    /// Brings what is there into the spool. False where the spool takes nothing now.
    fn bring_out(&mut self, drains: bool) -> Result<bool, WitnessError> {
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

    fn bring_out_journal(&mut self) -> bool {
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
                    if let Err(error) = self.definitions.loss_is_told() {
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

    /// Makes records durable together with the place up to which they were read.
    fn commit(
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
    fn refused(&mut self, error: &Refusal) -> bool {
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

    fn observe(&self) -> Result<(), WitnessError> {
        self.metrics.kernel(&self.outlet.counters()?);
        self.metrics.connection_capacity(self.outlet.connection_capacity());
        self.metrics.spool_bytes(self.spool.bytes());
        self.metrics.ring_waiting(self.outlet.waiting_bytes(self.position));
        Ok(())
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
