//! `podwitness retain`: deletes what need not be kept any more, and signs what it deleted.
//!
//! `wishes` (how long things are kept) and `history` (what is sealed and was deleted) say what may
//! go; `protocol` says in which order it goes; `deleter` is what this command keeps on its own disk.

mod deleter;
mod history;
pub(crate) mod output;
mod protocol;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod wishes;

use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::Args;
use indicatif::ProgressBar;
use podwitness_config::Config;
use podwitness_schemas::layout::key_path;
use podwitness_seals::key::PublicKey;
use podwitness_store::{Marker, Store, url_of};

use crate::chain::Keys;
use crate::event_loop;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use deleter::Deleter;
use protocol::{Run, Step, Stop};
use wishes::Wishes;

/// Delete the evidence that need not be kept any more, and sign a list of it, once; run it on a schedule.
///
/// An object goes when its own `retain_until` is past, and so is the time that its namespace's AuditTrail (or
/// `retention.default`) asks for now, when its namespace is not on legal hold, when a seal lists it and when the store's
/// lock on it has ended. Objects that belong to no single namespace (coverage, policies) stay as long as the longest of
/// all, and while any namespace is on hold. The list is signed and stored before anything on it is deleted, so that
/// `podwitness verify` can tell lawful deletion from loss.
///
/// It may be interrupted and run again: what was signed is finished first. Where a seal or an earlier deletion is
/// missing or wrong it deletes nothing. Exit code 1 when something could not be deleted, 2 when the question was wrong.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The evidence root: a URL (s3://, gs://, az://, file://) or a folder
    root: String,

    /// The configuration, with the cluster's name, `retention` and the source of the `AuditTrail`s
    #[arg(long, value_name = "FILE", default_value = "podwitness.yaml")]
    config: PathBuf,

    /// The key that signs deletions; made where it is absent. Its folder must be kept, and be writable. A file KEY.next beside
    /// it (empty, for a key made here) is the key that takes its place: the next deletion says so
    #[arg(long, value_name = "FILE", required_unless_present_any = ["dry_run", "lifecycle"])]
    key: Option<PathBuf>,

    /// Trust only seals that are signed by keys in this folder (*.pem), or by keys that those name. Without it the keys in
    /// the evidence are believed, and so whoever can write there can say what may be deleted
    #[arg(long, value_name = "DIR")]
    trusted_keys: Option<PathBuf>,

    /// Say what would be deleted and why the rest stays, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Print an S3 lifecycle configuration that deletes after the same times instead, and what that means
    #[arg(long, conflicts_with = "dry_run")]
    lifecycle: bool,

    /// How to print what was done
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// What is said of a lifecycle configuration.
const LIFECYCLE_NOTE: &str = "podwitness: what the store deletes by these rules goes without a signed deletion, and podwitness \
                              verify reports each such object as missing (object-missing); the rules also do not follow a \
                              hold or a raised retention that comes later: print and put them again then";

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config, &|name| std::env::var(name).ok()).map_err(Failure::question)?;
    let wishes =
        Wishes::read(&config).map_err(|why| Failure::question(format_args!("{why}; nothing is deleted on a guess")))?;
    let url = url_of(&arguments.root).map_err(Failure::question)?;
    let store = Store::open(&url, std::env::vars()).map_err(Failure::question)?;
    if arguments.lifecycle {
        eprintln!("{LIFECYCLE_NOTE}");
        let prefix = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, prefix)| prefix);
        return output::print(&serde_json::to_string_pretty(&wishes.lifecycle(prefix)).expect("texts are always JSON"));
    }
    let trusted = arguments.trusted_keys.as_deref().map(trusted_keys).transpose().map_err(Failure::question)?;
    let runtime = event_loop::start()?;
    runtime.block_on(work(arguments, &store, &wishes, trusted.as_ref()))
}

async fn work(arguments: &Arguments, store: &Store, wishes: &Wishes, trusted: Option<&Keys>) -> Result<(), Failure> {
    known_root(store).await?;
    let interrupt = Interrupt::listen()?;
    let progress = ProgressBar::new_spinner().with_message("objects deleted");
    let at = |step: Step| {
        step.reached();
        if step == Step::Deleted {
            progress.inc(1);
        }
        interrupt.check().map_err(|_| Stop::Interrupted)
    };
    let run = Run { store, wishes, trusted, now: Utc::now().into(), at: &at };
    let Some(key) = arguments.key.as_deref().filter(|_| !arguments.dry_run) else {
        let (history, altered) = run.look().await.map_err(failure)?;
        return output::plan(&history, &altered, arguments.output);
    };
    let mut deleter = Deleter::open(key).map_err(Failure::question)?;
    let outcome = run.delete(&mut deleter).await.map_err(failure)?;
    progress.finish_and_clear();
    output::outcome(&outcome, arguments.output)
}

/// Refuses what is no evidence root, or one of a newer layout.
pub(crate) async fn known_root(store: &Store) -> Result<(), Failure> {
    match store.marker().await.map_err(Failure::answer)? {
        Marker::Current => Ok(()),
        other => {
            let url = store.url();
            Err(Failure::question(format_args!("{url} is no evidence root that this version knows: {other:?}")))
        }
    }
}

fn failure(stop: Stop) -> Failure {
    match stop {
        Stop::Refused(why) => Failure::Answer(why),
        Stop::Interrupted => Failure::answer("interrupted; the next run finishes what this one has signed"),
    }
}

fn trusted_keys(folder: &Path) -> Result<Keys, String> {
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let mut keys = Keys::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            let key = PublicKey::from_pem(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            keys.insert(key.id(), key);
        }
    }
    if keys.is_empty() {
        return Err(format!("{} has no key, such as {}", folder.display(), key_path("<key id>")));
    }
    Ok(keys)
}
