//! `podwitness status`: what evidence there is of each namespace.
//!
//! `evidence` adds it up from seals and the store's listing, `output` prints it, and `publish` writes it into the status
//! of the `AuditTrail`s.

mod evidence;
mod output;
mod publish;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use podwitness_config::{Config, Source};
use podwitness_source::ApiServer;
use podwitness_store::{Store, url_of};

use crate::event_loop;
use crate::failure::Failure;
use crate::output::Output;
use crate::retain::known_root;
use crate::retain::wishes::Wishes;
use evidence::{Amount, Evidence};

/// Say what evidence there is of each namespace: from when to when, how much, how long it is kept and whether it is held.
///
/// It is added up from the seals and from what is in the store; files are not opened, and signatures are checked with the
/// keys in the evidence: `podwitness verify` is what proves it. With `--write` the status of each AuditTrail says it too,
/// which needs `source.kubernetes` and the permission to patch `audittrails/status`. Exit code 1 when the evidence is not in
/// order or a status could not be written, 2 when the question was wrong.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The evidence root: a URL (s3://, gs://, az://, file://) or a folder
    root: String,

    /// The configuration, with the cluster's name, `retention` and the source of the `AuditTrail`s
    #[arg(long, value_name = "FILE", default_value = "podwitness.yaml")]
    config: PathBuf,

    /// Write it into the status of the `AuditTrail`s
    #[arg(long)]
    write: bool,

    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// What there is of a namespace, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    namespace: String,
    amount: Option<Amount>,
    retention_seconds: u64,
    held: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config, &|name| std::env::var(name).ok()).map_err(Failure::question)?;
    let server = match (&config.source, arguments.write) {
        (_, false) => None,
        (Source::Kubernetes, true) => Some(ApiServer::infer().map_err(Failure::question)?),
        (Source::Directory(_), true) => {
            return Err(Failure::question(
                "--write needs `source.kubernetes`: the AuditTrails of a folder are files, and have no status",
            ));
        }
    };
    let wishes = Wishes::read(&config).map_err(Failure::question)?;
    let url = url_of(&arguments.root).map_err(Failure::question)?;
    let store = Store::open(&url, std::env::vars()).map_err(Failure::question)?;
    let runtime = event_loop::start()?;
    runtime.block_on(async {
        known_root(&store).await?;
        let evidence = Evidence::read(&store, &wishes.cluster).await;
        if let Some(server) = server {
            publish::publish(&server, &wishes, evidence.as_ref()).await.map_err(Failure::Answer)?;
        }
        let evidence = evidence.map_err(|why| Failure::answer(format_args!("the evidence is not in order: {why}")))?;
        output::print(&rows(&wishes, &evidence), evidence.last_seal, arguments.output)
    })
}

/// A row for each namespace that there is or of which there is evidence.
fn rows(wishes: &Wishes, evidence: &Evidence) -> Vec<Row> {
    let namespaces: BTreeSet<&String> = wishes.namespaces.iter().chain(evidence.by_namespace.keys()).collect();
    let row = |namespace: &String| {
        let asked = wishes.of_namespace(Some(namespace));
        let amount = evidence.by_namespace.get(namespace).copied();
        Row { namespace: namespace.clone(), amount, retention_seconds: asked.seconds, held: asked.hold }
    };
    namespaces.into_iter().map(row).collect()
}
