//! The order in which things are deleted.
//!
//! 1. *Finish*: what an earlier run had signed and not put is put as it was signed; then everything that any deletion lists,
//!    that may go now and that is still there, is deleted.
//! 2. *Stage*: the next deletion is signed and kept beside the key. Where another key is to follow, it says so, and lists
//!    nothing where nothing may go.
//! 3. *Put*: the key, the signature, the deletion; each create-only. Of two runs at once one wins; the other is told, and
//!    deletes nothing that it had signed alone.
//! 4. *Turn*: the key that follows takes the place of the one that has named it.
//! 5. *Delete*: each object that it lists. One that the store refuses is told, and does not stop the others; the next run
//!    finds it at its first step.
//! 6. *Clear*: the file beside the key goes.
//!
//! Nothing is deleted that no deletion in the store lists. A hold that is set, or a retention that is raised, after a
//! deletion was signed keeps what is left of it: that is for a verifier an object that is still there, which is no finding.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use podwitness_schemas::layout::{SIGNATURE_SUFFIX, deletion_path, key_path};
use podwitness_seals::deletion::{DeletedObject, Deletion};
use podwitness_seals::document::{self, Document as _};
use podwitness_seals::key::KeyId;
use podwitness_seals::seal::SealedObject;
use podwitness_seals::time::Time;
use podwitness_seals::{hex, sha256, unhex};
use podwitness_store::{FailureKind, Store, StoreError};

use super::deleter::{Deleter, Pending};
use super::history::History;
use super::wishes::Wishes;
use crate::chain::{Head, Keys};

/// Objects of one deletion: so many that it is some megabytes.
const OBJECTS_IN_ONE: usize = 10_000;
/// Objects that are deleted at once.
const AT_ONCE: usize = 16;

podwitness_runtime::steps! {
    /// Where a run stands; told at each place at which it could end.
    Step {
        /// What may go is known, and nothing is signed.
        Looked = "looked";
        /// A deletion is on the disk with its signature.
        Staged = "staged";
        /// The key is in the store.
        KeyPut = "key-put";
        /// The signature is in the store, and what it signs is not.
        SignaturePut = "signature-put";
        /// The deletion is in the store, and nothing that it lists is gone.
        DeletionPut = "deletion-put";
        /// The key that it named has taken the place of the one that signed it; the same where it named none.
        KeyTurned = "key-turned";
        /// One object more has been deleted, or refused.
        Deleted = "deleted";
        /// Everything that it lists is gone, and it is on the disk.
        AllDeleted = "all-deleted";
        /// It is gone from the disk.
        Cleared = "cleared";
    }
}

/// Why a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// What it found does not let it go on.
    Refused(String),
    /// Somebody wanted it to.
    Interrupted,
}

/// What a run did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Paths of the deletions that it put.
    pub(crate) deletions: Vec<String>,
    /// Objects that it deleted.
    pub(crate) deleted: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// What the store refused, a sentence each.
    pub(crate) refused: Vec<String>,
}

/// A run.
pub(crate) struct Run<'a> {
    pub(crate) store: &'a Store,
    pub(crate) wishes: &'a Wishes,
    /// The keys of seals; those in the store where none were given.
    pub(crate) trusted: Option<&'a Keys>,
    pub(crate) now: Time,
    /// Told of each step; an error stops the run there.
    pub(crate) at: &'a dyn Fn(Step) -> Result<(), Stop>,
}

