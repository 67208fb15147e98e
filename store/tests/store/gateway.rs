//! The same on a real S3 server: conditions, versions and locks are its own.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use podwitness_store::{FailureKind, LockPolicy, ObjectLock, Store, Version};
use podwitness_store_fixture::Gateway;

use crate::conformance;

const BYTES: Bytes = Bytes::from_static(b"evidence");
/// As names with every kind of character are encoded in paths.
const PATH: &str = "verdicts/cluster=a%2Fb/namespace=n/x%20y%7E-000000000001.parquet";

async fn store(gateway: &Gateway, bucket: &str) -> Store {
    gateway.make_bucket(bucket, bucket.starts_with("locked")).await;
    Store::open(&format!("s3://{bucket}/some/prefix"), gateway.environment()).unwrap()
}

async fn versions(store: &Store, prefix: &str) -> Vec<Version> {
    store.versions(prefix).unwrap().try_collect().await.unwrap()
}

fn soon(seconds: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::seconds(seconds)
}

/// A client of the bucket `locked` that knows nothing of ours.
fn other_client(gateway: &Gateway) -> object_store::aws::AmazonS3Builder {
    let environment = gateway.environment();
    object_store::aws::AmazonS3Builder::new()
        .with_url("s3://locked")
        .with_endpoint(&environment[3].1)
        .with_allow_http(true)
        .with_checksum_algorithm(object_store::aws::Checksum::SHA256)
        .with_access_key_id(&environment[0].1)
        .with_secret_access_key(&environment[1].1)
}

