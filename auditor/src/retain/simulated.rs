//! `retain` at a time that a test gives.

use std::cell::Cell;
use std::path::Path;

use podwitness_seals::seal::NamespaceRetention;
use podwitness_seals::time::Time;
use podwitness_store::Store;

use super::deleter::Deleter;
use super::protocol::{Run, Stop};
use super::wishes::Wishes;

/// One run of the cluster's. It is interrupted after so many steps; whether it came to its end before.
pub(crate) async fn retain(
    store: &Store,
    cluster: &str,
    (minimum, default): (u64, u64),
    retention: Vec<NamespaceRetention>,
    key: &Path,
    now: Time,
    interrupted_after: Option<usize>,
) -> bool {
    let wishes = Wishes {
        cluster: cluster.to_owned(),
        minimum_seconds: minimum,
        default_seconds: default,
        retention,
        namespaces: Vec::new(),
    };
    let steps = Cell::new(0);
    let at = |_| {
        steps.set(steps.get() + 1);
        if interrupted_after.is_some_and(|most| steps.get() > most) { Err(Stop::Interrupted) } else { Ok(()) }
    };
    let mut deleter = Deleter::open(key).unwrap();
    match (Run { store, wishes: &wishes, trusted: None, now, at: &at }).delete(&mut deleter).await {
        Ok(outcome) => {
            assert!(outcome.refused.is_empty(), "{outcome:?}");
            true
        }
        Err(Stop::Interrupted) => false,
        Err(Stop::Refused(why)) => panic!("{why}"),
    }
}

/// The public half of the key at `path`, which is made where it is absent.
pub(crate) fn public_key(path: &Path) -> String {
    Deleter::open(path).unwrap().keys.current().public().to_pem()
}
