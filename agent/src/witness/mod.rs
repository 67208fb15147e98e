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
mod bring_out;
mod commit;
mod enrich;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use podwitness_datapath::{Outlet, Position};
use podwitness_runtime::{readiness::Condition, shutdown::Shutdown};
use podwitness_spool::{Checkpoint, SpoolError, Trail, Writer};

use crate::{
    balance::{self, Balance},
    clock::Clock,
    coverage::{self, Journal},
    definitions::Definitions,
    full_tables::FullTables,
    life::Life,
    losses::InUse,
    metrics::Metrics,
    privacy::Key,
    step::Step,
    wall_clock::WallClock,
};
use backends::Backends;

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
    in_use: InUse,
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
    /// Where it notes that the spool has taken something.
    pub(crate) in_use: InUse,
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

impl Witness {
    /// Takes up the work where the spool says that it was left.
    pub(crate) fn new(parts: Parts, checkpoint: Option<&Checkpoint>) -> Result<Self, WitnessError> {
        let Parts {
            mut outlet,
            spool,
            definitions,
            key,
            metrics,
            is_keeping_up,
            intervals,
            life,
            in_use,
            is_ring_known,
        } = parts;
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
            in_use,
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

    fn observe(&self) -> Result<(), WitnessError> {
        self.metrics.kernel(&self.outlet.counters()?);
        self.metrics.connection_capacity(self.outlet.connection_capacity());
        self.metrics.spool_bytes(self.spool.bytes());
        self.metrics.ring_waiting(self.outlet.waiting_bytes(self.position));
        Ok(())
    }
}
