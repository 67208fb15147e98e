//! Seals: what this node has put into the store, signed and chained, an interval at a time.
//!
//! # What holds
//!
//! 1. An object is in the store before a seal lists it, and each object that is put is listed by exactly one seal.
//! 2. What a seal will say is on the disk before the cursor of the spool passes the records that it is about.
//! 3. A seal's bytes and signature are on the disk before either is put: a repeat puts the same bytes.
//! 4. The signature is put before the seal, and the key before both: whoever finds a seal can check it.
//! 5. A chain is never begun over one that is in the store, and never written by two nodes of one name.
//!
//! # A kill at any point
//!
//! | killed | found at the next start | what happens |
//! | --- | --- | --- |
//! | before a batch is noted | the plan of the batch | it is put again, and noted |
//! | after it is noted, before the plan is removed | the plan; the state says that it is noted | it is put again, and not noted twice |
//! | before a seal is staged | what the next seal will say | it is sealed when it is due |
//! | before a staged seal is put | the staged seal | it is put |
//! | before the state says that it is put | the staged seal, in the store | it is put again: the same bytes count as put |
//!
//! # Modules
//!
//! `facts` (what a batch tells a seal) -> `state` (what the next seal will say, on disk) -> `compose` (a seal of it) ->
//! this module (when, with which key, and into the store); `head` has what the store has of the chain.

mod compose;
mod facts;
mod head;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use podwitness_config::Config;
use podwitness_runtime::clock;
use podwitness_runtime::readiness::Condition;
use podwitness_schemas::layout;
use podwitness_seals::key::KeyId;
use podwitness_seals::key_file::{KeyFile, KeyFileError};
use podwitness_seals::seal::{ClockState, Seal, Sealer};
use podwitness_seals::time::Time;
use thiserror::Error;

use crate::delivery::Delivery;
use crate::metrics::Metrics;
use crate::staging::Plan;
use crate::step::Step;
pub use compose::{Circumstances, compose};
pub use facts::Facts;
use head::{Newest, Standing, judge, newest_in};
use state::StateFile;
pub use state::{Head, Noted, Staged, State, StateError};

/// Where the kernel says which of its lives this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Between two looks at a chain that another node seems to be writing.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The store is asked for a chain of another node with this name after so many seals of ours.
const SEALS_BETWEEN_LOOKS: u64 = 64;

/// Why evidence cannot be sealed.
#[derive(Debug, Error)]
pub enum SealingError {
    /// What the next seal will say cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The kernel does not say which of its lives this is.
    #[error("cannot read {BOOT_ID}: {0}")]
    Boot(#[source] std::io::Error),
    /// Another node writes this one's chain.
    #[error(
        "another node is called {node} in cluster {cluster}: it has put {path}, which is not of this node's chain; \
         give each node a name of its own (`node`); what is here stays in the spool"
    )]
    Foreign {
        /// The cluster.
        cluster: String,
        /// The name that two have.
        node: String,
        /// A seal of the other.
        path: String,
    },
}

/// The sealing of one node.
pub(crate) struct Sealing {
    file: StateFile,
    state: State,
    keys: KeyFile,
    interval: Duration,
    /// How long evidence is kept of which nobody asks otherwise.
    kept_by_default: Duration,
    /// When the next seal is due; at once after a start, so that a start is seen.
    due: Instant,
    boot: String,
    sealer: Sealer,
    /// The key that this run has put.
    key_in_store: Option<KeyId>,
    seals_since_look: u64,
    is_ours: Arc<Condition>,
    metrics: Arc<Metrics>,
}

