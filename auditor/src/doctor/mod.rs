//! `podwitness doctor`: what this node can do, and whether it does it.

mod chain;
mod check;
mod clock;
mod endpoints;
mod kernel;
mod probe;
mod programs;
mod routes;
mod spool;
mod store;
mod table;

use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use podwitness_config::Config;
use podwitness_lab::{Programs, require_root};

use crate::event_loop;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use check::{Check, State, list};

/// Say what this node can do: kernel, hooks on every pod's interface and who else is there, routes past them, clock,
/// spool, store, and the two programs.
///
/// Run it on the node as root, where the agent runs. It changes nothing there, and does not need the agent. Every check
/// says what was found and, where all is not well, what to do. Exit code 0 when nothing failed, 1 when something did, 2
/// when the question was wrong, such as a configuration that cannot be read.
///
/// With -o json it prints an array of objects, one for each check, with the keys `name`, `subject` (which of several,
/// or null), `state` (`ok`, `warning`, `failed` or `unknown`), `found`, and `advice` (null when ok).
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The configuration file of the agent and the exporter; without it, only what needs none is looked at
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Look at what one program needs alone, from inside its container: there the agent cannot ask the store, and the
    /// exporter nothing of the kernel
    #[arg(long, value_name = "PROGRAM", requires = "config", conflicts_with = "probe")]
    only: Option<Part>,

    /// Prove it: make two pods in namespaces of their own, send one connection that is allowed and one that is denied
    /// through the programs beside this one, and show the record of each
    #[arg(long)]
    probe: bool,

    /// How to print the checks
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// How long a name server that is asked for the store's address is waited for in the end.
const RESOLVER_LIMIT: Duration = Duration::from_secs(10);

/// Whose needs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Agent,
    Exporter,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = match &arguments.config {
        Some(path) => {
            let config = Config::load(path, &|name| std::env::var(name).ok());
            Some(config.map_err(Failure::question)?)
        }
        None => None,
    };
    let probe = if arguments.probe { Some(Probe::prepare()?) } else { None };

    let mut checks = Vec::new();
    let of_kernel = arguments.only != Some(Part::Exporter);
    if of_kernel {
        checks.extend(kernel::checks());
        checks.push(config.as_ref().map_or_else(kernel::default_bpffs, |config| kernel::bpffs(&config.bpffs)));
    }
    checks.extend(clock::checks());
    if of_kernel {
        checks.extend(routes::checks());
    }
    match &config {
        Some(config) => checks.extend(of_configuration(config, arguments.only)?),
        None => checks.push(Check::unknown(
            "configuration",
            "none was given, so endpoints, hooks, spool, store and the two programs were left out",
            "give the node's own with --config",
        )),
    }
    if let Some(Probe { programs, interrupt }) = probe {
        checks.extend(probe::checks(&programs, &interrupt)?);
    }
    print(&checks, arguments.output)?;
    conclude(&checks)
}

/// What the probe needs, asked for before anything is looked at.
struct Probe {
    programs: Programs,
    interrupt: Interrupt,
}

impl Probe {
    fn prepare() -> Result<Self, Failure> {
        require_root().map_err(Failure::question)?;
        Ok(Self { programs: Programs::beside_this().map_err(Failure::question)?, interrupt: Interrupt::listen()? })
    }
}

fn of_configuration(config: &Config, only: Option<Part>) -> Result<Vec<Check>, Failure> {
    let mut checks = if only == Some(Part::Exporter) { Vec::new() } else { endpoints::checks(config) };
    checks.extend(spool::checks(&config.spool));
    let network = event_loop::start()?;
    if only != Some(Part::Agent) {
        checks.push(network.block_on(store::check(&config.store.url, std::env::vars())));
    }
    checks.extend(network.block_on(programs::checks(&config.listen)));
    // The probe needs the process to itself, and a thread that asks for a name cannot be stopped.
    network.shutdown_timeout(RESOLVER_LIMIT);
    Ok(checks)
}

fn print(checks: &[Check], output: Output) -> Result<(), Failure> {
    let text = match output {
        Output::Table => table::render(checks),
        Output::Json => serde_json::to_string_pretty(checks).expect("texts and words are always valid JSON"),
    };
    match writeln!(stdout(), "{text}") {
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::answer(format_args!("cannot print the checks: {error}"))),
    }
}

fn conclude(checks: &[Check]) -> Result<(), Failure> {
    let mut failed: Vec<&str> =
        checks.iter().filter(|check| check.state == State::Failed).map(|check| check.name).collect();
    failed.dedup();
    if failed.is_empty() { Ok(()) } else { Err(Failure::answer(format_args!("failed: {}", list(&failed)))) }
}
