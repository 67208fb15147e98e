//! A root in a store that keeps versions: a real S3 server.

use std::collections::BTreeSet;

use podwitness_store::Store;
use podwitness_store_fixture::Gateway;
use podwitness_tests::sealed_root::golden::golden;

use crate::asked::Answer;

/// What the command answers about `url`, with the settings of `gateway`.
async fn ask(gateway: &Gateway, url: &str, as_of: i64) -> Answer {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_podwitness"))
        .args(["verify", "-o", "json", "--as-of", &podwitness_seals::time::Time::from_micros(as_of).to_string(), url])
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
