//! What the store's own lock is worth: whether there is one, and whether objects are locked until when their seals say.
//!
//! That is about the store in which the evidence is read, and not about the evidence: a copy in another bucket is as good, and
//! is locked otherwise or not at all. So nothing of it is a finding, and a folder is not asked.

use std::sync::atomic::{AtomicBool, Ordering};

use podwitness_seals::seal::SealedObject;
use podwitness_seals::time::Time;
use podwitness_store::{FailureKind, ObjectLock, Store, StoreError};
use tokio::runtime::Runtime;

use super::finding::NoteCode;
use super::report::Report;
use super::root::Root;
use crate::failure::Failure;

/// The locks of a store.
pub(super) struct Locks<'a> {
    /// Where objects are asked about; `None` where nothing is locked, or nobody can be asked.
    store: Option<(&'a Store, &'a Runtime)>,
    /// Whether that was forbidden.
    is_refused: AtomicBool,
}

impl<'a> Locks<'a> {
    /// Asks whether the store locks anything, and tells where it does not.
    pub(super) fn ask(root: &'a Root, report: &Report) -> Result<Self, Failure> {
        let mut locks = Self { store: None, is_refused: AtomicBool::new(false) };
        let Root::Store(store, runtime) = root else { return Ok(locks) };
        match runtime.block_on(store.object_lock()).map_err(Failure::question)? {
            ObjectLock::On => locks.store = Some((store, runtime)),
            ObjectLock::Off(why) => {
                report.note(NoteCode::NotLocked, None, format!("the store locks nothing, so it is not WORM: {why}"));
            }
            ObjectLock::Unknown(why) => {
                let what = "whether the store locks anything is not known, so it is not taken for WORM";
                report.note(NoteCode::NotChecked, None, format!("{what}: {why}"));
            }
        }
        Ok(locks)
    }

    /// Tells where `object`, which is there as it was sealed, is not locked as its seal says, or not at all although it must
    /// be kept beyond `as_of`. A lock that has ended is not asked about.
    pub(super) fn compare(&self, report: &Report, object: &SealedObject, as_of: Time) -> Result<(), Failure> {
        let Some((store, runtime)) = self.store else { return Ok(()) };
        let Some(sealed) = object.locked_until else {
            if object.retain_until > as_of {
                report.note(NoteCode::NotLocked, Some(&object.path), NoteCode::NotLocked.meaning());
            }
            return Ok(());
        };
        if sealed <= as_of || self.is_refused.load(Ordering::Relaxed) {
            return Ok(());
        }
        match runtime.block_on(store.locked_until(&object.path)) {
            Ok(until) if until.is_none_or(|until| Time::from(until) < sealed) => {
                report.note(NoteCode::LockShorter, Some(&object.path), NoteCode::LockShorter.meaning());
            }
            Ok(_) => {}
            Err(error) if is_refusal(&error) => {
                if !self.is_refused.swap(true, Ordering::Relaxed) {
                    let what = "whether objects are locked until when their seals say may not be asked";
                    let why = format!("{what} (permit s3:GetObjectRetention): {error}");
                    report.note(NoteCode::NotChecked, None, why);
                }
            }
            Err(error) => return Err(Failure::question(error)),
        }
        Ok(())
    }
}

/// Whether asking again, or about another object, would change nothing.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error.kind, FailureKind::Forbidden | FailureKind::Unsupported)
}
