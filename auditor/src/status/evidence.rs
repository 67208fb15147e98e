//! What there is, by seals and by what the store lists.

use std::collections::{BTreeMap, HashSet};

use podwitness_schemas::layout::cluster_folder;
use podwitness_seals::seal::Seal;
use podwitness_seals::time::Time;
use podwitness_store::Store;

use crate::chain::{self, keys, list, seal_chains};

/// The table that has the records of single namespaces.
const TABLE: &str = "verdicts";

/// The evidence of a cluster.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// What there is of each namespace of which there is some.
    pub(super) by_namespace: BTreeMap<String, Amount>,
    /// The end of the newest sealed interval.
    pub(super) last_seal: Option<Time>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    /// The time of the first record.
    pub(super) from: Time,
    /// The time of the last one.
    pub(super) to: Time,
    /// Objects.
    pub(super) files: u64,
    /// Their stored bytes.
    pub(super) bytes: u64,
}

impl Evidence {
    /// Adds up what is sealed and still there. The error says which seal is not as it should be.
    pub(super) async fn read(store: &Store, cluster: &str) -> Result<Self, String> {
        let keys = keys(store).await?;
        let there: HashSet<String> = list(store, &cluster_folder(TABLE, cluster)).await?.into_iter().collect();
        let mut evidence = Self::default();
        for paths in seal_chains(store, cluster).await? {
            chain::read(store, &keys, paths, |seal: Seal| evidence.add(seal, &there)).await?;
        }
        Ok(evidence)
    }

    fn add(&mut self, seal: Seal, there: &HashSet<String>) {
        self.last_seal = self.last_seal.max(Some(seal.window.end));
        for object in seal.objects.into_iter().filter(|object| there.contains(&object.path)) {
            let Some(namespace) = object.namespace else { continue };
            let of_object = Amount { from: object.first_time, to: object.last_time, files: 0, bytes: 0 };
            let amount = self.by_namespace.entry(namespace).or_insert(of_object);
            amount.from = amount.from.min(object.first_time);
            amount.to = amount.to.max(object.last_time);
            amount.files += 1;
            // What an altered seal says may not fit.
            amount.bytes = amount.bytes.saturating_add(object.bytes);
        }
    }
}
