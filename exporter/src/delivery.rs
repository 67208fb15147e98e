//! Putting into a store that may be away: repeated for ever, told once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use podwitness_config::ObjectLock as Wanted;
use podwitness_runtime::readiness::Condition;
use podwitness_runtime::shutdown::Shutdown;
use podwitness_store::{FailureKind, LockPolicy, ObjectLock, Store, StoreError};

use crate::metrics::Metrics;

const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Half of it is what a person waits on average, who has just mended the store.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// While the exporter stops, there is no time for long ones.
const LONGEST_DELAY_WHILE_STOPPING: Duration = Duration::from_secs(1);

/// The store, with what was last known of it.
pub(crate) struct Delivery {
    store: Store,
    /// Why the last put failed; `None` where it did not.
    outage: Option<FailureKind>,
    /// Whether a put has failed since somebody asked.
    was_away: bool,
    /// Met while the store took what it was given last.
    answered: Condition,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

impl Delivery {
    pub(crate) fn new(store: Store, answered: Condition, metrics: Arc<Metrics>, shutdown: Shutdown) -> Self {
        Self { store, outage: None, was_away: false, answered, metrics, shutdown }
    }

    /// Makes sure that the root is ours to write to. Completes when it is.
    pub(crate) async fn claim_root(&mut self) {
        let mut delays = delays();
        loop {
            let outcome = self.store.claim_root().await;
            if self.succeeded(outcome).is_some() {
                break;
            }
            self.wait(delays.next()).await;
        }
        self.say_whether_it_locks().await;
    }

    async fn say_whether_it_locks(&mut self) {
        let mut delays = delays();
        loop {
            let outcome = self.store.object_lock().await.cloned();
            if let Some(lock) = self.succeeded(outcome) {
                self.metrics.object_lock.set((lock == ObjectLock::On).into());
                return match lock {
                    ObjectLock::On => {
                        tracing::info!("the store locks each object until its time (Object Lock, compliance)");
                    }
                    ObjectLock::Off(why) | ObjectLock::Unknown(why) => tracing::warn!(
                        "{why}: nothing keeps who may delete there from deleting evidence early, and the store is not WORM"
                    ),
                };
            }
            self.wait(delays.next()).await;
        }
    }

    /// Puts `bytes` at `path`. Completes when they are in the store.
    pub(crate) async fn put(&mut self, path: &str, bytes: Bytes) {
        self.put_until(path, bytes, None).await;
    }

    /// As [`Delivery::put`], of what must be kept until `until`: returns the time of the lock that the store was asked for,
    /// if it locks.
    pub(crate) async fn put_until(
        &mut self,
        path: &str,
        bytes: Bytes,
        until: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let mut delays = delays();
        loop {
            let outcome = match until {
                Some(until) => self.store.put_locked(path, bytes.clone(), until).await,
                None => self.store.put_once(path, bytes.clone()).await.map(|()| None),
            };
            if let Some(locked_until) = self.succeeded(outcome) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.metrics.last_put_time.set(now.as_secs_f64());
                return locked_until;
            }
            self.wait(delays.next()).await;
        }
    }

    /// Asks the store a question, again and again while it is away; `None` where it does not let this program ask.
    pub(crate) async fn ask<T>(&mut self, question: impl AsyncFn(&Store) -> Result<T, StoreError>) -> Option<T> {
        let mut delays = delays();
        loop {
            match question(&self.store).await {
                Ok(answer) => return self.succeeded(Ok(answer)),
                Err(error) if matches!(error.kind, FailureKind::Forbidden | FailureKind::Unsupported) => {
                    tracing::warn!(kind = error.kind.name(), "{error}");
                    return None;
                }
                Err(error) => {
                    self.succeeded::<T>(Err(error));
                    self.wait(delays.next()).await;
                }
            }
        }
    }

    /// Whether a put has failed since this was asked last.
    pub(crate) fn take_outage(&mut self) -> bool {
        std::mem::take(&mut self.was_away)
    }

    /// Waits so long; true, at once, where the stop is requested.
    pub(crate) async fn stops_within(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => false,
            () = self.shutdown.requested() => true,
        }
    }

    fn succeeded<T>(&mut self, outcome: Result<T, StoreError>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.answered.set(true);
                if self.outage.take().is_some() {
                    tracing::info!("the store takes evidence again");
                }
                Some(value)
            }
            Err(error) => {
                self.was_away = true;
                self.answered.unmet_because(error.to_string());
                self.metrics.put_failed(error.kind);
                if self.outage.replace(error.kind) == Some(error.kind) {
                    tracing::debug!(kind = error.kind.name(), "{error}");
                } else {
                    tracing::warn!(
                        kind = error.kind.name(),
                        "{error}; the spool keeps the evidence, and it is tried again until it succeeds"
                    );
                }
                None
            }
        }
    }

    async fn wait(&self, delay: Option<Duration>) {
        let delay = delay.unwrap_or(LONGEST_DELAY);
        if self.shutdown.is_requested() {
            return tokio::time::sleep(delay.min(LONGEST_DELAY_WHILE_STOPPING)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.shutdown.requested() => {}
        }
    }
}

/// What the configuration says of locking, as the store knows it.
pub(crate) fn lock_policy(wanted: Wanted) -> LockPolicy {
    match wanted {
        Wanted::Auto => LockPolicy::Auto,
        Wanted::Required => LockPolicy::Required,
        Wanted::Off => LockPolicy::Off,
    }
}

/// Each is about twice the one before, up to the longest, and longer by chance: nodes that lost the store together do not all
/// come back at once.
fn delays() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_are_not_those_of_another_node() {
        let [one, other] = [0, 1].map(|_| delays().take(50).collect::<Vec<_>>());
        assert_ne!(one, other);
        for (time, delay) in one.iter().enumerate() {
            let usual = (FIRST_DELAY * 2_u32.pow(time.min(10).try_into().unwrap())).min(LONGEST_DELAY);
            assert!(*delay >= usual && *delay <= 2 * usual, "{time}: {delay:?}, where {usual:?} is usual");
        }
        assert_eq!(one.len(), 50, "it is never given up");
    }
}
