//! The command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use podwitness_config::{Config, LogFormat};
use podwitness_runtime::http;
use podwitness_runtime::logging::{self, Format, LogOptions};
use podwitness_runtime::readiness::Readiness;
use podwitness_runtime::shutdown::Shutdown;

use crate::metrics::Metrics;
use crate::run::{self, Exporter};

/// Puts the evidence that podwitness-agent has spooled on this node into an object store, as Parquet files.
///
/// It needs no privilege, only the spool's folder and the right to create and read objects below `store.url`.
/// Credentials come from the environment, under the names that each cloud's own tools use: `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ENDPOINT_URL` (for S3 servers other than Amazon's),
/// `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_*`; or from the identity that the cloud gives to the pod.
///
/// While the store refuses or is away, evidence stays in the spool. SIGTERM exports what the spool holds and ends; a
/// second one ends at once. It may be killed at any moment: nothing is lost and nothing is written twice.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// The configuration file, the same as the agent's.
    #[arg(long, value_name = "FILE", default_value = "podwitness.yaml")]
    config: PathBuf,

    /// Wait until no agent writes to the spool, at most for 15 s, instead of running: for the hook that a pod runs before it
    /// stops the exporter, so that the last seal has what the agent said last.
    #[arg(long)]
    await_agent: bool,
}

/// How long the agent is waited for: what it has to bring out takes seconds, and the pod's time to stop is limited.
const AGENT_LIMIT: Duration = Duration::from_secs(15);
/// Between two looks whether it is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Arguments {
    /// Runs the exporter until it is told to stop.
    pub fn run(self) -> anyhow::Result<()> {
        let config = Config::load(&self.config, &|name| std::env::var(name).ok())?;
        logging::init(&LogOptions {
            format: match config.log.format {
                LogFormat::Json => Format::Json,
                LogFormat::Text => Format::Text,
            },
            filter: config.log.level.name().to_owned(),
        })?;
        if self.await_agent {
            return await_agent(&config.spool.path);
        }
        let shutdown = Shutdown::on_signals().context("cannot handle signals")?;
        let readiness = Readiness::new();
        let metrics = Arc::new(Metrics::default());
        let exporter = Exporter::new(&config, std::env::vars(), &readiness, Arc::clone(&metrics), shutdown.clone())?;
        let server = http::serve(config.listen.exporter, Arc::new(metrics.registry()), readiness)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            spool = %config.spool.path.display(),
            store = config.store.url,
            listen = %server.local_addr(),
            "exporter started"
        );
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop")?
            .block_on(run::until_stopped(exporter, &shutdown))?;
        Ok(())
    }
}

fn await_agent(spool: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + AGENT_LIMIT;
    while podwitness_spool::has_writer(spool)? {
        if Instant::now() > deadline {
            tracing::warn!(
                limit_s = AGENT_LIMIT.as_secs(),
                "the agent still runs; the last seal will not be that of a clean stop"
            );
            break;
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
