//! What holds in every kind of store.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use podwitness_store::{FailureKind, Marker, Object, Store};

const BYTES: Bytes = Bytes::from_static(b"evidence");
/// As names with every kind of character are encoded in paths.
const PATH: &str = "verdicts/cluster=a%2Fb/namespace=n/x%20y%7E-000000000001.parquet";

async fn listed(store: &Store, prefix: &str) -> Vec<Object> {
    let mut found: Vec<Object> = store.list(prefix).try_collect().await.unwrap();
    found.sort();
    found
}

/// What was put into an empty root is read, listed, deleted and never replaced.
pub(crate) async fn keeps_what_was_put(store: &Store) {
    assert_eq!(store.marker().await.unwrap(), Marker::Absent);
    for _ in 0..2 {
        store.claim_root().await.unwrap();
    }
    assert_eq!(store.marker().await.unwrap(), Marker::Current);
    for _ in 0..2 {
        store.put_once(PATH, BYTES).await.unwrap();
    }
    let error = store.put_once(PATH, Bytes::from_static(b"evidencE")).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Conflict, "{error}");
    assert_eq!(store.get(PATH).await.unwrap(), Some(BYTES));
    assert_eq!(store.size(PATH).await.unwrap(), Some(8));
    let pieces: Vec<Bytes> = store.stream(PATH).await.unwrap().unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), BYTES);
    store.put_once("verdicts/cluster=a/other.parquet", BYTES).await.unwrap();
    let object = |path: &str| Object { path: path.to_owned(), bytes: 8 };
    assert_eq!(listed(store, "verdicts/cluster=a%2Fb").await, [object(PATH)]);
    assert_eq!(listed(store, "verdicts").await, [object(PATH), object("verdicts/cluster=a/other.parquet")]);
    assert_eq!(listed(store, "").await.len(), 3);
    for _ in 0..2 {
        store.delete(PATH).await.unwrap();
    }
    assert_eq!(store.get(PATH).await.unwrap(), None);
    assert_eq!(store.size(PATH).await.unwrap(), None);
    assert!(store.stream(PATH).await.unwrap().is_none());
    assert_eq!(listed(store, "verdicts").await, [object("verdicts/cluster=a/other.parquet")]);
}

/// Of two that put one object at once one wins, and the other is told.
pub(crate) async fn has_one_of_two_win(store: &Store) {
    for round in 0..20 {
        let path = format!("keys/{round}.pem");
        let put = |bytes: &'static [u8]| store.put_once(&path, Bytes::from_static(bytes));
        let (first, second) = tokio::join!(put(b"first"), put(b"second"));
        let (error, winner) = match (first, second) {
            (Ok(()), Err(error)) => (error, "first"),
            (Err(error), Ok(())) => (error, "second"),
            both => panic!("{both:?}"),
        };
        assert!(matches!(error.kind, FailureKind::Conflict | FailureKind::Unavailable), "{error}");
        assert_eq!(store.get(&path).await.unwrap(), Some(Bytes::from_static(winner.as_bytes())));
    }
}