/// Waits until the server's clock, which is ours, has passed `until`.
async fn wait_for(until: DateTime<Utc>) {
    while Utc::now() <= until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_was_put_is_read_listed_deleted_and_never_replaced() {
    let gateway = Gateway::start().await;
    for bucket in ["plain", "locked"] {
        let store = store(&gateway, bucket).await;
        conformance::keeps_what_was_put(&store).await;
        // Nothing is left of what was deleted.
        let found = versions(&store, "verdicts").await;
        let paths: Vec<_> = found.iter().map(|version| version.path.as_str()).collect();
        assert_eq!(paths, ["verdicts/cluster=a/other.parquet"], "{found:?}");
    }
}

#[tokio::test]
async fn of_two_that_put_one_object_at_once_one_wins_and_the_other_is_told() {
    let gateway = Gateway::start().await;
    conformance::has_one_of_two_win(&store(&gateway, "plain").await).await;
}

#[tokio::test]
async fn a_locked_object_goes_after_its_time_and_not_before() {
    let gateway = Gateway::start().await;
    let store = store(&gateway, "locked").await;
    assert_eq!(store.object_lock().await.unwrap(), &ObjectLock::On);
    let asked = soon(4);
    let until = store.put_locked(PATH, BYTES, asked).await.unwrap().unwrap();
    assert!(until >= asked && until < asked + TimeDelta::seconds(1) && until.timestamp_subsec_nanos() == 0, "{until}");
    // An answer that was lost is no other lock.
    assert_eq!(store.put_locked(PATH, BYTES, asked).await.unwrap(), Some(until));
    assert_eq!(store.locked_until(PATH).await.unwrap(), Some(until), "the server says so itself");

    let error = store.delete(PATH).await.unwrap_err();
    assert_eq!((error.kind, error.action), (FailureKind::Locked, "delete"), "{error}");
    assert!(error.to_string().ends_with("nobody can delete it before that time; a later run will"), "{error}");
    assert_eq!(store.get(PATH).await.unwrap(), Some(BYTES), "it was hidden");

    wait_for(until).await;
    store.delete(PATH).await.unwrap();
    assert_eq!(versions(&store, "verdicts").await, []);
}

#[tokio::test]
async fn what_hides_or_replaces_an_object_is_seen_in_its_versions() {
    let gateway = Gateway::start().await;
    let store = store(&gateway, "locked").await;
    let until = store.put_locked(PATH, BYTES, soon(2)).await.unwrap().unwrap();
    // Any other client does this, in spite of the lock.
    let other = other_client(&gateway).build().unwrap();
    let key = object_store::path::Path::parse(format!("some/prefix/{PATH}")).unwrap();
    object_store::ObjectStoreExt::put(&other, &key, "other".into()).await.unwrap();
    object_store::ObjectStoreExt::delete(&other, &key).await.unwrap();

    assert_eq!(store.get(PATH).await.unwrap(), None);
    let found = versions(&store, "").await;
    let marker: Vec<_> = found.iter().filter(|version| version.is_delete_marker).collect();
    assert!(matches!(marker[..], [version] if version.is_latest && version.path == PATH), "{found:?}");
    let mut bytes = Vec::new();
    for version in found.iter().filter(|version| !version.is_delete_marker) {
        assert!(!version.is_latest, "{version:?}");
        let there = store.get_version(PATH, &version.version).await.unwrap().unwrap();
        assert_eq!(there.len() as u64, version.bytes);
        bytes.push(there);
    }
    bytes.sort();
    assert_eq!(bytes, [BYTES, Bytes::from_static(b"other")]);
    assert_eq!(store.get_version(PATH, &marker[0].version).await.ok().flatten(), None);

    wait_for(until).await;
    store.delete(PATH).await.unwrap();
    assert_eq!(versions(&store, "").await, []);
}

#[tokio::test]
async fn a_lock_that_can_be_lifted_is_none() {
    let gateway = Gateway::start().await;
    let store = store(&gateway, "locked").await;
    let until = soon(2).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let headers = [("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", &until)];
    let headers = headers.map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
    let options = object_store::ClientOptions::new().with_default_headers(headers.into_iter().collect());
    let other = other_client(&gateway).with_client_options(options.with_allow_http(true)).build().unwrap();
    let key = object_store::path::Path::parse(format!("some/prefix/{PATH}")).unwrap();
    object_store::ObjectStoreExt::put(&other, &key, BYTES.into()).await.unwrap();
    assert_eq!(store.delete(PATH).await.unwrap_err().kind, FailureKind::Locked, "it is locked");
    assert_eq!(store.locked_until(PATH).await.unwrap(), None);
}

#[tokio::test]
async fn a_bucket_without_object_lock_is_said_to_have_none() {
    let gateway = Gateway::start().await;
    let store = store(&gateway, "plain").await;
    assert_eq!(
        store.object_lock().await.unwrap(),
        &ObjectLock::Off("the bucket was made without Object Lock".to_owned())
    );
    assert_eq!(store.put_locked(PATH, BYTES, soon(3600)).await.unwrap(), None);
    store.delete(PATH).await.unwrap();

    let required = store.with_lock_policy(LockPolicy::Required);
    let error = required.put_locked(PATH, BYTES, soon(3600)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unlocked, "{error}");
    assert_eq!(required.get(PATH).await.unwrap(), None);
}

#[tokio::test]
async fn what_need_not_be_kept_any_more_or_is_not_to_be_locked_is_not() {
    let gateway = Gateway::start().await;
    let store = store(&gateway, "locked").await;
    let (past, off) = (soon(-1), store.clone().with_lock_policy(LockPolicy::Off));
    assert_eq!(store.put_locked("keys/past.pem", BYTES, past).await.unwrap(), None);
    assert_eq!(off.put_locked("keys/off.pem", BYTES, soon(3600)).await.unwrap(), None);
    for path in ["keys/past.pem", "keys/off.pem"] {
        assert_eq!(store.locked_until(path).await.unwrap(), None, "{path}");
        store.delete(path).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_is_for_whole_seconds_and_never_shorter() {
    let gateway = Gateway::start().await;
    let store = store(&gateway, "locked").await;
    let whole = soon(2).duration_trunc(TimeDelta::seconds(1)).unwrap();
    assert_eq!(store.put_locked("a", BYTES, whole).await.unwrap(), Some(whole));
    let more = whole + TimeDelta::microseconds(1);
    assert_eq!(store.put_locked("b", BYTES, more).await.unwrap(), Some(whole + TimeDelta::seconds(1)));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_whatever_is_asked() {
    let gateway = Gateway::start().await;
    let store = Store::open("s3://nowhere/x", gateway.environment()).unwrap();
    assert_eq!(store.object_lock().await.unwrap_err().kind, FailureKind::Missing);
    assert_eq!(store.put_once("a", BYTES).await.unwrap_err().kind, FailureKind::Missing);
    assert_eq!(store.get("a").await.unwrap_err().kind, FailureKind::Missing);
    assert_eq!(store.stream("a").await.err().unwrap().kind, FailureKind::Missing);
    assert_eq!(store.locked_until("a").await.unwrap_err().kind, FailureKind::Missing);
    assert_eq!(store.delete("a").await.unwrap_err().kind, FailureKind::Missing);
    let listed = store.list("").try_collect::<Vec<_>>().await;
    assert_eq!(listed.unwrap_err().kind, FailureKind::Missing);
    let listed = store.versions("").unwrap().try_collect::<Vec<_>>().await;
    assert_eq!(listed.unwrap_err().kind, FailureKind::Missing);
}

#[tokio::test]
async fn wrong_credentials_are_told() {
    let gateway = Gateway::start().await;
    gateway.make_bucket("plain", false).await;
    let mut environment = gateway.environment();
    environment[1].1 = "wrong".to_owned();
    let store = Store::open("s3://plain", environment).unwrap();
    let error = store.put_once("a", BYTES).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthenticated, "{error}");
    let error = store.object_lock().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthenticated, "{error}");
}
