//! How what is known here of the chain stands to what the store has of it.

use futures_util::TryStreamExt as _;
use podwitness_schemas::layout;
use podwitness_seals::document;
use podwitness_seals::key::KeyId;
use podwitness_seals::seal::Seal;
use podwitness_seals::time::Time;
use podwitness_store::{Store, StoreError};

use super::state::{Head, Staged, State};

/// The newest seals of this node's name in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// There is none.
    None,
    /// The store does not let them be listed or read.
    Unreadable,
    /// Of the highest number; more than one where a chain was written twice.
    Seals(Vec<FoundSeal>),
}

/// A seal in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundSeal {
    pub(crate) path: String,
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The newest seals below `folder`.
pub(super) async fn newest_in(store: &Store, folder: &str) -> Result<Newest, StoreError> {
    let mut newest: Vec<(u64, String)> = Vec::new();
    let mut objects = store.list(folder);
    while let Some(object) = objects.try_next().await? {
        let Some(number) = layout::document_number(&object.path) else { continue };
        let highest = newest.first().map_or(0, |(highest, _)| *highest);
        if number > highest {
            newest.clear();
        }
        if number >= highest {
            newest.push((number, object.path));
        }
    }
    let mut seals = Vec::with_capacity(newest.len());
    for (number, path) in newest {
        let bytes = store.get(&path).await?.unwrap_or_default().to_vec();
        seals.push(FoundSeal { path, number, bytes });
    }
    Ok(if seals.is_empty() { Newest::None } else { Newest::Seals(seals) })
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The store has what is known here, or a seal that is on its way is all that it lacks.
    Known,
    /// The store has less than is known here.
    Behind { path: String },
    /// Nothing is known, and there is nothing.
    Nothing,
    /// Nothing is known, and the store does not say what there is.
    Unreadable,
    /// Nothing is known, and the chain can be taken up.
    Resumable { head: Box<Head>, has_other_key: bool },
    /// Another node writes it.
    Foreign { path: String },
}

/// Judges. `boot` and `key` are ours.
pub(super) fn judge(state: &State, newest: &Newest, boot: &str, key: &KeyId, now: Time) -> Standing {
    let seals = match newest {
        Newest::Seals(seals) => seals.as_slice(),
        Newest::None => &[],
        Newest::Unreadable if state.head.is_some() || state.begun.is_some() => return Standing::Known,
        Newest::Unreadable => return Standing::Unreadable,
    };
    let is_ours = |found: &FoundSeal| {
        let is_head = state.head.as_ref().is_some_and(|head| head.path == found.path);
        is_head || state.staged.as_ref().is_some_and(|staged| staged.path == found.path)
    };
    let known = state.staged.as_ref().map_or(0, Staged::number).max(state.head.as_ref().map_or(0, |head| head.seal));
    if state.head.is_some() || state.staged.is_some() {
        if let Some(other) = seals.iter().find(|found| found.number >= known && !is_ours(found)) {
            return Standing::Foreign { path: other.path.clone() };
        }
        let head = state.head.as_ref().map_or(0, |head| head.seal);
        let newest = seals.first().map_or(0, |found| found.number);
        if newest < head {
            let path = seals.first().map_or_else(|| "nothing".to_owned(), |found| found.path.clone());
            return Standing::Behind { path };
        }
        return Standing::Known;
    }
    let Some(found) = seals.first() else { return Standing::Nothing };
    let Ok(seal) = document::from_bytes::<Seal>(&found.bytes) else {
        return Standing::Foreign { path: found.path.clone() };
    };
    let head = Head::of(&seal, &found.bytes);
    let has_other_key = head.next_key_id != *key;
    // A node that has lost its state and its key cannot be told from another one of its name, while that may be alive.
    let may_be_alive = !seal.last && now.micros() - seal.window.end.micros() <= seal.allowed_age_us();
    if has_other_key && seal.boot != boot && may_be_alive {
        return Standing::Foreign { path: found.path.clone() };
    }
    Standing::Resumable { head: Box::new(head), has_other_key }
}
