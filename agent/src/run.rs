//! Puts the parts together, and takes them apart in good order.

use std::{
    fs,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use podwitness_config::{Config, Mode, Source, UnknownEndpoints};
use podwitness_datapath::{Control, Datapath, Hooking, KeptSize};
use podwitness_endpoints::Discovery;
use podwitness_runtime::{
    exit::Exit,
    http, logging, memory,
    readiness::{Condition, Readiness},
    shutdown::Shutdown,
};
use podwitness_source::{ApiServer, DirectorySource, KubernetesSource};
use podwitness_spool::{Recovered, Writer, words::WitnessMode};
use podwitness_wire::{Settings, Verdict, names};
use prometheus_client::registry::Registry;

use crate::{
    changes::{Change, Teller},
    cli::Cli,
    controller::{Controller, Made},
    coverage::{self, Account, SourceState, Statements},
    definitions::Definitions,
    detach::detach,
    folders, full_tables,
    hooker::Hooker,
    life::Life,
    losses::{InUse, Loss},
    metrics::Metrics,
    privacy::Key,
    settings, startup_taint,
    step::Step,
    witness::{Parts, Witness},
};

/// The kernel's name for this life of it (`Documentation/admin-guide/sysctl/kernel.rst`, `random`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The folder of the spool in which the agent keeps what is its alone.
pub(crate) const STATE_FOLDER: &str = "agent";

/// Runs the agent until it is told to stop, or detaches.
pub fn run(cli: &Cli) -> Result<Exit> {
    memory::keep_little();
    let config = Config::load(&cli.config, &|name| std::env::var(name).ok())?;
    logging::init(&settings::log(&config))?;
    if cli.make_folders {
        folders::make(&config, nix::unistd::getegid().as_raw())?;
        return Ok(Exit::Success);
    }
    podwitness_datapath::check_privileges()?;
    if cli.detach {
        // Before it begins, so that a signal meanwhile is not missed; who does not stay is ended by one as any program.
        let stays = cli.stay.then(Shutdown::on_signals).transpose().context("cannot listen for signals")?;
        detach(&config)?;
        if let Some(shutdown) = stays {
            let _server = http::serve(config.listen.agent, Arc::new(Registry::default()), Readiness::new())?;
            shutdown.wait();
        }
        return Ok(Exit::Success);
    }
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let boot = boot_id()?;

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.spool_capacity(config.spool.max_bytes);
    let readiness = Readiness::new();
    let source_is_whole = readiness.condition("everything in the source can be read");
    let policy_in_force = readiness.condition("the policy of the present cluster is in force");
    let hooks_on = readiness.condition("every endpoint has its hooks");
    let is_keeping_up = readiness.condition("the spool takes verdicts");
    is_keeping_up.set(true);

    let TakenUp { witness, control, hooking, kept_sizes, definitions } =
        take_up(&config, &boot, settings::kernel(&config.connections), &metrics, is_keeping_up)?;
    tell_kept_sizes(&config, &kept_sizes);
    control.set_deny_unknown_endpoints(config.endpoints.unknown_endpoints == UnknownEndpoints::Deny);
    let unknown_endpoints = match config.endpoints.unknown_endpoints {
        UnknownEndpoints::Allow => Verdict::Allow,
        UnknownEndpoints::Deny => Verdict::Deny,
    };
    let journal = witness.journal();
    let server = http::serve(config.listen.agent, Arc::new(registry), readiness.clone())?;
    if let Some(key) = config.startup_taint.clone() {
        startup_taint::lift_when_ready(key, config.node.clone(), ApiServer::infer()?, readiness, shutdown.clone())
            .context("cannot start the thread that takes the taint off the node")?;
    }
    let (changes, told) = mpsc::channel();
    let hooker = Hooker::start(hooking, &changes).context("cannot start the thread that puts hooks on interfaces")?;
    let controller = Controller {
        control,
        hooker,
        definitions,
        metrics,
        node: config.node.clone(),
        audits: config.mode == Mode::Audit,
        retention: config.retention.clone(),
        account: Account::new(Arc::clone(&journal), unknown_endpoints),
        source: SourceState::new(Arc::clone(&journal)),
        statements: Statements::new(Arc::clone(&journal)),
        made: Made::nothing(&config.node),
        source_is_whole,
        policy_in_force,
        hooks_on,
    };
    let started_us = coverage::now_us();
    let mode = if config.mode == Mode::Audit { WitnessMode::Audit } else { WitnessMode::Enforce };
    journal.coverage(coverage::agent_started(started_us, mode, unknown_endpoints));
    tracing::info!(
        node = config.node,
        object_sha256 = podwitness_ebpf_object::SHA256,
        listen = %server.local_addr(),
        "agent started"
    );
    let result = work(&config, (changes, told), controller, witness, &shutdown, || {
        journal.coverage(coverage::agent_stopped(started_us));
    });
    tracing::info!("agent stopped; enforcement stays in place");
    result.map(|()| Exit::Success)
}

/// What is taken up from the agent before, be it to go on or to detach.
pub(crate) struct TakenUp {
    pub(crate) witness: Witness,
    pub(crate) control: Control,
    pub(crate) hooking: Hooking,
    pub(crate) kept_sizes: Vec<KeptSize>,
    pub(crate) definitions: Arc<Definitions>,
}

/// Opens the spool and the maps, and takes up the work where it was left.
pub(crate) fn take_up(
    config: &Config,
    boot: &str,
    settings: Settings,
    metrics: &Metrics,
    is_keeping_up: Condition,
) -> Result<TakenUp> {
    let state_folder = config.spool.path.join(STATE_FOLDER);
    let (spool, recovered) = open_spool(config, boot)?;
    if recovered.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovered.torn_bytes,
            "the end of the spool was torn and has been cut; nothing that was committed is lost"
        );
    }
    for damage in &recovered.damage {
        tracing::error!(%damage, "the spool is damaged: the sequence of its records has a hole there");
    }
    Step::SpoolOpened.reached();
    let given = podwitness_datapath::has_maps(&config.bpffs).then(numbers_of_before).transpose()?;
    let definitions = Arc::new(Definitions::open(&state_folder, boot, given)?);
    Step::DefinitionsOpened.reached();
    let key = Key::open(&config.privacy.hmac_key_file)?;
    // The folder may come with the first pod.
    let endpoints = fs::read_dir(&config.endpoints.netns).map_or(0, Iterator::count);
    let options = podwitness_datapath::Options { settings, ..settings::datapath(config, endpoints) };
    let Datapath { control, hooking, outlet, kept_sizes, is_taken_over } = Datapath::open(&options)?;
    let keep = || format!("cannot note in {} that the spool is in use", state_folder.display());
    let mut in_use = InUse::find(&state_folder).with_context(keep)?;
    let loss = Loss::of(&recovered, definitions.are_lost(), in_use.is_noted());
    if loss == Some(Loss::Spool) {
        in_use.note().with_context(keep)?;
    }
    Step::MapsOpened.reached();
    let (life, crash) = Life::begin(&state_folder, boot)
        .with_context(|| format!("cannot note in {} that the agent runs", state_folder.display()))?;
    Step::Begun.reached();
    let parts = Parts {
        outlet,
        spool,
        definitions: Arc::clone(&definitions),
        key,
        metrics: metrics.clone(),
        is_keeping_up,
        intervals: settings::intervals(config),
        life,
        in_use,
        is_ring_known: !(loss == Some(Loss::Spool) && is_taken_over),
    };
    let witness = Witness::new(parts, recovered.checkpoint.as_ref())?;
    // Before anything else, so that there is no commit without it.
    match loss {
        Some(Loss::Spool) => {
            tracing::error!(
                spool = %config.spool.path.display(),
                "the spool was lost, and with it all that was not in the store yet; the evidence says so, and goes on"
            );
            witness.journal().coverage(coverage::spool_lost(definitions.are_lost()));
        }
        Some(Loss::Names) => {
            tracing::error!(
                "what numbers in older connections mean was lost: records of these lack the names, and say so"
            );
            witness.journal().coverage(coverage::names_lost());
        }
        None => definitions.loss_is_told()?,
    }
    if let Some(crash) = crash {
        tracing::warn!("the agent before had not ended in good order");
        witness.journal().coverage(crash.row());
    }
    Ok(TakenUp { witness, control, hooking, kept_sizes, definitions })
}

