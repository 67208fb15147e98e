//! What the verifier was told from elsewhere, and the evidence cannot know: which nodes there are, and hashes of seals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::finding::FindingCode;
use super::names::{ChainName, is_hash};
use super::report::Report;
use super::seals::ChainOfSeals;
use crate::failure::Failure;

/// A seal's hash that its chain must contain.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    chain: ChainName,
    sha256: String,
}

/// Reads `CLUSTER/NODE=HASH`.
pub(super) fn pin(text: &str) -> Result<Pin, String> {
    let (chain, sha256) = text.rsplit_once('=').ok_or("expected CLUSTER/NODE=HASH")?;
    if !is_hash(sha256) {
        return Err(format!("{sha256:?} is no SHA-256: 64 digits of lower-case hexadecimal"));
    }
    Ok(Pin { chain: chain_of(chain)?, sha256: sha256.to_owned() })
}

fn chain_of(text: &str) -> Result<ChainName, String> {
    match text.split_once('/') {
        Some((cluster, node)) if !cluster.is_empty() && !node.is_empty() => {
            Ok(ChainName { cluster: cluster.to_owned(), node: Some(node.to_owned()) })
        }
        _ => Err(format!("{text:?} is no CLUSTER/NODE")),
    }
}

/// All that the verifier was told.
pub(super) struct Told {
    pins: BTreeMap<ChainName, BTreeSet<String>>,
    nodes: BTreeSet<ChainName>,
}

impl Told {
    /// `pins`, and the nodes of a list or of the file that has it.
    pub(super) fn new(pins: &[Pin], nodes: Option<&str>) -> Result<Self, Failure> {
        let mut by_chain = BTreeMap::<_, BTreeSet<_>>::new();
        for Pin { chain, sha256 } in pins {
            by_chain.entry(chain.clone()).or_default().insert(sha256.clone());
        }
        let list = match nodes {
            Some(file) if Path::new(file).is_file() => fs::read_to_string(file)
                .map_err(|error| Failure::question(format_args!("cannot read the list of nodes {file}: {error}")))?,
            Some(list) => list.to_owned(),
            None => String::new(),
        };
        let nodes = list.split([',', '\n']).map(str::trim).filter(|node| !node.is_empty()).map(chain_of);
        let nodes = nodes.collect::<Result<_, _>>().map_err(|why| {
            Failure::question(format_args!("--nodes: {why}: give a file with one a line, or a list with commas"))
        })?;
        Ok(Self { pins: by_chain, nodes })
    }

    /// The hashes that `chain` must contain.
    pub(super) fn pins(&self, chain: &ChainName) -> Option<&BTreeSet<String>> {
        self.pins.get(chain)
    }

    /// Tells what of it `chains` lack.
    pub(super) fn compare(&self, chains: &[ChainOfSeals], report: &Report) {
        let find = |name: &ChainName| chains.iter().find(|chain| chain.name == *name && chain.checked.seals > 0);
        for node in self.nodes.iter().filter(|node| find(node).is_none()) {
            report.finding(FindingCode::ChainMissing, &node.folder(), None, format!("there is no seal of {node}"));
        }
        for (name, pins) in &self.pins {
            let found = find(name).map(|chain| &chain.pins_found);
            for pin in pins.iter().filter(|pin| found.is_none_or(|found| !found.contains(*pin))) {
                let why = format!("the chain of {name} has no seal with the SHA-256 {pin}");
                report.finding(FindingCode::PinMissing, &name.folder(), None, why);
            }
        }
    }
}