impl Sealing {
    /// Opens the sealing of the spool at the configured path. Nothing is sent yet.
    pub(crate) fn open(config: &Config, is_ours: Arc<Condition>, metrics: Arc<Metrics>) -> Result<Self, SealingError> {
        let (file, state) = StateFile::open(&config.spool.path, &config.cluster, &config.node)?;
        let boot = std::fs::read_to_string(BOOT_ID).map_err(SealingError::Boot)?.trim().to_owned();
        let keys = open_key(&config.seal.key_file, &state)?;
        metrics.seal_interval.set(config.seal.interval.as_secs_f64());
        let sealer =
            Sealer { version: env!("CARGO_PKG_VERSION").to_owned(), started: now(), after_crash: state.is_running };
        Ok(Self {
            file,
            state,
            keys,
            interval: config.seal.interval,
            kept_by_default: config.retention.default,
            due: Instant::now(),
            boot,
            sealer,
            key_in_store: None,
            seals_since_look: 0,
            is_ours,
            metrics,
        })
    }

    /// Finishes the seal that an earlier run had staged, and makes sure that the chain is ours to go on with. Completes
    /// when it is: while another node of this name is alive, nothing is put or sealed. False where the stop is requested before.
    pub(crate) async fn begin(&mut self, delivery: &mut Delivery) -> Result<bool, SealingError> {
        let mut is_told = false;
        loop {
            let standing = self.standing(delivery).await;
            let Standing::Foreign { path } = standing else {
                self.take_up(standing)?;
                break;
            };
            if !std::mem::replace(&mut is_told, true) {
                tracing::error!("{}; looking again until it is gone", self.foreign(path));
            }
            if delivery.stops_within(LOOK_AGAIN).await {
                return Ok(false);
            }
        }
        self.is_ours.set(true);
        if self.state.staged.is_some() {
            self.put_staged(delivery).await?;
        }
        self.state.is_running = true;
        self.file.save(&self.state)?;
        Ok(true)
    }

    /// Notes what was put; must be called before the cursor passes it.
    pub(crate) fn note(&mut self, plan: &Plan) -> Result<(), SealingError> {
        if self.state.note(plan) == Noted::Now {
            self.file.save(&self.state)?;
        }
        Step::Noted.reached();
        Ok(())
    }

    /// Whether a seal is due.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Makes the last seal of a stop. It says so where the agent had ended in good order before.
    pub(crate) async fn end(&mut self, delivery: &mut Delivery) -> Result<bool, SealingError> {
        let is_last = self.state.has_agent_stopped;
        self.seal(delivery, is_last).await?;
        self.state.is_running = false;
        self.file.save(&self.state)?;
        Ok(is_last)
    }

    /// Seals what was noted since the seal before. `is_last` where everything has ended in good order.
    pub(crate) async fn seal(&mut self, delivery: &mut Delivery, is_last: bool) -> Result<(), SealingError> {
        self.due = Instant::now() + self.interval;
        self.seals_since_look += 1;
        if delivery.take_outage() || self.seals_since_look >= SEALS_BETWEEN_LOOKS {
            self.look(delivery).await?;
        }
        let next_key = self.keys.next()?;
        let seal = compose(
            &self.state,
            &Circumstances {
                boot: self.boot.clone(),
                now: now(),
                interval: self.interval,
                is_last,
                sealer: self.sealer.clone(),
                clock: clock_state(),
                key_id: self.keys.id(),
                next_key_id: next_key,
            },
        );
        self.look_at_balance(&seal);
        Step::Composed.reached();
        let keep_until = seal.window.end.after(self.state.longest_asked(self.kept_by_default));
        self.state.stage(Staged::sign(&seal, self.keys.current(), keep_until));
        self.file.save(&self.state)?;
        Step::SealStaged.reached();
        self.put_staged(delivery).await
    }