/// Opens the spool; `boot` is the kernel's own name of this life of it.
pub(crate) fn open_spool(config: &Config, boot: &str) -> Result<(Writer, Recovered)> {
    let boot_of_spool = settings::boot_of_spool(config, boot, uptime()?)?;
    Ok(Writer::open(&config.spool.path, settings::spool(config), settings::origin(config, boot_of_spool))?)
}

pub(crate) fn boot_id() -> Result<String> {
    Ok(fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read {BOOT_ID}"))?.trim().to_owned())
}

/// Since the kernel began, sleep included.
fn uptime() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_BOOTTIME).context("cannot read the clock")?.into())
}

/// A number up to which all may have been given by agents whose definitions are lost. They began with 1, or behind another
/// number like this, which is one of a thousand million by chance: that they reached to just behind this one is as unlikely.
fn numbers_of_before() -> Result<u32> {
    const LEAST: u32 = 1 << 30;
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(LEAST | u32::from_ne_bytes(bytes) >> 1)
}

/// Says which maps keep the size of an earlier start. A table of connections whose size nobody has set may be larger than
/// it needs to be.
fn tell_kept_sizes(config: &Config, kept_sizes: &[KeptSize]) {
    for &KeptSize { map, wanted, kept } in kept_sizes {
        let is_set = map != names::CONNECTIONS || config.connections.max.is_some();
        if is_set || kept < wanted {
            tracing::warn!(
                key = full_tables::key_of(map),
                wanted,
                kept,
                "a map keeps the size with which it was made: for another one take the maps away with --detach, after \
                 which nothing is enforced until the agent has started"
            );
        }
    }
}

