//! The loop: gather, stage, put, note, done, clear, and a seal when one is due; see the crate's documentation for why in this order.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parquet::errors::ParquetError;
use podwitness_config::Config;
use podwitness_runtime::readiness::{Condition, Readiness};
use podwitness_runtime::shutdown::Shutdown;
use podwitness_spool::{Damage, SpoolError};
use podwitness_store::{OpenError, Store};
use thiserror::Error;

use crate::batch::{Batch, Limits};
use crate::delivery::{Delivery, lock_policy};
use crate::metrics::Metrics;
use crate::sealing::{Sealing, SealingError};
use crate::source::{Next, Source};
use crate::staging::{Plan, Staging, StagingError};
use crate::step::Step;

/// How often the spool is looked at when nothing was there. The agent commits at most ten times a second.
const POLL: Duration = Duration::from_millis(250);

/// How often the metrics of what waits are brought up to date.
const LOOK: Duration = Duration::from_secs(5);

/// How long a stop may take while the store is away: less than the 30 s after which Kubernetes kills.
const GRACE: Duration = Duration::from_secs(20);

/// Why the exporter cannot go on. A store that refuses is not among them: it is tried for ever.
#[derive(Debug, Error)]
pub enum RunError {
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The staging folder cannot be used.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// What was put cannot be sealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// A file cannot be made of the records.
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] ParquetError),
}

/// An exporter that has not begun.
pub struct Exporter {
    config: Config,
    limits: Limits,
    label_columns: Arc<[String]>,
    delivery: Delivery,
    /// Before what is read next.
    damage: Vec<Damage>,
    spool_open: Condition,
    chain_ours: Arc<Condition>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

impl Exporter {
    /// Prepares one; nothing is read or sent yet. `environment` has the store's settings and credentials.
    pub fn new(
        config: &Config,
        environment: impl IntoIterator<Item = (String, String)>,
        readiness: &Readiness,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Result<Self, OpenError> {
        let store =
            Store::open(&config.store.url, environment)?.with_lock_policy(lock_policy(config.store.object_lock));
        let spool_open = readiness.condition("spool open");
        let store_answered = readiness.condition("store takes evidence");
        let chain_ours = readiness.condition("chain of seals is this node's");
        Ok(Self {
            limits: Limits { max_age: config.batch.max_age, max_bytes: config.batch.max_bytes },
            label_columns: config.labels.columns.as_slice().into(),
            delivery: Delivery::new(store, store_answered, Arc::clone(&metrics), shutdown.clone()),
            config: config.clone(),
            damage: Vec::new(),
            spool_open,
            chain_ours: Arc::new(chain_ours),
            metrics,
            shutdown,
        })
    }
}

/// Exports until the stop is requested and the spool is empty, or [`GRACE`] has passed since.
pub async fn until_stopped(exporter: Exporter, shutdown: &Shutdown) -> Result<(), RunError> {
    let out_of_time = async {
        shutdown.requested().await;
        tokio::time::sleep(GRACE).await;
    };
    let watch = watch(exporter.config.spool.path.clone(), Arc::clone(&exporter.metrics));
    tokio::select! {
        // Dropping the work is a kill like any other.
        result = work(exporter) => result,
        never = watch => match never {},
        () = out_of_time => {
            tracing::warn!("stopped before the store had taken everything; the rest stays in the spool");
            Ok(())
        }
    }
}

/// Keeps the metrics true while the work waits for the store, which may take hours.
async fn watch(spool: PathBuf, metrics: Arc<Metrics>) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        metrics.age();
        // What is wrong with a spool that cannot be looked at is the work's to say.
        if let Ok(look) = podwitness_spool::look(&spool) {
            metrics.spool_bytes.set(i64::try_from(look.bytes).unwrap_or(i64::MAX));
        }
    }
}

async fn work(mut exporter: Exporter) -> Result<(), RunError> {
    let Some(mut source) = exporter.open_source().await? else { return Ok(()) };
    let (staging, unfinished) = Staging::open(&exporter.config.spool.path)?;
    let mut sealing = Sealing::open(&exporter.config, Arc::clone(&exporter.chain_ours), Arc::clone(&exporter.metrics))?;
    exporter.delivery.claim_root().await;
    if !sealing.begin(&mut exporter.delivery).await? {
        return Ok(());
    }
    if let Some(mut plan) = unfinished {
        tracing::info!(files = plan.files.len(), "finishing the batch that an earlier run had begun to put");
        exporter.put(&staging, &mut plan).await?;
        sealing.note(&plan)?;
        source.done_again(plan.end.into())?;
        staging.clear()?;
    }
    while let Some(batch) = exporter.gather(&mut source, &mut sealing).await? {
        exporter.export(batch, &mut source, &staging, &mut sealing).await?;
    }
    let is_last = sealing.end(&mut exporter.delivery).await?;
    tracing::info!(is_last, "stopped; everything in the spool is in the store, and sealed");
    Ok(())
}

