//! What was deleted, and whether it was allowed: section 6 of the format.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use podwitness_seals::deletion::{DeletedObject, Deletion};
use podwitness_seals::seal::{Asked, GRACE_SECONDS, NamespaceRetention, SealedObject};
use podwitness_seals::time::Time;

use super::context::Context;
use super::document::Loaded;
use super::finding::{FindingCode, NoteCode};
use super::inventory::PathName;
use super::links;
use super::names::ChainName;
use crate::failure::Failure;

/// Every deletion of the root.
#[derive(Default)]
pub(super) struct Deletions {
    documents: Vec<Known>,
    objects: HashMap<PathName, Vec<Listed>>,
}

/// A deletion, without what it lists.
pub(super) struct Known {
    pub(super) path: String,
    /// Whose evidence it may list.
    cluster: String,
    /// When it was signed.
    pub(super) time: Time,
    retention: Vec<NamespaceRetention>,
    /// What holds of a namespace that asks for nothing, in seconds.
    default: u64,
}

/// An object that a deletion lists.
struct Listed {
    /// Which one, in [`Deletions::documents`].
    deletion: usize,
    /// What it says of the object.
    entry: PathName,
    /// Whether a seal says the same.
    confirmed: AtomicBool,
}

/// The name of what a deletion says of an object.
fn entry(sha256: &str, bytes: u64, rows: u64, retain_until: Time, seal: &str) -> PathName {
    PathName::of(&format!("{sha256} {bytes} {rows} {retain_until} {seal}"))
}

fn entry_of(object: &DeletedObject) -> PathName {
    entry(&object.sha256, object.bytes, object.rows, object.retain_until, &object.seal)
}

impl Deletions {
    /// Reads the chains of deletions, each with its newest number, and tells what is wrong with them.
    pub(super) fn read(context: &Context<'_>, chains: &[(ChainName, u64)]) -> Result<Self, Failure> {
        let mut deletions = Self::default();
        for (chain, newest) in chains {
            let listing = links::list(context, chain, *newest)?;
            let add = |document: &Loaded<_>, content: &Deletion, _: Option<&_>| deletions.add(&document.path, content);
            links::follow::<Deletion>(context, chain, &listing, add, || Ok(()))?;
            for (is_next, path) in links::stray_signatures(chain, &listing) {
                if is_next {
                    context.report.note(NoteCode::SignatureAhead, Some(&path), NoteCode::SignatureAhead.meaning());
                } else {
                    let why = "there is no deletion of its name";
                    context.report.finding(FindingCode::SignatureStray, &path, None, why);
                }
            }
        }
        Ok(deletions)
    }

    fn add(&mut self, path: &str, content: &Deletion) {
        let deletion = self.documents.len();
        self.documents.push(Known {
            path: path.to_owned(),
            cluster: content.cluster.clone(),
            time: content.time,
            retention: content.retention.clone(),
            default: content.default_seconds.max(content.minimum_seconds),
        });
        for object in &content.objects {
            let listed = Listed { deletion, entry: entry_of(object), confirmed: AtomicBool::new(false) };
            self.objects.entry(PathName::of(&object.path)).or_default().push(listed);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.documents.len()
    }

    /// The deletion of this place in the order of deletions.
    pub(super) fn get(&self, deletion: usize) -> &Known {
        &self.documents[deletion]
    }

    /// The deletions of `cluster` that list `object` as its seal at `seal` does, which is of that cluster.
    pub(super) fn of<'a>(
        &'a self,
        cluster: &'a str,
        object: &SealedObject,
        seal: &str,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let expected = entry(&object.sha256, object.bytes, object.rows, object.retain_until, seal);
        let listed = self.objects.get(&PathName::of(&object.path)).into_iter().flatten();
        let same =
            listed.filter(move |listed| listed.entry == expected && self.documents[listed.deletion].cluster == cluster);
        same.inspect(|listed| listed.confirmed.store(true, Ordering::Relaxed)).map(|listed| listed.deletion)
    }

    /// Whether a deletion lists `path`.
    pub(super) fn names(&self, path: &str) -> bool {
        self.objects.contains_key(&PathName::of(path))
    }

    /// Whether a deletion lists `object`, which the seal at `seal`, of `cluster`, lists. Tells where it must not.
    pub(super) fn lists(&self, context: &Context<'_>, cluster: &str, object: &SealedObject, seal: &str) -> bool {
        for deletion in self.of(cluster, object, seal) {
            let Known { path, time, retention, default, .. } = self.get(deletion);
            let tell = |why: String| context.report.finding(FindingCode::RetentionEarly, &object.path, Some(path), why);
            // A deletion that is dated tomorrow says nothing of today.
            let time = *time.min(&context.as_of.after(GRACE_SECONDS));
            if time < object.retain_until {
                tell(format!("it was deleted at {time}, and must be kept until {}", object.retain_until));
            }
            let asked = Asked::of(retention, object.namespace.as_deref(), *default);
            if asked.keeps(object.last_time, time) {
                let what = if asked.hold { "a legal hold".to_owned() } else { format!("{} s", asked.seconds) };
                tell(format!("it was deleted at {time}, and by what the deletion itself says {what} was asked for it"));
            }
        }
        self.names(&object.path)
    }

    /// Tells what deletions list that no seal of their cluster lists so. To be asked when all seals are read.
    pub(super) fn tell_unlisted(&self, context: &Context<'_>) -> Result<(), Failure> {
        let unconfirmed: HashSet<usize> = self
            .objects
            .values()
            .flatten()
            .filter(|listed| !listed.confirmed.load(Ordering::Relaxed))
            .map(|listed| listed.deletion)
            .collect();
        for &index in &unconfirmed {
            let path = &self.documents[index].path;
            // Only names of paths were kept; the document has the paths.
            let Some(bytes) = context.root.get(path, u64::MAX)? else { continue };
            let Ok(content) = podwitness_seals::document::from_bytes::<Deletion>(&bytes) else { continue };
            for object in &content.objects {
                let mut listed = self.objects.get(&PathName::of(&object.path)).into_iter().flatten();
                let is_so = |listed: &Listed| {
                    listed.deletion == index
                        && listed.entry == entry_of(object)
                        && !listed.confirmed.load(Ordering::Relaxed)
                };
                if listed.any(is_so) {
                    let why = format!(
                        "a deletion lists it, and no seal of {} lists an object with this hash, size, rows and time there",
                        content.cluster
                    );
                    context.report.finding(FindingCode::RetentionEarly, &object.path, Some(path), why);
                }
            }
        }
        Ok(())
    }
}