/// Runs the two threads. Where one ends by itself the other is stopped, and so is the agent; where both end in good order,
/// `say_stopped` has the last word in the journal.
fn work(
    config: &Config,
    (changes, told): (Sender<Change>, Receiver<Change>),
    controller: Controller,
    witness: Witness,
    shutdown: &Shutdown,
    say_stopped: impl FnOnce(),
) -> Result<()> {
    let of_cluster = Teller::new(&changes, "what follows the cluster");
    let deliver = move |update| of_cluster.tell(Change::Cluster(update));
    let _source = match &config.source {
        Source::Directory(folder) => (Some(DirectorySource::start(folder, deliver)?), None),
        Source::Kubernetes => (None, Some(KubernetesSource::start(&ApiServer::infer()?, deliver)?)),
    };
    let of_node = Teller::new(&changes, "what looks for endpoints");
    let _discovery =
        Discovery::start(podwitness_endpoints::Options { netns: config.endpoints.netns.clone() }, move |snapshot| {
            of_node.tell(Change::Endpoints(snapshot, Instant::now()));
        })?;
    drop(changes);
    thread::scope(|scope| {
        let witness = thread::Builder::new().name("witness".to_owned()).spawn_scoped(scope, || {
            let result = witness.run(shutdown);
            shutdown.request();
            result
        })?;
        let controlled = controller.run(&told, shutdown);
        shutdown.request();
        let witnessed = witness.join().map_err(|_| anyhow::anyhow!("the witness has panicked"))?;
        let witness = witnessed?;
        if controlled.is_ok() {
            say_stopped();
        }
        witness.finish(controlled.is_ok());
        Ok(controlled?)
    })
}