impl Exporter {
    /// Waits for the agent to make the spool; `None` where the stop is requested before.
    async fn open_source(&self) -> Result<Option<Source>, SpoolError> {
        let path = &self.config.spool.path;
        let mut told = false;
        loop {
            if let Some(source) = Source::open(path, &self.spool_open, &self.metrics)? {
                return Ok(Some(source));
            }
            if self.shutdown.is_requested() {
                return Ok(None);
            }
            if !told {
                told = true;
                tracing::info!(spool = %path.display(), "waiting for the agent to make the spool");
            }
            self.idle().await;
        }
    }

    /// The next batch, closed; `None` where the stop is requested and the spool is empty.
    async fn gather(&mut self, source: &mut Source, sealing: &mut Sealing) -> Result<Option<Batch>, RunError> {
        let mut open: Option<Batch> = None;
        loop {
            if sealing.is_due() {
                sealing.seal(&mut self.delivery, false).await?;
            }
            match source.next()? {
                Some(Next::Batch(spooled)) => match &mut open {
                    Some(batch) if !batch.accepts(&spooled) => {
                        source.put_back(Next::Batch(spooled));
                        return Ok(open);
                    }
                    Some(batch) => {
                        batch.append(&spooled);
                        self.damage.drain(..).for_each(|damage| batch.lack(&damage));
                    }
                    None => {
                        let batch = open.insert(Batch::begin(&spooled, Arc::clone(&self.label_columns)));
                        self.damage.drain(..).for_each(|damage| batch.lack(&damage));
                    }
                },
                // What is behind the damage moves the cursor past it.
                Some(Next::Damage(found)) => self.damage.push(found),
                None => {
                    self.observe(open.as_ref(), source)?;
                    if self.shutdown.is_requested() || open.as_ref().is_some_and(|batch| batch.is_due(self.limits)) {
                        return Ok(open);
                    }
                    self.idle().await;
                }
            }
            if open.as_ref().is_some_and(|batch| batch.is_full(self.limits)) {
                return Ok(open);
            }
        }
    }

    async fn export(
        &mut self,
        batch: Batch,
        source: &mut Source,
        staging: &Staging,
        sealing: &mut Sealing,
    ) -> Result<(), RunError> {
        let end = batch.end();
        let facts = batch.facts().clone();
        self.metrics.set_oldest_unexported(batch.oldest());
        let unresolved = batch.unresolved();
        if unresolved > 0 {
            tracing::error!(
                records = unresolved,
                "records refer to definitions that the agent did not write; their columns are null"
            );
            self.metrics.unresolved_references.inc_by(unresolved);
        }
        let files = batch.into_files(self.config.retention.default)?;
        if files.is_empty() && !facts.must_be_noted() {
            return Ok(source.done(end)?);
        }
        Step::Gathered.reached();
        let mut plan = staging.plan(&files, facts, end)?;
        self.put(staging, &mut plan).await?;
        sealing.note(&plan)?;
        source.done(end)?;
        Step::Done.reached();
        staging.clear()?;
        self.observe(None, source)?;
        Ok(())
    }

    async fn put(&mut self, staging: &Staging, plan: &mut Plan) -> Result<(), StagingError> {
        for file in &mut plan.files {
            let bytes = staging.read(file)?.into();
            file.locked_until = self.delivery.put_until(&file.path, bytes, Some(file.content.retain_until)).await;
            self.metrics.objects_put.inc();
            self.metrics.bytes_put.inc_by(file.bytes);
            self.metrics.records_exported.inc_by(file.content.rows);
            tracing::debug!(path = file.path, rows = file.content.rows, bytes = file.bytes, "put");
            Step::Put.reached();
        }
        Step::AllPut.reached();
        Ok(())
    }

    fn observe(&self, open: Option<&Batch>, source: &Source) -> Result<(), SpoolError> {
        self.metrics.set_oldest_unexported(open.and_then(Batch::oldest));
        self.metrics.spool_bytes.set(i64::try_from(source.bytes()?).unwrap_or(i64::MAX));
        Ok(())
    }

    async fn idle(&self) {
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = self.shutdown.requested() => {}
        }
    }
}
