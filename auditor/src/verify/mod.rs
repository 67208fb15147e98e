//! `podwitness verify`: whether anything of the evidence is missing, altered or contradicts itself; `schemas/FORMAT.md`,
//! section 7, says what is checked, and `verify.py` checks the same in other words.
//!
//! # How, and in which order
//!
//! 1. *What is there* (`inventory`, `names`): first the seals and deletions, of which only the newest number a chain is kept,
//!    then the objects. What a seal lists was put before the seal; so an object of a seal that we know of was listed, also
//!    while others go on writing. What comes later is not asked about.
//! 2. *Deletions* (`deletions`), and then *each chain of seals* (`seals`), a piece at a time: its documents are read
//!    and their signatures checked side by side (`document`), then what must hold between them in order (`links`,
//!    `sequences`), then what they list, side by side again (`object`: bytes; `locks`: the store's own; `content`: rows), and at
//!    its end whether deletions regarded what it asked for (`wishes`).
//! 3. *What no seal lists* (`unsealed`), and what a store with versions hides (`versions`).
//!
//! # Memory
//!
//! Of an object there are a hash of its path, its size and a bit; of a chain the names and times of its seals and the last
//! number of each sequence; of a deletion the hashes of what it lists; and what is found. Each thread has one file in memory
//! where that is at most 16 MiB, and reads a larger one in pieces; documents and their contents leave as they came.

mod claims;
mod columns;
mod content;
mod context;
mod deletions;
mod document;
mod finding;
mod guard;
mod inventory;
mod keys;
mod links;
mod locks;
mod names;
mod object;
mod output;
mod progress;
mod report;
mod root;
mod seals;
mod sequences;
mod told;
mod unsealed;
mod versions;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write as _, stdout};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use podwitness_schemas::layout::{ROOT_MARKER_PATH, VERSION};
use podwitness_seals::balance::TABLES;
use podwitness_seals::time::Time;
use rayon::prelude::*;

use self::context::Context;
use self::deletions::Deletions;
use self::finding::FindingCode;
use self::inventory::Inventory;
use self::keys::Keys;
use self::locks::Locks;
use self::names::{ChainName, FOLDERS, Name};
pub(crate) use self::output::Outcome;
use self::progress::Progress;
use self::report::Report;
use self::root::Root;
use self::told::Told;
use crate::failure::Failure;

/// No marker of a root is longer.
const GREATEST_MARKER: u64 = 1 << 20;

/// Threads where a store answers from afar: each waits most of the time. For a folder there are as many as processors.
const STORE_THREADS: usize = 16;

/// Check the evidence at ROOT: signatures, chains of seals, and every file that they list.
///
/// Exit codes: 0 where nothing is missing, altered or contradicts itself, 1 where something is, 2 where it could not be asked.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The evidence root: a folder, or a URL (file://, s3://, gs://, az://)
    #[arg(value_name = "ROOT")]
    root: String,
    /// Trust the public keys (*.pem) in DIR, and those to which they hand over, and no others
    ///
    /// Without it the keys under `keys/` are used, which prove nothing about who signed.
    #[arg(long, value_name = "DIR")]
    trusted_keys: Option<PathBuf>,
    /// ROOT is a part of another root: what seals list and it lacks is counted, and no finding
    #[arg(long)]
    part: bool,
    /// Judge the age of chains as of TIME (such as 2026-11-23T10:00:00Z) instead of now
    #[arg(long, value_name = "TIME")]
    as_of: Option<DateTime<Utc>>,
    /// The chain of CLUSTER/NODE must have the seal with the SHA-256 HASH; may be given again
    #[arg(long, value_name = "CLUSTER/NODE=HASH", value_parser = told::pin)]
    pin: Vec<told::Pin>,
    /// These nodes must have chains: CLUSTER/NODE, separated by commas, or a file with one a line
    #[arg(long, value_name = "FILE|LIST")]
    nodes: Option<String>,
    /// How to tell
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let outcome = ask(arguments)?;
    let page = match arguments.output {
        Format::Text => outcome.to_text(),
        Format::Json => format!("{:#}\n", outcome.to_json()),
    };
    match stdout().write_all(page.as_bytes()) {
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.map_err(|error| Failure::question(format_args!("cannot write the result: {error}")))?,
    }
    if outcome.is_good() {
        return Ok(());
    }
    Err(Failure::answer(format_args!("the evidence at {} is not as it should be", arguments.root)))
}

