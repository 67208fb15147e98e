//! Whether the object store answers.
//!
//! It is asked as the exporter would ask it, with what this process finds in its environment. Nothing is written.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use podwitness_schemas::layout::{ROOT_MARKER_PATH, RootMarker};
use podwitness_store::{FailureKind, Marker, ObjectLock, Patience, Store, StoreError};

use super::check::{Check, sentence};

const NAME: &str = "store";
/// How long the store may take for everything.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(url: &str, environment: impl Iterator<Item = (String, String)>) -> Check {
    let store = match Store::open_with(url, environment, Patience::Once) {
        Ok(store) => store,
        Err(why) => return Check::failed(NAME, sentence(&why), "correct `store.url` or the environment's settings"),
    };
    if let Some(check) = store.folder().and_then(folder_fault) {
        return check;
    }
    tokio::time::timeout(PATIENCE, ask(&store)).await.unwrap_or_else(|_| {
        Check::failed(
            NAME,
            format!("{url} did not answer within {} s", PATIENCE.as_secs()),
            "see whether the node's network leads to the store: the spool keeps evidence meanwhile",
        )
    })
}

/// A folder that is not there lists as an empty one.
fn folder_fault(folder: &Path) -> Option<Check> {
    let advice = "make the folder, and let the exporter's user write to it";
    (!folder.is_dir()).then(|| Check::failed(NAME, format!("there is no folder {}", folder.display()), advice))
}

async fn ask(store: &Store) -> Check {
    let url = store.url();
    let layout = RootMarker::current().layout;
    let advice = "set `store.url` to an evidence root, or to a new prefix";
    match store.marker().await {
        Ok(Marker::Current) => locks(store, format!("{url} answers, and is an evidence root of layout {layout}")).await,
        // A bucket that is not there looks the same, until it is listed.
        Ok(Marker::Absent) => match store.list("").next().await {
            None | Some(Ok(_)) => locks(store, format!("{url} answers; no evidence has been written there yet")).await,
            Some(Err(error)) => refused(url, &error),
        },
        Ok(Marker::Other(found)) => {
            Check::failed(NAME, format!("{url} has layout {found}, and this version writes layout {layout}"), advice)
        }
        Ok(Marker::Unreadable(why)) => {
            Check::failed(NAME, format!("{url} has a {ROOT_MARKER_PATH} of somebody else's: {why}"), advice)
        }
        Err(error) => refused(url, &error),
    }
}

/// What was found, with whether the store keeps what it was given.
async fn locks(store: &Store, found: String) -> Check {
    match store.object_lock().await {
        Ok(ObjectLock::On) => Check::ok(NAME, format!("{found}; it locks each object until its time (Object Lock)")),
        Ok(ObjectLock::Off(why)) => Check::ok(NAME, format!("{found}; it locks nothing, so it is not WORM: {why}")),
        Ok(ObjectLock::Unknown(why)) => {
            Check::ok(NAME, format!("{found}; whether it locks is not known, so it is not taken for WORM: {why}"))
        }
        Err(error) => refused(store.url(), &error),
    }
}

fn refused(url: &str, error: &StoreError) -> Check {
    let advice = match error.kind {
        FailureKind::Unauthenticated => "check the credentials in this environment: the exporter's own may be others",
        FailureKind::Forbidden => {
            "permit the credentials to create, read and list objects below `store.url`; the exporter's own may be others than \
             those of this environment"
        }
        FailureKind::Missing => "create the bucket or container, or correct `store.url`",
        FailureKind::Clock => FailureKind::Clock.advice(),
        _ => "see whether the store is up: the spool keeps evidence until it answers",
    };
    Check::failed(NAME, format!("{url}: {}", error.detail), advice)
}

#[cfg(test)]
mod tests;