impl Run<'_> {
    /// Everything that may go, with what stays. Nothing is changed.
    pub(crate) async fn look(&self) -> Result<(History, Vec<String>), Stop> {
        let refused =
            |why: String| Stop::Refused(format!("nothing was deleted, because the evidence is not in order: {why}"));
        let mut history = History::read(self.store, self.trusted, self.wishes, self.now).await.map_err(refused)?;
        let altered = history.keep_what_is_there(self.store, &self.wishes.cluster).await.map_err(refused)?;
        Ok((history, altered))
    }

    /// Deletes what may go.
    pub(crate) async fn delete(&self, deleter: &mut Deleter) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::default();
        if let Some(pending) = deleter.pending().map_err(Stop::Refused)? {
            self.put(deleter, &pending).await?;
            outcome.deletions.push(pending.path);
        }
        let (history, altered) = self.look().await?;
        if let Some(head) = &history.head {
            self.turn(deleter, head)?;
        }
        outcome.refused.extend(altered.into_iter().map(|path| {
            format!(
                "{path} has another size than its seal says: it was altered, and stays for podwitness verify to show"
            )
        }));
        if let Some(number) = history.begun {
            return Err(Stop::Refused(format!(
                "{}{SIGNATURE_SUFFIX} is there without its deletion: another run is under way, or was interrupted elsewhere; run \
                 this where its key and the file beside it are, or remove that one object when no other run can be alive",
                deletion_path(&self.wishes.cluster, number)
            )));
        }
        let leftover: Vec<(String, u64)> = history.leftover.into_iter().collect();
        self.delete_all(leftover, &mut outcome).await?;
        if deleter.pending().map_err(Stop::Refused)?.is_some() {
            self.clear(deleter)?;
        }
        let due: Vec<(SealedObject, String)> = history.due.into_values().collect();
        let mut head = history.head;
        (self.at)(Step::Looked)?;
        for part in due.chunks(OBJECTS_IN_ONE) {
            head = Some(self.delete_part(part, head, deleter, &mut outcome).await?);
        }
        // Where nothing may go, another key must not have to wait until something may.
        if next_key(deleter)?.is_some() {
            self.delete_part(&[], head, deleter, &mut outcome).await?;
        }
        Ok(outcome)
    }

    fn turn(&self, deleter: &mut Deleter, head: &Head) -> Result<(), Stop> {
        deleter.keys.turn(&head.signer_of_next).map_err(|error| Stop::Refused(error.to_string()))?;
        (self.at)(Step::KeyTurned)
    }

    fn clear(&self, deleter: &Deleter) -> Result<(), Stop> {
        (self.at)(Step::AllDeleted)?;
        deleter.clear().map_err(Stop::Refused)?;
        (self.at)(Step::Cleared)
    }

    async fn delete_part(
        &self,
        part: &[(SealedObject, String)],
        head: Option<Head>,
        deleter: &mut Deleter,
        outcome: &mut Outcome,
    ) -> Result<Head, Stop> {
        let (pending, head) = self.sign(part, head, deleter)?;
        deleter.stage(&pending).map_err(Stop::Refused)?;
        (self.at)(Step::Staged)?;
        self.put(deleter, &pending).await?;
        outcome.deletions.push(pending.path);
        self.turn(deleter, &head)?;
        let objects = part.iter().map(|(object, _)| (object.path.clone(), object.bytes)).collect();
        self.delete_all(objects, outcome).await?;
        self.clear(deleter)?;
        Ok(head)
    }

    fn sign(
        &self,
        part: &[(SealedObject, String)],
        head: Option<Head>,
        deleter: &Deleter,
    ) -> Result<(Pending, Head), Stop> {
        let key_id = deleter.keys.id();
        let next_key_id = next_key(deleter)?;
        if let Some(head) = head.as_ref().filter(|head| head.signer_of_next != key_id) {
            return Err(Stop::Refused(format!(
                "the deletions before were signed by the key {}, and the one given is {key_id}: give that one with --key",
                head.signer_of_next
            )));
        }
        let number = head.as_ref().map_or(1, |head| head.number + 1);
        let deletion = Deletion {
            r#type: Deletion::TYPE.to_owned(),
            version: 1,
            cluster: self.wishes.cluster.clone(),
            deletion: number,
            previous_sha256: head.map(|head| head.sha256),
            time: self.now,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            minimum_seconds: self.wishes.minimum_seconds,
            default_seconds: self.wishes.default_seconds,
            retention: self.wishes.retention.clone(),
            objects: part.iter().map(|(object, seal)| DeletedObject::of(object, seal)).collect(),
            key_id: key_id.clone(),
            next_key_id: next_key_id.clone(),
        };
        let bytes = document::to_bytes(&deletion);
        let head = Head { number, sha256: sha256(&bytes), signer_of_next: next_key_id.unwrap_or(key_id) };
        let pending = Pending {
            path: deletion_path(&self.wishes.cluster, number),
            signature: hex(&deleter.keys.current().sign(&bytes)),
            document: String::from_utf8(bytes).expect("canonical JSON is UTF-8"),
        };
        Ok((pending, head))
    }

    /// Puts a signed deletion. One that another run was faster with is forgotten.
    async fn put(&self, deleter: &Deleter, pending: &Pending) -> Result<(), Stop> {
        let refused = |error: StoreError| Stop::Refused(error.to_string());
        let public = deleter.keys.current().public();
        self.store.put_once(&key_path(&public.id().0), public.to_pem().into()).await.map_err(refused)?;
        (self.at)(Step::KeyPut)?;
        // As long as evidence of today is kept, so long is the word on what is missing from it.
        let until = DateTime::<Utc>::from(self.now)
            + TimeDelta::try_seconds(i64::try_from(self.wishes.default_seconds).unwrap_or(0)).unwrap_or_default();
        let signature: Bytes = unhex(&pending.signature).unwrap_or_default().into();
        let document: Bytes = pending.document.clone().into_bytes().into();
        for (path, bytes, step) in [
            (format!("{}{SIGNATURE_SUFFIX}", pending.path), signature, Step::SignaturePut),
            (pending.path.clone(), document, Step::DeletionPut),
        ] {
            match self.store.put_locked(&path, bytes, until).await {
                Ok(_) => (self.at)(step)?,
                Err(error) if error.kind == FailureKind::Conflict => {
                    deleter.clear().map_err(Stop::Refused)?;
                    return Err(Stop::Refused(format!(
                        "another run of podwitness retain was faster with {}: this one has deleted nothing of what it had \
                         signed; let the other end, and run this again",
                        pending.path
                    )));
                }
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(())
    }

    async fn delete_all(&self, objects: Vec<(String, u64)>, outcome: &mut Outcome) -> Result<(), Stop> {
        let mut answers = stream::iter(objects)
            .map(|(path, bytes)| async move { (self.store.delete(&path).await, bytes) })
            .buffer_unordered(AT_ONCE);
        while let Some((answer, bytes)) = answers.next().await {
            match answer {
                Ok(()) => {
                    outcome.deleted += 1;
                    outcome.bytes += bytes;
                }
                Err(error) => outcome.refused.push(error.to_string()),
            }
            (self.at)(Step::Deleted)?;
        }
        outcome.refused.sort();
        Ok(())
    }
}

/// The key that somebody has put beside the one that signs, to follow it.
fn next_key(deleter: &Deleter) -> Result<Option<KeyId>, Stop> {
    deleter.keys.next().map_err(|error| Stop::Refused(error.to_string()))
}
