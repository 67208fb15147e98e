//! What was deleted, and whether it was allowed: section 6 of the format.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use podwitness_seals::deletion::{DeletedObject, Deletion};
use podwitness_seals::seal::SealedObject;
use podwitness_seals::time::Time;

use super::context::Context;
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
struct Known {
    path: String,
    time: Time,
    /// The namespaces of which nothing may be deleted.
    held: HashSet<String>,
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
            let mut highest = 0;
            links::follow::<Deletion>(
                context,
                chain,
                &listing,
                |document, content, _| {
                    highest = content.deletion;
                    deletions.add(&document.path, content);
                },
                || Ok(()),
            )?;
            for (number, path) in links::stray_signatures(chain, &listing) {
                if number == highest + 1 {
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
        let held = content.retention.iter().filter(|asked| asked.hold).map(|asked| asked.namespace.clone()).collect();
        self.documents.push(Known { path: path.to_owned(), time: content.time, held });
        for object in &content.objects {
            let listed = Listed { deletion, entry: entry_of(object), confirmed: AtomicBool::new(false) };
            self.objects.entry(PathName::of(&object.path)).or_default().push(listed);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.documents.len()
    }

    /// Whether a deletion lists `path`.
    pub(super) fn names(&self, path: &str) -> bool {
        self.objects.contains_key(&PathName::of(path))
    }

    /// Whether a deletion lists `object`, which the seal at `seal` lists. Tells where it must not.
    pub(super) fn lists(&self, context: &Context<'_>, object: &SealedObject, seal: &str) -> bool {
        let Some(listed) = self.objects.get(&PathName::of(&object.path)) else { return false };
        let expected = entry(&object.sha256, object.bytes, object.rows, object.retain_until, seal);
        for listed in listed.iter().filter(|listed| listed.entry == expected) {
            listed.confirmed.store(true, Ordering::Relaxed);
            let deletion = &self.documents[listed.deletion];
            let tell = |why: String| {
                context.report.finding(FindingCode::RetentionEarly, &object.path, Some(&deletion.path), why);
            };
            if deletion.time < object.retain_until {
                tell(format!("it was deleted at {}, and must be kept until {}", deletion.time, object.retain_until));
            }
            if let Some(namespace) = object.namespace.as_ref().filter(|namespace| deletion.held.contains(*namespace)) {
                tell(format!("it was deleted while the namespace {namespace} was on hold"));
            }
        }
        true
    }

    /// Tells what deletions list that no seal lists so. To be asked when all seals are read.
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
                    let why =
                        "a deletion lists it, and no seal lists an object with this hash, size, rows and time there";
                    context.report.finding(FindingCode::RetentionEarly, &object.path, Some(path), why);
                }
            }
        }
        Ok(())
    }
}