    async fn put_staged(&mut self, delivery: &mut Delivery) -> Result<(), SealingError> {
        let Some(staged) = &self.state.staged else { return Ok(()) };
        if self.key_in_store.as_ref() != Some(&staged.key_id) {
            delivery.put(&layout::key_path(&staged.key_id.0), staged.key_pem.clone().into_bytes().into()).await;
            self.key_in_store = Some(staged.key_id.clone());
        }
        Step::KeyPut.reached();
        let signature_path = format!("{}{}", staged.path, layout::SIGNATURE_SUFFIX);
        let until = staged.locked_until.map(Into::into);
        delivery.put_until(&signature_path, staged.signature().into(), until).await;
        Step::SignaturePut.reached();
        delivery.put_until(&staged.path, staged.document.clone().into_bytes().into(), until).await;
        Step::SealPut.reached();
        tracing::debug!(path = staged.path, "sealed");
        self.metrics.seals.inc();
        self.metrics.last_seal_time.set(seconds(now()));
        self.state.sealed();
        self.file.save(&self.state)?;
        Step::Sealed.reached();
        if let Some(head) = &self.state.head {
            self.keys.turn(&head.next_key_id)?;
        }
        Ok(())
    }

    /// Tells of a difference; the seal says it too.
    fn look_at_balance(&self, seal: &Seal) {
        let differences = seal.balance.differences(&seal.rows());
        if !differences.is_empty() {
            self.metrics.seals_unbalanced.inc();
            tracing::error!(seal = seal.seal, "the balance does not hold: {}", differences.join("; "));
        }
    }

    async fn look(&mut self, delivery: &mut Delivery) -> Result<(), SealingError> {
        self.seals_since_look = 0;
        match self.standing(delivery).await {
            Standing::Foreign { path } => {
                self.is_ours.set(false);
                Err(self.foreign(path))
            }
            _ => Ok(()),
        }
    }

    async fn standing(&self, delivery: &mut Delivery) -> Standing {
        let folder = layout::seals_folder(&self.state.cluster, &self.state.node);
        let newest = delivery.ask(async |store| newest_in(store, &folder).await).await;
        let newest = newest.unwrap_or(Newest::Unreadable);
        judge(&self.state, &newest, &self.boot, &self.keys.id(), now())
    }

    /// Goes on with the chain as it stands in the store.
    fn take_up(&mut self, standing: Standing) -> Result<(), SealingError> {
        match standing {
            Standing::Known => return Ok(()),
            Standing::Behind { path } => {
                tracing::error!(
                    newest = path,
                    "the store has lost seals that this node had put; the chain goes on from what is known here"
                );
                return Ok(());
            }
            Standing::Nothing => self.state.begin(now()),
            Standing::Unreadable => {
                tracing::warn!(
                    "the store does not let the seals be listed: whether this node had a chain before is not known, and the first seal says so"
                );
                self.state.begin_unknown(now());
            }
            Standing::Resumable { head, has_other_key } => {
                tracing::warn!(
                    seal = head.seal,
                    has_other_key,
                    "what was known of this node's chain is lost; it goes on from the newest seal in the store, and says so"
                );
                self.state.resume(*head);
            }
            Standing::Foreign { .. } => unreachable!("it was waited for"),
        }
        Ok(self.file.save(&self.state)?)
    }

    fn foreign(&self, path: String) -> SealingError {
        SealingError::Foreign { cluster: self.state.cluster.clone(), node: self.state.node.clone(), path }
    }
}

/// The key at `path`, which is to be the one that the newest seal names.
fn open_key(path: &Path, state: &State) -> Result<KeyFile, KeyFileError> {
    let mut keys = KeyFile::open(path)?;
    if let Some(head) = &state.head {
        keys.turn(&head.next_key_id)?;
        if keys.id() != head.next_key_id {
            tracing::error!(
                key = %path.display(),
                id = %keys.id(),
                "this is not the key that the newest seal names: whoever verifies the chain will see that it changed"
            );
        }
    }
    Ok(keys)
}

fn now() -> Time {
    chrono::Utc::now().into()
}

fn seconds(time: Time) -> f64 {
    Duration::from_micros(time.micros().unsigned_abs()).as_secs_f64()
}

fn clock_state() -> Option<ClockState> {
    let discipline = clock::discipline().ok()?;
    let error_us = i64::try_from(discipline.greatest_error.as_micros()).unwrap_or(i64::MAX);
    Some(ClockState { synchronised: discipline.is_synchronised, offset_us: discipline.offset_us, error_us })
}
