//! What is added up, and what a status says of it.

use k8s_openapi::jiff::Timestamp;
use podwitness_manifests::{AuditTrail, AuditTrailSpec};
use podwitness_seals::seal::NamespaceRetention;
use tempfile::TempDir;

use super::evidence::{Amount, Evidence};
use super::publish::{patch, status};
use super::rows;
use crate::retain::tests::root::{DAY, Root, at_day};
use crate::retain::wishes::Wishes;
use podwitness_seals::time::Time;

fn wishes() -> Wishes {
    let asked = NamespaceRetention { namespace: "bank".into(), seconds: 86_400, hold: true, addresses: "full".into() };
    Wishes {
        cluster: "c".into(),
        minimum_seconds: 60,
        default_seconds: 3_600,
        retention: vec![asked],
        namespaces: vec!["bank".into(), "shop".into(), "idle".into()],
    }
}

/// Two sealed days of `shop`, one of `bank`, of which the first file of `shop` is gone.
async fn evidence(folder: &TempDir) -> Evidence {
    let mut root = Root::in_folder(folder.path());
    let first = root.put("verdicts", Some("shop"), 0, 1).await;
    root.put("coverage", None, 0, 1).await;
    root.seal(0).await;
    root.put("verdicts", Some("shop"), 1, 1).await;
    root.put("verdicts", Some("bank"), 1, 1).await;
    root.seal(1).await;
    root.store.delete(&first).await.unwrap();
    Evidence::read(&root.store, "c").await.unwrap()
}

fn trail(namespace: &str) -> AuditTrail {
    let mut trail = AuditTrail::new("default", AuditTrailSpec::default());
    trail.metadata.namespace = Some(namespace.to_owned());
    trail.metadata.generation = Some(3);
    trail
}

#[tokio::test]
async fn what_is_sealed_and_there_is_added_up_by_namespace() {
    let folder = TempDir::new().unwrap();
    let evidence = evidence(&folder).await;
    let end_of_day = Time::from_micros(at_day(2).micros() - 1);
    let rows = rows(&wishes(), &evidence);
    let told: Vec<_> = rows.iter().map(|row| (row.namespace.as_str(), row.retention_seconds, row.held)).collect();
    assert_eq!(told, [("bank", 86_400, true), ("idle", 3_600, false), ("shop", 3_600, false)]);
    let bytes = rows[2].amount.unwrap().bytes;
    assert!(bytes > 10, "{bytes}");
    assert_eq!(rows[2].amount, Some(Amount { from: at_day(1), to: end_of_day, files: 1, bytes }));
    assert_eq!(rows[1].amount, None);
    assert!(evidence.last_seal.unwrap() >= at_day(1), "{:?}", evidence.last_seal);
}

#[tokio::test]
async fn a_seal_that_was_altered_is_named_and_nothing_is_added_up() {
    let folder = TempDir::new().unwrap();
    evidence(&folder).await;
    let seals = folder.path().join("seals/cluster=c/node=n");
    let seal = std::fs::read_dir(&seals).unwrap().map(|entry| entry.unwrap().path());
    let seal = seal.filter(|path| path.extension().is_some_and(|end| end == "json")).min().unwrap();
    let altered = std::fs::read_to_string(&seal).unwrap().replace("\"rows\":1", "\"rows\":2");
    std::fs::write(&seal, altered).unwrap();
    let store = podwitness_store::Store::open(&format!("file://{}", folder.path().display()), []).unwrap();
    let why = Evidence::read(&store, "c").await.unwrap_err();
    assert!(why.contains("seals/cluster=c/node=n/") && why.contains("its signature is wrong"), "{why}");
}

#[tokio::test]
async fn a_status_says_what_there_is_and_since_when_it_could_be_read() {
    let folder = TempDir::new().unwrap();
    let evidence = evidence(&folder).await;
    let (now, later) = (Timestamp::from_second(1_000).unwrap(), Timestamp::from_second(2_000).unwrap());
    let mut trail = trail("bank");
    let first = status(&trail, &wishes(), Ok(&evidence), now);
    assert_eq!((first.observed_generation, first.files, first.held), (Some(3), Some(1), Some(true)));
    assert_eq!(first.evidence_from.as_ref().unwrap().0.as_microsecond(), at_day(0).micros() + DAY);
    assert_eq!((first.conditions[0].status.as_str(), first.conditions[0].last_transition_time.0), ("True", now));
    trail.status = Some(first.clone());
    assert_eq!(status(&trail, &wishes(), Ok(&evidence), later), first, "nothing has changed");

    let broken = "a seal is wrong".to_owned();
    let told = status(&trail, &wishes(), Err(&broken), later);
    let condition = &told.conditions[0];
    assert_eq!((condition.status.as_str(), condition.message.as_str()), ("False", "a seal is wrong"));
    assert_eq!(condition.last_transition_time.0, later);
    assert_eq!((told.files, told.evidence_from), (first.files, first.evidence_from), "what was known stays");

    let empty = status(&self::trail("idle"), &wishes(), Ok(&evidence), now);
    assert_eq!((empty.files, empty.bytes, empty.held), (Some(0), Some(0), Some(false)));
    let written = &patch(&empty)["status"];
    assert!(written.as_object().unwrap().get("evidenceFrom").unwrap().is_null(), "{written}");
    assert_eq!(written["files"], 0);
}
