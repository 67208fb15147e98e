//! What holds in the store of Azure, as far as its emulator is like it. `make azurite` gets that and runs this; `cargo test`
//! alone does not.

mod conformance;

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use chrono::Utc;
use futures_util::TryStreamExt as _;
use podwitness_store::{FailureKind, Object, ObjectLock, Store};
use podwitness_store_fixture::Azurite;

const BYTES: Bytes = Bytes::from_static(b"evidence");
/// As names with every kind of character are encoded in paths.
const PATH: &str = "verdicts/cluster=a%2Fb/namespace=n/x%20y%7E-000000000001.parquet";

async fn open(azurite: &Azurite, container: &str) -> Store {
    azurite.make_container(container).await;
    Store::open(&url(container), azurite.environment()).unwrap()
}

fn url(container: &str) -> String {
    format!("az://{container}/some/prefix")
}

async fn listed(store: &Store, prefix: &str) -> Vec<Object> {
    let mut found: Vec<Object> = store.list(prefix).try_collect().await.unwrap();
    found.sort();
    found
}

#[tokio::test]
async fn what_was_put_is_read_listed_deleted_and_never_replaced() {
    let azurite = Azurite::start().await;
    conformance::keeps_what_was_put(&open(&azurite, "plain").await).await;
}

#[tokio::test]
async fn of_two_that_put_one_object_at_once_one_wins_and_the_other_is_told() {
    let azurite = Azurite::start().await;
    conformance::has_one_of_two_win(&open(&azurite, "raced").await).await;
}

#[tokio::test]
async fn nothing_is_locked_and_no_versions_are_known() {
    let azurite = Azurite::start().await;
    let store = open(&azurite, "unlocked").await;
    let lock = store.object_lock().await.unwrap();
    assert_eq!(lock, &ObjectLock::Unknown("objects are locked in S3 alone".to_owned()));
    assert_eq!(store.put_locked(PATH, BYTES, Utc::now() + chrono::TimeDelta::days(1)).await.unwrap(), None);
    assert_eq!(store.locked_until(PATH).await.unwrap(), None);
    assert!(store.versions("").is_none());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told() {
    let azurite = Azurite::start().await;
    let store = Store::open(&url("nowhere"), azurite.environment()).unwrap();
    assert_eq!(store.put_once("a", BYTES).await.unwrap_err().kind, FailureKind::Missing);
    let listed = store.list("").try_collect::<Vec<_>>().await;
    assert_eq!(listed.unwrap_err().kind, FailureKind::Missing);
}

/// The root of the test vectors, put there and verified.
#[tokio::test]
async fn a_root_is_verified_where_it_is() {
    let azurite = Azurite::start().await;
    let store = open(&azurite, "golden").await;
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden/roots/good");
    let mut folders = vec![good.clone()];
    let mut objects = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&good).unwrap().to_str().unwrap();
            store.put_once(name, std::fs::read(&path).unwrap().into()).await.unwrap();
            objects += 1;
        }
    }
    assert_eq!(listed(&store, "").await.len(), objects);
    let this = std::env::current_exe().unwrap();
    let podwitness = this.ancestors().nth(2).unwrap().join("podwitness");
    let verify = || {
        let mut command = Command::new(&podwitness);
        command.env_clear().envs(azurite.environment()).arg("verify").arg(url("golden"));
        let output = command.args(["--as-of", "2026-01-02T12:35:00.000000Z"]).output();
        let output =
            output.unwrap_or_else(|error| panic!("{} ({error}): cargo build -p podwitness", podwitness.display()));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told) = verify();
    assert_eq!(code, Some(0), "{told}");
    let file = listed(&store, "verdicts").await.remove(0);
    store.delete(&file.path).await.unwrap();
    let (code, told) = verify();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("object-missing"), "{told}");
}
