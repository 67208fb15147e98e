//! Each operation, in a folder and on a server that answers what it is told to.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use podwitness_store::{FailureKind, Object, Store, StoreError, url_of};
use tempfile::TempDir;

use crate::conformance;
use crate::server::{Request, Server};

const BYTES: Bytes = Bytes::from_static(b"evidence");

fn folder(path: &Path) -> Store {
    Store::open(&format!("file://{}", path.display()), []).unwrap()
}

fn s3(server: &Server) -> Store {
    Store::open("s3://bucket/prefix", server.environment()).unwrap()
}

async fn refusal(store: &Store) -> StoreError {
    store.put_once("a/b.parquet", BYTES).await.unwrap_err()
}

#[tokio::test]
async fn a_folder_keeps_what_was_put_and_has_one_of_two_win() {
    let root = TempDir::new().unwrap();
    let store = folder(&root.path().join("root"));
    conformance::keeps_what_was_put(&store).await;
    conformance::has_one_of_two_win(&store).await;
}

#[tokio::test]
async fn the_same_bytes_again_are_no_fault() {
    let root = TempDir::new().unwrap();
    let store = folder(&root.path().join("new/root"));
    store.put_once("a/b.parquet", BYTES).await.unwrap();
    store.put_once("a/b.parquet", BYTES).await.unwrap();
    assert_eq!(fs::read(root.path().join("new/root/a/b.parquet")).unwrap(), BYTES);
}

