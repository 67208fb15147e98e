//! A root in a store that keeps versions: a real S3 server.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use podwitness_seals::time::Time;
use podwitness_store::Store;
use podwitness_store_fixture::Gateway;
use podwitness_tests::sealed_root::SealedRoot;
use podwitness_tests::sealed_root::golden::golden;

use crate::asked::Answer;
use crate::rewrite::rewrite;

/// What the command answers about `url`, with the settings of `gateway`.
async fn ask(gateway: &Gateway, url: &str, as_of: i64) -> Answer {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_podwitness"))
        .args(["verify", "-o", "json", "--as-of", &Time::from_micros(as_of).to_string(), url])
        .envs(gateway.environment())
        .output()
        .await
        .unwrap();
    Answer::of(&output)
}

#[tokio::test]
async fn a_root_in_a_store_is_checked_and_so_is_what_its_versions_hide() {
    let golden = golden().unwrap();
    let gateway = Gateway::start().await;
    gateway.make_bucket("locked", true).await;
    let url = "s3://locked/some/prefix";
    let store = Store::open(url, gateway.environment()).unwrap();
    for (path, bytes) in &golden.root.objects {
        store.put_once(path, bytes.clone().into()).await.unwrap();
    }
    let answer = ask(&gateway, url, golden.as_of).await;
    assert_eq!((answer.findings(), answer.code), (BTreeSet::new(), Some(0)), "{}", answer.json);

    // Any client does this.
    let environment = gateway.environment();
    let other = object_store::aws::AmazonS3Builder::new()
        .with_url("s3://locked")
        .with_endpoint(environment[3].1.clone())
        .with_allow_http(true)
        .with_access_key_id(&environment[0].1)
        .with_secret_access_key(&environment[1].1)
        .build()
        .unwrap();
    let objects = golden.root.paths("verdicts/cluster=lab/namespace=ops/");
    let key = |path: &str| object_store::path::Path::parse(format!("some/prefix/{path}")).unwrap();
    let mut bytes = golden.root.objects[&objects[0]].clone();
    bytes[100] ^= 1;
    object_store::ObjectStoreExt::put(&other, &key(&objects[0]), bytes.into()).await.unwrap();
    object_store::ObjectStoreExt::delete(&other, &key(&objects[1])).await.unwrap();
    let answer = ask(&gateway, url, golden.as_of).await;
    let expected = [
        format!("object-altered {}", objects[0]),
        format!("version-hidden {}", objects[0]),
        format!("object-missing {}", objects[1]),
        format!("version-hidden {}", objects[1]),
    ];
    assert_eq!((answer.findings(), answer.code), (expected.into(), Some(1)), "{}", answer.json);
}

/// Puts `root` into a bucket, what stands at a path locked until when `lock` says. Gives its URL.
async fn fill(
    gateway: &Gateway,
    bucket: &str,
    root: &SealedRoot,
    lock: impl Fn(&str) -> Option<DateTime<Utc>>,
) -> String {
    gateway.make_bucket(bucket, bucket.starts_with("locked")).await;
    let url = format!("s3://{bucket}/root");
    let store = Store::open(&url, gateway.environment()).unwrap();
    for (path, bytes) in &root.objects {
        match lock(path) {
            Some(until) => drop(store.put_locked(path, bytes.clone().into(), until).await.unwrap()),
            None => store.put_once(path, bytes.clone().into()).await.unwrap(),
        }
    }
    url
}

#[tokio::test]
async fn what_the_store_does_not_lock_as_seals_say_is_noted_and_no_finding() {
    let golden = golden().unwrap();
    let gateway = Gateway::start().await;
    // In whole seconds, as stores lock.
    let sealed = DateTime::from_timestamp(Utc::now().timestamp() + 48 * 60 * 60, 0).unwrap();
    let mut root = golden.root.clone();
    for node in ["node-a", "node-b"] {
        rewrite(&mut root, node, |seal| {
            seal.objects.iter_mut().for_each(|object| object.locked_until = Some(sealed.into()));
        });
    }
    let files = root.paths("verdicts/");
    let (shorter, never) = (files[1].as_str(), files[2].as_str());
    let is_file = |path: &str| path.ends_with(".parquet");
    let as_sealed = |path: &str| is_file(path).then_some(sealed);
    let not_all = |path: &str| {
        as_sealed(path)
            .filter(|_| path != never)
            .map(|until| if path == shorter { until - TimeDelta::seconds(1) } else { until })
    };
    let listed = golden.root.seals().into_iter().flat_map(|(_, seal)| seal.objects);
    let kept = listed.filter(|object| object.retain_until.micros() > golden.as_of);
    let kept: BTreeSet<_> =
        kept.map(|object| object.path).filter(|path| golden.root.objects.contains_key(path)).collect();

    for (url, expected) in [
        (fill(&gateway, "plain", &root, as_sealed).await, vec!["not-locked 1 null".to_owned()]),
        (fill(&gateway, "locked", &root, as_sealed).await, vec![]),
        (fill(&gateway, "locked-in-part", &root, not_all).await, vec![format!("lock-shorter 2 {shorter}")]),
        (
            fill(&gateway, "locked-unasked", &golden.root, |_| None).await,
            vec![format!("not-locked {} {}", kept.len(), kept.first().unwrap())],
        ),
    ] {
        let answer = ask(&gateway, &url, golden.as_of).await;
        assert_eq!((answer.findings(), answer.code), (BTreeSet::new(), Some(0)), "{url}: {}", answer.json);
        let notes = answer.json["notes"].as_array().unwrap();
        let told = notes.iter().map(|note| format!("{} {} {}", note["code"], note["count"], note["object"]));
        assert_eq!(told.map(|note| note.replace('"', "")).collect::<Vec<_>>(), expected, "{url}");
        let is_plain = notes.iter().any(|note| {
            note["message"] == "the store locks nothing, so it is not WORM: the bucket was made without Object Lock"
        });
        assert_eq!(is_plain, url.contains("plain"), "{notes:?}");
    }
}
