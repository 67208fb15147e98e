//! `podwitness demo`: the whole of it on this machine, without a cluster, and checked.

mod check;
mod duckdb;
mod errands;
mod evidence_folder;
mod examples;
mod oracle;
mod prerequisites;
mod script;
mod stage;
mod table;
mod verification;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use podwitness_lab::{Attempt, Outcome, Programs, isolate, require_root};
use podwitness_schemas::views;

use crate::evidence::{self, Evidence};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::running::Running;
use check::Probe;
use errands::Errand;
use evidence_folder::EvidenceFolder;
use examples::{ClusterPlan, Manifest};
use stage::Stage;

/// Show the product working on this machine, with no cluster: pods, real traffic, real enforcement, evidence.
///
/// Pods are network namespaces of this process, so nothing outside it is touched. As root. What the policies say is
/// compared with what happened and with the evidence; a difference ends the demo with exit code 1.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write the evidence to this folder, new or empty [default: ./evidence/<time>]
    #[arg(long, value_name = "DIR", alias = "keep")]
    evidence: Option<PathBuf>,

    /// Use the Kubernetes objects (YAML or JSON) in this folder: every pod then tries every named port of every other pod
    #[arg(long, value_name = "DIR")]
    examples: Option<PathBuf>,
}

/// How long a verdict may take from the kernel to the evidence.
const EVIDENCE_LIMIT: Duration = Duration::from_secs(20);
/// So short that the demo's chain has some seals.
const SEAL_INTERVAL: &str = "2s";
/// How many faults are told; one mistake tends to make many.
const FAULTS_SHOWN: usize = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    require_root().map_err(Failure::question)?;
    if let Some(missing) = prerequisites::missing() {
        return Err(Failure::Question(missing));
    }
    let programs = Programs::beside_this().map_err(Failure::question)?;
    let duckdb = duckdb::find()?;
    let manifests = match &arguments.examples {
        Some(folder) => examples::in_folder(folder)?,
        None => examples::built_in(),
    };
    let plan = ClusterPlan::read(&manifests)?;
    let errands = match arguments.examples {
        Some(_) => errands::every_port(&plan.pods(), &plan.oracle()),
        None => script::script(),
    };
    let interrupt = Interrupt::listen()?;
    let folder = EvidenceFolder::make(arguments.evidence.as_deref())?;

    isolate().map_err(Failure::answer)?;
    let witnessed = witness(&programs, &plan, &manifests, &errands, &folder, &interrupt);
    let handed_over = folder.hand_over();
    if witnessed.is_err() && !folder.discard_if_empty() {
        eprintln!("what evidence there is stays in {}", folder.path().display());
    }
    let evidence = witnessed?;
    handed_over.map_err(|error| Failure::answer(format_args!("cannot change the owner of the evidence: {error}")))?;
    tell(&evidence, &folder, &duckdb)
}

/// Builds the stage, runs the errands on it, and gives the evidence once it is complete and everything has stopped.
fn witness(
    programs: &Programs,
    plan: &ClusterPlan,
    manifests: &[Manifest],
    errands: &[Errand],
    folder: &EvidenceFolder,
    interrupt: &Interrupt,
) -> Result<Evidence, Failure> {
    let progress = Progress { started: Instant::now() };
    progress.say(format_args!(
        "building node {} with {} pods as network namespaces",
        plan.node.name,
        plan.pods().len()
    ));
    for fault in &plan.faults {
        progress.say(fault);
    }
    let stage = Stage::build(plan, manifests)?;
    let installation =
        stage.lab.install(programs, Some(folder.path())).map_err(Failure::answer)?.set("cluster", "demo");
    let installation = installation.set("seal.interval", SEAL_INTERVAL);
    interrupt.check()?;

    progress.say("starting podwitness-agent and podwitness-exporter on it");
    let mut running = Running::start(&installation)?;
    let result = running
        .wait_ready(interrupt)
        .and_then(|()| {
            progress.say("hooks are on and the policies are in force: sending real traffic");
            probe(&stage, errands, interrupt)
        })
        .and_then(|probes| {
            progress.say("waiting until the evidence holds every verdict");
            await_evidence(&probes, folder.path(), interrupt)?;
            Ok(probes)
        });
    let probes = match result {
        Err(failure @ Failure::Answer(_)) => {
            eprintln!("\n{}", running.log_tails());
            return Err(failure);
        }
        result => result?,
    };

    progress.say("stopping both programs");
    running.stop()?;
    // Again, because the last files are written on stopping, and must say the same.
    let evidence = evidence::read(folder.path()).map_err(Failure::answer)?;
    require_none(&check::faults(&probes, &evidence.records))?;
    progress.say(format_args!("all {} attempts are in the evidence as the policies say", probes.len()));
    Ok(evidence)
}