/// What is to be said of the root.
pub(crate) fn ask(arguments: &Arguments) -> Result<Outcome, Failure> {
    let told = Told::new(&arguments.pin, arguments.nodes.as_deref())?;
    let root = Root::open(&arguments.root)?;
    let threads = if root.is_store() { STORE_THREADS } else { 0 };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let threads = threads.map_err(|error| Failure::question(format_args!("cannot start threads: {error}")))?;
    threads.install(|| verify(arguments, &root, &told))
}

fn verify(arguments: &Arguments, root: &Root, told: &Told) -> Result<Outcome, Failure> {
    let report = Report::default();
    let as_of = Time::from(arguments.as_of.unwrap_or_else(Utc::now));
    check_marker(root, &report)?;
    let documents = list_documents(root, &report)?;
    let inventory = list_objects(root, &report)?;
    let keys = Keys::read(root, arguments.trusted_keys.as_deref(), &report)?;
    let locks = Locks::ask(root, &report)?;
    let progress = Progress::new(inventory.bytes());
    let context = Context {
        root,
        keys: &keys,
        inventory: &inventory,
        locks: &locks,
        report: &report,
        progress: &progress,
        as_of,
        part: arguments.part,
    };

    let (of_seals, of_deletions): (Vec<_>, Vec<_>) = documents.into_iter().partition(|(chain, _)| chain.node.is_some());
    let deletions = Deletions::read(&context, &of_deletions)?;
    let none = BTreeSet::new();
    let chains = of_seals
        .into_par_iter()
        .map(|(chain, newest)| {
            let pins = told.pins(&chain).unwrap_or(&none);
            seals::check(&context, &deletions, chain, newest, pins)
        })
        .collect::<Result<Vec<_>, _>>()?;
    deletions.tell_unlisted(&context)?;
    versions::check(&context, &deletions)?;
    unsealed::check(&context, &chains)?;
    told.compare(&chains, &report);
    progress.finish();
    Ok(Outcome {
        root: arguments.root.clone(),
        as_of,
        given_keys: keys.given(),
        keys: keys.count(),
        deletions: deletions.count(),
        chains,
        found: report.into_found(),
    })
}

fn check_marker(root: &Root, report: &Report) -> Result<(), Failure> {
    let tell = |why: String| report.finding(FindingCode::Layout, ROOT_MARKER_PATH, None, why);
    match root.get(ROOT_MARKER_PATH, GREATEST_MARKER)? {
        None => tell("it is missing".to_owned()),
        Some(bytes) => match serde_json::from_slice::<serde_json::Value>(&bytes) {
            // Nothing else in it means anything: it is not signed.
            Ok(marker) if marker["layout"] == VERSION => {}
            Ok(marker) => tell(format!("its layout is {}, and this program knows {VERSION} alone", marker["layout"])),
            Err(error) => tell(format!("it cannot be read: {error}")),
        },
    }
    Ok(())
}

/// The chains that there are, each with its newest number, be it of a document or of a signature. Tells what is stray in
/// the folders of documents and keys.
fn list_documents(root: &Root, report: &Report) -> Result<BTreeMap<ChainName, u64>, Failure> {
    let mut chains = BTreeMap::new();
    for folder in ["seals", "deletions", "keys"] {
        root.list(folder, |path, name, _| match name {
            Name::Document { chain, number, .. } => {
                let newest = chains.entry(chain).or_insert(number);
                *newest = number.max(*newest);
            }
            Name::Key { .. } => {}
            _ => tell_stray(report, path),
        })?;
    }
    Ok(chains)
}

fn list_objects(root: &Root, report: &Report) -> Result<Inventory, Failure> {
    let mut inventory = Inventory::default();
    for table in TABLES {
        root.list(table, |path, name, bytes| match name {
            Name::Object => inventory.add(path, bytes),
            _ => tell_stray(report, path),
        })?;
    }
    Ok(inventory)
}

fn tell_stray(report: &Report, path: &str) {
    let folders = FOLDERS.join(", ");
    report.finding(FindingCode::Stray, path, None, format!("nothing of this name stands in {folders}"));
}
