//! What a store with versions hides: reading it as usual shows the newest version of each object alone.

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use podwitness_schemas::layout::ROOT_MARKER_PATH;
use podwitness_store::{Store, StoreError, Version};

use super::context::Context;
use super::deletions::Deletions;
use super::finding::{FindingCode, NoteCode};
use super::names::{FOLDERS, Name};
use super::root::Root;
use crate::failure::Failure;

/// Tells of objects that a delete marker hides though no deletion lists them, and of versions that were other bytes.
pub(super) fn check(context: &Context<'_>, deletions: &Deletions) -> Result<(), Failure> {
    let Root::Store(store, runtime) = context.root else { return Ok(()) };
    // Beside the folders there is the root's marker, which has its own path as a prefix.
    for prefix in FOLDERS.into_iter().chain([ROOT_MARKER_PATH]) {
        let Some(versions) = store.versions(prefix) else {
            context.report.note(NoteCode::NotChecked, None, NoteCode::NotChecked.meaning());
            return Ok(());
        };
        let hidden = runtime.block_on(find_hidden(store, deletions, versions))?;
        for (path, why) in hidden {
            context.report.finding(FindingCode::VersionHidden, &path, None, why);
        }
    }
    Ok(())
}

/// What is hidden among `versions`, which stand in the order of their paths, the newest of each first; markers apart.
async fn find_hidden(
    store: &Store,
    deletions: &Deletions,
    mut versions: BoxStream<'static, Result<Version, StoreError>>,
) -> Result<Vec<(String, &'static str)>, Failure> {
    let mut hidden = Vec::new();
    let mut newest: Option<Version> = None;
    while let Some(version) = versions.try_next().await.map_err(Failure::question)? {
        let is_evidence = !matches!(Name::of(&version.path), Name::Stray | Name::Outside);
        if !is_evidence && version.path != ROOT_MARKER_PATH {
            continue;
        }
        if version.is_delete_marker {
            // An older marker hides nothing: something was put after it.
            if version.is_latest && !deletions.names(&version.path) {
                hidden.push((version.path, "a delete marker hides it, and no deletion lists it"));
            }
        } else if version.is_latest {
            newest = Some(version);
        } else if let Some(newest) = newest.as_ref().filter(|newest| newest.path == version.path)
            && !are_same(store, newest, &version).await?
        {
            hidden.push((version.path, "an older version of it has other bytes"));
        }
    }
    Ok(hidden)
}

/// Whether two versions have the same bytes. What the store says of them is not believed but where it is of no use to a
/// forger: where the sizes differ.
async fn are_same(store: &Store, one: &Version, other: &Version) -> Result<bool, Failure> {
    if one.bytes != other.bytes {
        return Ok(false);
    }
    let first = store.get_version(&one.path, &one.version).await.map_err(Failure::question)?;
    let second = store.get_version(&other.path, &other.version).await.map_err(Failure::question)?;
    Ok(first == second)
}
