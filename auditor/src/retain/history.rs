//! What the evidence says of itself: what is sealed, and what was deleted before.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::TryStreamExt as _;
use podwitness_schemas::layout::{SIGNATURE_SUFFIX, cluster_folder, deletions_folder};
use podwitness_seals::balance::TABLES;
use podwitness_seals::deletion::Deletion;
use podwitness_seals::seal::{Seal, SealedObject};
use podwitness_seals::time::Time;
use podwitness_store::Store;

use super::wishes::{Kept, Wishes};
use crate::chain::{self, Head, Keys, keys, list, seal_chains};
use crate::chained::Chained as _;

/// What is known before anything is decided.
pub(crate) struct History {
    /// Sealed, not deleted before, and to go: with the path of the seal, by path.
    pub(crate) due: BTreeMap<String, (SealedObject, String)>,
    /// Sealed, deleted before as far as the deletions say, and free to go: still there only where a run was interrupted,
    /// or could not delete it then.
    pub(crate) leftover: HashMap<String, u64>,
    /// How many objects stay, and their bytes, by why.
    pub(crate) kept: BTreeMap<Kept, (u64, u64)>,
    /// The newest deletion.
    pub(crate) head: Option<Head>,
    /// The number of a deletion of which there is but the signature.
    pub(crate) begun: Option<u64>,
}

impl History {
    /// Reads all of it. The error says what cannot be trusted; then nothing may be deleted.
    pub(crate) async fn read(
        store: &Store,
        trusted: Option<&Keys>,
        wishes: &Wishes,
        now: Time,
    ) -> Result<Self, String> {
        let known = keys(store).await?;
        let keys = trusted.unwrap_or(&known);
        let paths = list(store, &deletions_folder(&wishes.cluster)).await?;
        let (documents, signatures): (Vec<String>, Vec<String>) =
            paths.into_iter().partition(|path| path.ends_with(".json"));
        let mut deleted = HashSet::new();
        // Deletions are our own: their keys are those that the store has.
        let head = chain::read(store, &known, documents, |deletion: Deletion| {
            deleted.extend(deletion.objects.into_iter().map(|object| object.path));
        })
        .await?;
        let next = head.as_ref().map_or(1, |head| head.number + 1);
        let next_signature =
            format!("{}{SIGNATURE_SUFFIX}", podwitness_schemas::layout::deletion_path(&wishes.cluster, next));
        let begun = signatures.contains(&next_signature).then_some(next);

        let mut history = Self { due: BTreeMap::new(), leftover: HashMap::new(), kept: BTreeMap::new(), head, begun };
        let mut sealed = HashSet::new();
        let mut twice = None;
        for paths in seal_chains(store, &wishes.cluster).await? {
            chain::read(store, keys, paths, |seal: Seal| {
                let path = seal.path();
                for object in seal.objects {
                    if !sealed.insert(object.path.clone()) {
                        twice = Some(object.path.clone());
                    }
                    history.take(object, &path, &deleted, wishes, now);
                }
            })
            .await?;
        }
        match twice {
            Some(path) => Err(format!("{path}: two seals list it")),
            None => Ok(history),
        }
    }

    fn take(&mut self, object: SealedObject, seal: &str, deleted: &HashSet<String>, wishes: &Wishes, now: Time) {
        let was_deleted = deleted.contains(&object.path);
        match wishes.keep(&object, now) {
            // What was deleted is not kept, whatever is asked for now; what is left of it is.
            Some(_) if was_deleted => {}
            Some(why) => {
                let (objects, bytes) = self.kept.entry(why).or_default();
                *objects += 1;
                *bytes += object.bytes;
            }
            None if was_deleted => {
                self.leftover.insert(object.path, object.bytes);
            }
            None => {
                self.due.insert(object.path.clone(), (object, seal.to_owned()));
            }
        }
    }

    /// Leaves what is in the store. Returns what is there with another size than its seal says, which is not touched: a
    /// deletion would hide that somebody has altered it.
    pub(crate) async fn keep_what_is_there(&mut self, store: &Store, cluster: &str) -> Result<Vec<String>, String> {
        let mut there = HashMap::new();
        for table in TABLES {
            let mut objects = store.list(&cluster_folder(table, cluster));
            while let Some(object) = objects.try_next().await.map_err(|error| error.to_string())? {
                if self.due.contains_key(&object.path) || self.leftover.contains_key(&object.path) {
                    there.insert(object.path, object.bytes);
                }
            }
        }
        let is_altered =
            |path: &String, object: &SealedObject| there.get(path).is_some_and(|bytes| *bytes != object.bytes);
        let altered = self.due.iter().filter(|(path, (object, _))| is_altered(path, object));
        let altered: Vec<String> = altered.map(|(path, _)| path.clone()).collect();
        self.due.retain(|path, (object, _)| there.get(path) == Some(&object.bytes));
        self.leftover.retain(|path, _| there.contains_key(path));
        Ok(altered)
    }
}