#[tokio::test]
async fn an_object_with_other_bytes_is_told_and_stays() {
    let root = TempDir::new().unwrap();
    let store = folder(root.path());
    for other in ["other", "evidencE"] {
        fs::create_dir_all(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/b.parquet"), other).unwrap();
        let error = refusal(&store).await;
        assert_eq!(error.kind, FailureKind::Conflict);
        let sentence = error.to_string();
        assert!(sentence.contains("a/b.parquet: it is there already with other bytes"), "{sentence}");
        assert!(sentence.ends_with("nothing was overwritten"), "{sentence}");
        assert_eq!(fs::read(root.path().join("a/b.parquet")).unwrap(), other.as_bytes());
    }
}

#[tokio::test]
async fn encoded_names_stay_as_they_are_in_a_folder() {
    let root = TempDir::new().unwrap();
    folder(root.path()).put_once("cluster=a%2Fb/x%20y.parquet", BYTES).await.unwrap();
    assert_eq!(fs::read(root.path().join("cluster=a%2Fb/x%20y.parquet")).unwrap(), BYTES);
}

#[tokio::test]
async fn what_a_killed_put_left_is_removed() {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("a")).unwrap();
    for name in ["b.parquet#1", "b.parquet#12", "b.parquet#x", "c.parquet#1"] {
        fs::write(root.path().join("a").join(name), "half").unwrap();
    }
    folder(root.path()).put_once("a/b.parquet", BYTES).await.unwrap();
    let mut left: Vec<_> =
        fs::read_dir(root.path().join("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["b.parquet", "b.parquet#x", "c.parquet#1"]);
}

#[tokio::test]
async fn a_root_below_a_file_is_told() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let error = refusal(&folder(&root.path().join("file/root"))).await;
    assert_eq!(error.kind, FailureKind::Missing, "{error}");
    assert!(error.to_string().ends_with("create the bucket or folder, or correct the evidence root's URL"), "{error}");
}

#[tokio::test]
async fn a_root_is_claimed_once_and_another_layout_is_refused() {
    let root = TempDir::new().unwrap();
    let marker = root.path().join("podwitness.json");
    let store = folder(root.path());
    store.claim_root().await.unwrap();
    store.claim_root().await.unwrap();
    assert!(fs::read_to_string(&marker).unwrap().contains("\"layout\":1"));

    fs::write(&marker, r#"{"layout": 1, "comes": "later"}"#).unwrap();
    store.claim_root().await.unwrap();

    for (there, told) in
        [(r#"{"layout": 2}"#, "the root has layout 2, and this version writes layout 1"), ("x", "no root's marker")]
    {
        fs::write(&marker, there).unwrap();
        let error = store.claim_root().await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Layout);
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(fs::read_to_string(&marker).unwrap(), there);
    }
}

#[tokio::test]
async fn s3_is_asked_to_create_and_given_a_checksum() {
    let server = Server::start(|_| ("200 OK", Vec::new()));
    s3(&server).put_once("cluster=a%20b/c.parquet", BYTES).await.unwrap();
    let [Request { line, headers }] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    // The key holds the percent sign itself, so that it is encoded once more on the way.
    assert_eq!(line, "PUT /bucket/prefix/cluster%3Da%2520b/c.parquet");
    assert!(headers.contains(&"if-none-match: *".to_owned()), "{headers:?}");
    assert!(headers.iter().any(|header| header.starts_with("x-amz-checksum-sha256: ")), "{headers:?}");
}

#[tokio::test]
async fn s3_with_the_object_compares_its_bytes() {
    let with = |there: &'static [u8]| {
        Server::start(move |request| {
            if request.line.starts_with("PUT") {
                ("412 Precondition Failed", Vec::new())
            } else {
                ("200 OK", there.to_vec())
            }
        })
    };
    s3(&with(b"evidence")).put_once("a/b.parquet", BYTES).await.unwrap();
    assert_eq!(refusal(&s3(&with(b"evidencE"))).await.kind, FailureKind::Conflict);
}

#[tokio::test]
async fn s3_that_refuses_is_told_with_what_to_do() {
    for (status, kind, advice) in [
        (
            "401 Unauthorized",
            FailureKind::Unauthenticated,
            "those that stand in its environment are read when it starts",
        ),
        ("403 Forbidden", FailureKind::Forbidden, "permit these credentials to do so below the evidence root"),
        ("404 Not Found", FailureKind::Missing, "create the bucket or folder, or correct the evidence root's URL"),
        (
            "500 Internal Server Error",
            FailureKind::Unavailable,
            "see whether the store is up and the network leads to it",
        ),
    ] {
        let server = Server::start(move |_| (status, b"<?xml?>\n<Error>\n  <Code>Told</Code></Error>".to_vec()));
        let error = refusal(&s3(&server)).await;
        assert_eq!(error.kind, kind, "{error}");
        let sentence = error.to_string();
        assert!(sentence.starts_with("cannot write s3://bucket/prefix/a/b.parquet: "), "{sentence}");
        assert!(sentence.ends_with(advice), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}

#[test]
fn each_cloud_can_be_named_and_another_scheme_is_refused() {
    let environment = [
        ("AWS_REGION", "eu-north-1"),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_SKIP_SIGNATURE", "true"),
        ("HOME", "/nowhere"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    for url in ["s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix", "file:///folder"] {
        if let Err(error) = Store::open(url, environment.clone()) {
            panic!("{url}: {error}");
        }
    }
    for url in ["ftp://host/x", "http://host/x", "memory:///", "relative/path"] {
        let error = Store::open(url, []).err().unwrap_or_else(|| panic!("{url} was taken")).to_string();
        assert!(
            error.starts_with(&format!("the evidence root {url}: expected `s3://`, `gs://`, `az://` or `file:///`")),
            "{error}"
        );
    }
    let bad = [("AWS_CHECKSUM_ALGORITHM".to_owned(), "none".to_owned())];
    let error = Store::open("s3://bucket", bad).err().expect("a bad setting").to_string();
    assert!(error.contains("the settings in the environment cannot be used"), "{error}");
}

async fn listed(store: &Store, prefix: &str) -> Vec<Object> {
    let mut found: Vec<Object> = store.list(prefix).try_collect().await.unwrap();
    found.sort();
    found
}

#[tokio::test]
async fn what_was_put_is_listed_by_the_same_path_and_read() {
    let root = TempDir::new().unwrap();
    let store = folder(&root.path().join("a root/é"));
    assert_eq!(listed(&store, "").await, []);
    let paths = ["keys/k.pem", "verdicts/cluster=a%2Fb/n.parquet", "verdicts/cluster=ab/n.parquet"];
    for path in paths {
        store.put_once(path, BYTES).await.unwrap();
    }
    let object = |path: &str| Object { path: path.to_owned(), bytes: 8 };
    assert_eq!(listed(&store, "").await, paths.map(object));
    assert_eq!(listed(&store, "verdicts/cluster=a%2Fb").await, [object(paths[1])]);
    assert_eq!(listed(&store, "verdicts/cluster=a").await, []);
    assert_eq!(store.get(paths[1]).await.unwrap(), Some(BYTES));
    assert_eq!(store.size(paths[1]).await.unwrap(), Some(8));
    let pieces: Vec<Bytes> = store.stream(paths[1]).await.unwrap().unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), BYTES);
    assert_eq!(store.get("keys/none.pem").await.unwrap(), None);
    assert_eq!(store.size("keys/none.pem").await.unwrap(), None);
    assert!(store.stream("keys/none.pem").await.unwrap().is_none());
}

#[tokio::test]
async fn deleting_twice_is_no_fault_and_leaves_no_empty_folders() {
    let root = TempDir::new().unwrap();
    let store = folder(root.path());
    store.claim_root().await.unwrap();
    store.put_once("verdicts/date=1/hour=1/a.parquet", BYTES).await.unwrap();
    store.put_once("verdicts/date=2/hour=1/a.parquet", BYTES).await.unwrap();
    for _ in 0..2 {
        store.delete("verdicts/date=1/hour=1/a.parquet").await.unwrap();
    }
    assert!(!root.path().join("verdicts/date=1").exists());
    assert_eq!(listed(&store, "verdicts").await.len(), 1);
}

#[tokio::test]
async fn s3_that_cannot_be_listed_says_so() {
    for (status, kind) in [
        ("401 Unauthorized", FailureKind::Unauthenticated),
        ("403 Forbidden", FailureKind::Forbidden),
        ("404 Not Found", FailureKind::Missing),
        ("500 Internal Server Error", FailureKind::Unavailable),
    ] {
        let server = Server::start(move |_| (status, b"<Error><Code>Told</Code></Error>".to_vec()));
        let error = s3(&server).list("seals").try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!((error.kind, error.action), (kind, "list"), "{error}");
        assert!(error.to_string().starts_with("cannot list s3://bucket/prefix/seals: "), "{error}");
    }
}

#[tokio::test]
async fn an_object_that_another_is_putting_is_not_taken_for_put() {
    let server = Server::start(|request| {
        if request.line.starts_with("PUT") { ("409 Conflict", Vec::new()) } else { ("404 Not Found", Vec::new()) }
    });
    assert_eq!(refusal(&s3(&server)).await.kind, FailureKind::Unavailable);
}

#[test]
fn a_root_is_a_url_or_a_path() {
    assert_eq!(url_of("s3://bucket/x").unwrap(), "s3://bucket/x");
    assert_eq!(url_of("/a b/c").unwrap(), "file:///a%20b/c");
    let here = std::env::current_dir().unwrap();
    assert_eq!(url_of("x").unwrap(), format!("file://{}/x", here.display()));
    assert!(url_of("http://[").is_err());
}
