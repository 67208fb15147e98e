//! The controller as the benchmark runs it: the real one, on the real kernel, about a cluster that it is told.

use std::{
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use podwitness_config::Retention;
use podwitness_datapath::{Attachment, Datapath, Options};
use podwitness_endpoints::{Endpoint, Snapshot};
use podwitness_policy::Cluster;
use podwitness_runtime::{readiness::Readiness, shutdown::Shutdown};
use podwitness_source::Update;
use podwitness_wire::{Settings, Verdict};
use prometheus_client::registry::Registry;

use crate::{
    changes::Change,
    controller::{Controller, Made},
    coverage::{Account, Journal, SourceState, Statements},
    definitions::Definitions,
    hooker::Hooker,
    metrics::Metrics,
};

/// A controller on a thread of its own.
pub struct Agent {
    changes: Sender<Change>,
    shutdown: Shutdown,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Agent {
    /// Starts it, with its pins in `bpffs` and its definitions in `folder`. Nothing is in force before it was told a cluster
    /// and the endpoints.
    pub fn start(bpffs: &Path, folder: &Path, node: &str) -> Result<Self> {
        let options = Options {
            bpffs: bpffs.to_owned(),
            connections: 1024,
            denials: 1024,
            ring_bytes: 1 << 16,
            settings: Settings::default(),
            attachment: Attachment::Auto,
        };
        let Datapath { control, hooking, .. } = Datapath::open(&options)?;
        let (changes, told) = channel();
        let journal = Arc::new(Journal::default());
        let readiness = Readiness::new();
        let controller = Controller {
            control,
            hooker: Hooker::start(hooking, &changes)?,
            definitions: Arc::new(Definitions::open(folder, "boot", None)?),
            metrics: Metrics::register(&mut Registry::default()),
            node: node.to_owned(),
            audits: false,
            retention: Retention { default: Duration::from_secs(1 << 20), minimum: Duration::from_secs(1 << 10) },
            account: Account::new(Arc::clone(&journal), Verdict::Allow),
            source: SourceState::new(Arc::clone(&journal)),
            statements: Statements::new(journal),
            made: Made::nothing(node),
            source_is_whole: readiness.condition("source"),
            policy_in_force: readiness.condition("policy"),
            hooks_on: readiness.condition("hooks"),
        };
        let shutdown = Shutdown::new();
        let until = shutdown.clone();
        let thread = thread::Builder::new()
            .name("controller".to_owned())
            .spawn(move || controller.run(&told, &until).context("the controller has ended"))?;
        Ok(Self { changes, shutdown, thread: Some(thread) })
    }

    /// Tells it the cluster.
    pub fn tell_cluster(&self, cluster: &Arc<Cluster>) -> Result<()> {
        let cluster = Some(Arc::clone(cluster));
        let update = Update { cluster, faults: Vec::new(), complete: true, received: Instant::now() };
        self.changes.send(Change::Cluster(update)).map_err(|_| anyhow!("the controller has ended"))
    }

    /// Tells it the node's interfaces.
    pub fn tell_endpoints(&self, endpoints: Vec<Endpoint>, host_addresses: Vec<IpAddr>) -> Result<()> {
        let snapshot = Snapshot { endpoints, host_addresses, ..Snapshot::default() };
        self.changes.send(Change::Endpoints(snapshot, Instant::now())).map_err(|_| anyhow!("the controller has ended"))
    }

    /// Stops it. What is in force stays.
    pub fn stop(mut self) -> Result<()> {
        self.shutdown.request();
        let thread = self.thread.take().context("it is stopped once")?;
        thread.join().map_err(|_| anyhow!("the controller has panicked"))?
    }
}