/// Runs the errands one after another, and tells of each.
fn probe<'errand>(
    stage: &Stage,
    errands: &'errand [Errand],
    interrupt: &Interrupt,
) -> Result<Vec<Probe<'errand>>, Failure> {
    let mut probes = Vec::new();
    for errand in errands {
        interrupt.check()?;
        let attempts = stage.run(errand)?;
        eprintln!("        {errand} {:<11} {}", outcomes(&attempts), errand.about);
        probes.extend(attempts.into_iter().map(|attempt| Probe { errand, attempt }));
    }
    Ok(probes)
}

/// What became of the attempts over each family, in a word where they agree.
fn outcomes(attempts: &[Attempt]) -> String {
    let word = |outcome: Outcome| match outcome {
        Outcome::Answered => "answered".to_owned(),
        Outcome::Refused => "refused".to_owned(),
        Outcome::TimedOut => "no answer".to_owned(),
        Outcome::Unreachable(kind) => kind.to_string(),
    };
    let mut words: Vec<String> = attempts.iter().map(|attempt| word(attempt.outcome)).collect();
    words.dedup();
    words.join(" / ")
}

fn await_evidence(probes: &[Probe<'_>], root: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    let deadline = Instant::now() + EVIDENCE_LIMIT;
    loop {
        interrupt.check()?;
        let evidence = evidence::read(root).map_err(Failure::answer)?;
        let faults = check::faults(probes, &evidence.records);
        if faults.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return require_none(&faults);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn require_none(faults: &[String]) -> Result<(), Failure> {
    if faults.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = faults.iter().take(FAULTS_SHOWN).map(|fault| format!("\n  - {fault}")).collect();
    let rest = match faults.len().saturating_sub(FAULTS_SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    Err(Failure::answer(format_args!("what happened is not what the policies say:{}{rest}", shown.concat())))
}

/// Shows the evidence, lets `DuckDB` say the same, and tells how to go on.
fn tell(evidence: &Evidence, folder: &EvidenceFolder, duckdb: &Path) -> Result<(), Failure> {
    let lines = table::lines(&evidence.records);
    println!(
        "\nThe evidence, read from {} Parquet files: every decision, on each side of each connection\n",
        evidence.files.len()
    );
    println!("{}", table::render(&lines));

    let root = folder.path().to_string_lossy();
    let statements = tempfile::Builder::new()
        .prefix("podwitness-views-")
        .suffix(".sql")
        .tempfile()
        .and_then(|file| fs::write(file.path(), views::render(&root)).map(|()| file))
        .map_err(|error| Failure::answer(format_args!("cannot write the views to a temporary file: {error}")))?;
    println!("\nThe same, answered by DuckDB:\n{}\n", duckdb::QUESTION);
    println!("{}", duckdb::show(duckdb, statements.path())?.trim_end());
    let ours = lines.into_iter().map(|(line, group)| (line, group.count)).collect();
    if duckdb::lines(duckdb, statements.path())? != ours {
        return Err(Failure::answer("DuckDB's answer is not that of the table"));
    }

    let this = std::env::current_exe()
        .map_err(|error| Failure::answer(format_args!("cannot tell where this program is: {error}")))?;
    verification::show(&this, folder.path())?;
    println!("\nThe evidence is in {root} ({} records). Go on asking:\n", evidence.records.len());
    println!("  {} sql {} > views.sql", quoted(&this), quoted(folder.path()));
    println!("  {} -init views.sql", quoted(duckdb));
    println!("  {} verify {}", quoted(&this), quoted(folder.path()));
    println!("\nand then, for example: FROM denied;  FROM allowed;  FROM connections();");
    Ok(())
}

/// A path as a word for the shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+:@%".contains(character);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// What the demo is at, and since when, on standard error.
struct Progress {
    started: Instant,
}

impl Progress {
    fn say(&self, what: impl std::fmt::Display) {
        eprintln!("[{:4.1} s] {what}", self.started.elapsed().as_secs_f64());
    }
}
