//! What goes, what stays, and what an interruption at each step leaves.

mod matrix;
pub(crate) mod root;

use std::collections::BTreeSet;

use podwitness_seals::deletion::Deletion;
use podwitness_seals::document;
use podwitness_seals::seal::NamespaceRetention;
use podwitness_seals::time::Time;
use podwitness_store_fixture::Gateway;
use tempfile::TempDir;

use super::deleter::Deleter;
use super::protocol::{Outcome, Run, Step, Stop};
use super::wishes::{Kept, Wishes};
use root::{DAY, Root, at_day};

const ON: fn(Step) -> Result<(), Stop> = |_| Ok(());

fn asks(namespace: &str, days: u64, hold: bool) -> NamespaceRetention {
    NamespaceRetention { namespace: namespace.into(), seconds: days * 86_400, hold, addresses: "full".into() }
}

fn wishes(retention: &[NamespaceRetention]) -> Wishes {
    Wishes {
        cluster: "c".into(),
        minimum_seconds: 2 * 86_400,
        default_seconds: 10 * 86_400,
        retention: retention.to_vec(),
        namespaces: vec!["shop".into(), "bank".into()],
    }
}

async fn delete(root: &Root, key: &mut Deleter, wishes: &Wishes, now: Time) -> Result<Outcome, Stop> {
    Run { store: &root.store, wishes, trusted: None, now, at: &ON }.delete(key).await
}

fn key(folder: &TempDir) -> Deleter {
    Deleter::open(&folder.path().join("retain.key")).unwrap()
}

fn refusal(outcome: Result<Outcome, Stop>) -> String {
    match outcome {
        Err(Stop::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Two namespaces and coverage on each of the days 0 to 4, each kept for as long as `days` say.
async fn five_days(root: &mut Root, shop: i64, bank: i64) {
    for day in 0..5 {
        root.put("verdicts", Some("shop"), day, shop).await;
        root.put("verdicts", Some("bank"), day, bank).await;
        root.put("coverage", None, day, 10).await;
        root.seal(day).await;
    }
}

#[tokio::test]
async fn what_is_past_its_time_goes_and_is_signed_and_the_rest_stays() {
    let (folder, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut root = Root::in_folder(folder.path());
    five_days(&mut root, 2, 4).await;
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let mut key = key(&keys);
    let outcome = delete(&root, &mut key, &wishes, at_day(5)).await.unwrap();
    // A day's records end at its end: shop's of days 0 to 2 and bank's of day 0 are past.
    assert_eq!((outcome.deleted, outcome.refused.len()), (4, 0), "{outcome:?}");
    let left: Vec<String> = root.data().await;
    assert!(
        left.iter()
            .filter(|path| path.contains("namespace=shop"))
            .all(|path| path.contains("-04/") || path.contains("-05/")),
        "{left:?}"
    );
    assert_eq!(left.len(), 11, "{left:?}");

    let [path] = &outcome.deletions[..] else { panic!("{outcome:?}") };
    let bytes = root.store.get(path).await.unwrap().unwrap();
    let deletion: Deletion = document::from_bytes(&bytes).unwrap();
    let signature = root.store.get(&format!("{path}.sig")).await.unwrap().unwrap();
    assert!(key.keys.current().public().verifies(&bytes, &signature));
    assert_eq!((deletion.deletion, deletion.previous_sha256, deletion.objects.len()), (1, None, 4));
    assert!(
        deletion.objects.iter().all(|object| object.retain_until <= deletion.time && object.seal.starts_with("seals/"))
    );
    assert!(root.store.get(&format!("keys/{}.pem", key.keys.current().public().id())).await.unwrap().is_some());

    let again = delete(&root, &mut key, &wishes, at_day(5)).await.unwrap();
    assert_eq!(again, Outcome::default(), "a second run is harmless and signs nothing");
    let later = delete(&root, &mut key, &wishes, at_day(6)).await.unwrap();
    assert_eq!((later.deleted, &later.deletions[..]), (2, &["deletions/cluster=c/000000000002.json".to_owned()][..]));
}

#[tokio::test]
async fn retention_is_extended_and_never_shortened_and_a_hold_keeps_everything() {
    let folder = TempDir::new().unwrap();
    let mut root = Root::in_folder(folder.path());
    five_days(&mut root, 4, 4).await;
    let look = async |retention: &[NamespaceRetention]| {
        let wishes = wishes(retention);
        let run = Run { store: &root.store, wishes: &wishes, trusted: None, now: at_day(5), at: &ON };
        let (history, altered) = run.look().await.unwrap();
        assert_eq!(altered, Vec::<String>::new());
        let due: BTreeSet<String> = history.due.values().filter_map(|(object, _)| object.namespace.clone()).collect();
        (due.into_iter().collect::<Vec<_>>(), history.kept)
    };
    // Lowered afterwards: what was written keeps its time.
    let (due, kept) = look(&[asks("shop", 2, false), asks("bank", 2, false)]).await;
    assert_eq!((due, kept[&Kept::RetainUntil].0), (vec!["bank".into(), "shop".to_owned()], 13));
    // Raised afterwards: what was written follows. A namespace without a trail has the default.
    let (due, kept) = look(&[asks("bank", 4, false)]).await;
    assert_eq!((due, kept[&Kept::Asked].0), (vec!["bank".to_owned()], 1));
    // On hold: all of it, and what belongs to every namespace.
    let (due, kept) = look(&[asks("shop", 2, true), asks("bank", 2, false)]).await;
    assert_eq!((due, kept[&Kept::Hold].0), (vec!["bank".to_owned()], 10));
}

/// What a run over five days has left that was interrupted.
struct Interrupted {
    folder: TempDir,
    keys: TempDir,
    root: Root,
    wishes: Wishes,
}

impl Interrupted {
    /// At this step; `is_followed` has another key wait beside the one that signs.
    async fn at(stop_at: Step, is_followed: bool) -> Self {
        let (folder, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut root = Root::in_folder(folder.path());
        five_days(&mut root, 2, 4).await;
        let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
        let mut key = key(&keys);
        if is_followed {
            std::fs::write(keys.path().join("retain.key.next"), "").unwrap();
        }
        let at = |step: Step| if step == stop_at { Err(Stop::Interrupted) } else { Ok(()) };
        let run = Run { store: &root.store, wishes: &wishes, trusted: None, now: at_day(5), at: &at };
        assert_eq!(run.delete(&mut key).await, Err(Stop::Interrupted), "{stop_at:?}");
        Self { folder, keys, root, wishes }
    }

    /// The next run, of another process, is later, and so would sign other bytes. Gives what it kept on its disk.
    async fn go_on(&self) -> Deleter {
        let mut key = key(&self.keys);
        delete(&self.root, &mut key, &self.wishes, at_day(6)).await.unwrap_or_else(|stop| panic!("{stop:?}"));
        key
    }
}

#[tokio::test]
async fn an_interruption_at_any_step_is_finished_by_the_next_run() {
    for &stop_at in Step::ALL {
        let interrupted = Interrupted::at(stop_at, false).await;
        let root = &interrupted.root;
        // Nothing is gone that no deletion in the store lists.
        let is_listed = root.store.get("deletions/cluster=c/000000000001.json").await.unwrap().is_some();
        assert!(is_listed || root.data().await.len() == 15, "{stop_at:?}");

        let key = interrupted.go_on().await;
        assert_eq!(root.data().await.len(), 9, "{stop_at:?}");
        let deletions = root.deletions().await;
        let listed: Vec<_> = deletions.iter().map(|deletion| (deletion.time, deletion.objects.len())).collect();
        // What was signed first is what was put.
        let expected =
            if stop_at == Step::Looked { vec![(at_day(6), 6)] } else { vec![(at_day(5), 4), (at_day(6), 2)] };
        assert_eq!(listed, expected, "{stop_at:?}");
        assert_eq!(key.pending().unwrap(), None, "{stop_at:?}");
    }
}

#[tokio::test]
async fn an_interruption_at_any_step_hands_over_once() {
    for &stop_at in Step::ALL {
        let interrupted = Interrupted::at(stop_at, true).await;
        let key = interrupted.go_on().await;
        let deletions = interrupted.root.deletions().await;
        assert_eq!(deletions.iter().filter(|deletion| deletion.next_key_id.is_some()).count(), 1, "{stop_at:?}");
        assert_eq!(deletions[0].next_key_id, Some(key.keys.id()), "{stop_at:?}");
        assert!(!interrupted.keys.path().join("retain.key.next").exists(), "{stop_at:?}");
    }
}

#[tokio::test]
async fn a_hold_that_comes_between_signing_and_deleting_keeps_what_is_left() {
    let Interrupted { folder: _folder, keys, root, wishes: before } = Interrupted::at(Step::DeletionPut, false).await;
    let mut key = key(&keys);
    let held = wishes(&[asks("shop", 2, true), asks("bank", 4, false)]);
    let outcome = delete(&root, &mut key, &held, at_day(5)).await.unwrap();
    assert_eq!(outcome.deleted, 1, "bank's alone");
    assert_eq!(root.data().await.len(), 14);
    // Lifted: what was signed for goes, without another deletion.
    let outcome = delete(&root, &mut key, &before, at_day(5)).await.unwrap();
    assert_eq!((outcome.deleted, outcome.deletions), (3, vec![]));
}

#[tokio::test]
async fn of_two_runs_at_once_one_is_told_and_deletes_nothing() {
    let (folder, keys, others) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut root = Root::in_folder(folder.path());
    five_days(&mut root, 2, 4).await;
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let mut first = key(&keys);
    std::fs::copy(keys.path().join("retain.key"), others.path().join("retain.key")).unwrap();
    let mut second = key(&others);
    let at = |step: Step| if step == Step::Staged { Err(Stop::Interrupted) } else { Ok(()) };
    let run = Run { store: &root.store, wishes: &wishes, trusted: None, now: at_day(5), at: &at };
    assert_eq!(run.delete(&mut first).await, Err(Stop::Interrupted));
    // The other goes all the way while the first stands there.
    delete(&root, &mut second, &wishes, Time::from_micros(at_day(5).micros() + 1)).await.unwrap();
    let why = refusal(delete(&root, &mut first, &wishes, at_day(5)).await);
    assert!(why.contains("another run of podwitness retain was faster"), "{why}");
    assert_eq!(delete(&root, &mut first, &wishes, at_day(5)).await.unwrap(), Outcome::default());
    assert_eq!(root.deletions().await.len(), 1);
    assert!(Deleter::open(&keys.path().join("retain.key")).err().unwrap().contains("another run uses the key"));
}

#[tokio::test]
async fn nothing_is_deleted_where_the_evidence_is_not_in_order() {
    for (name, words) in [
        ("flip", "its signature is wrong"),
        ("remove", "is expected"),
        ("signature", "it is not there"),
        ("key", "is not known"),
        ("stray", "was interrupted elsewhere"),
    ] {
        let (folder, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut root = Root::in_folder(folder.path());
        five_days(&mut root, 2, 4).await;
        let seal = folder.path().join(Root::seal_path(2));
        match name {
            "flip" => {
                let text = std::fs::read_to_string(&seal).unwrap();
                std::fs::write(&seal, text.replace("\"last\":false", "\"last\":true")).unwrap();
            }
            "remove" => std::fs::remove_file(&seal).unwrap(),
            "signature" => std::fs::remove_file(folder.path().join(format!("{}.sig", Root::seal_path(2)))).unwrap(),
            "key" => std::fs::remove_dir_all(folder.path().join("keys")).unwrap(),
            _ => root.store.put_once("deletions/cluster=c/000000000001.json.sig", "x".into()).await.unwrap(),
        }
        let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
        let why = refusal(delete(&root, &mut key(&keys), &wishes, at_day(5)).await);
        assert!(why.contains(words), "{name}: {why}");
        assert_eq!(root.data().await.len(), 15, "{name}");
    }
}

#[tokio::test]
async fn seals_of_keys_that_are_not_trusted_delete_nothing() {
    let (folder, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut root = Root::in_folder(folder.path());
    five_days(&mut root, 2, 4).await;
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let other = podwitness_seals::key::PrivateKey::from_seed(&[9; 32]).public();
    let trusted = super::Keys::from([(other.id(), other)]);
    let run = Run { store: &root.store, wishes: &wishes, trusted: Some(&trusted), now: at_day(5), at: &ON };
    assert!(refusal(run.delete(&mut key(&keys)).await).contains("is not known"));
}

#[tokio::test]
async fn an_altered_a_missing_and_an_unsealed_object_are_left_out_of_deletions() {
    let (folder, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut root = Root::in_folder(folder.path());
    five_days(&mut root, 2, 4).await;
    let paths = root.data().await;
    let shop: Vec<&String> = paths.iter().filter(|path| path.contains("namespace=shop")).collect();
    std::fs::write(folder.path().join(shop[0]), "altered, and longer than before, so that it shows").unwrap();
    std::fs::remove_file(folder.path().join(shop[1])).unwrap();
    root.store
        .put_once("verdicts/cluster=c/namespace=shop/date=2020-01-01/hour=00/x.parquet", "x".into())
        .await
        .unwrap();
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let outcome = delete(&root, &mut key(&keys), &wishes, at_day(5)).await.unwrap();
    assert_eq!(outcome.deleted, 2, "{outcome:?}");
    assert!(matches!(&outcome.refused[..], [why] if why.starts_with(shop[0].as_str())), "{outcome:?}");
    let [deletion] = &root.deletions().await[..] else { panic!() };
    assert!(deletion.objects.iter().all(|object| object.path != *shop[0] && object.path != *shop[1]));
}

#[tokio::test]
async fn a_key_is_made_for_its_owner_alone_and_another_one_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, keys, others) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut root = Root::in_folder(folder.path());
    five_days(&mut root, 2, 4).await;
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    delete(&root, &mut key(&keys), &wishes, at_day(5)).await.unwrap();
    let mode = std::fs::metadata(keys.path().join("retain.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let why = refusal(delete(&root, &mut key(&others), &wishes, at_day(6)).await);
    assert!(why.contains("the deletions before were signed by the key"), "{why}");
}

#[tokio::test]
async fn another_key_is_named_by_the_one_before_and_signs_from_then_on() {
    let (folder, keys) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut root = Root::in_folder(folder.path());
    five_days(&mut root, 2, 4).await;
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let next = keys.path().join("retain.key.next");
    let mut key = key(&keys);
    let first = key.keys.id();
    std::fs::write(&next, "").unwrap();
    delete(&root, &mut key, &wishes, at_day(5)).await.unwrap();
    let second = key.keys.id();
    assert_ne!(first, second);
    delete(&root, &mut key, &wishes, at_day(6)).await.unwrap();
    // Where nothing may go, the next run hands over all the same, once.
    std::fs::write(&next, podwitness_seals::key::PrivateKey::from_seed(&[7; 32]).to_pem()).unwrap();
    let outcome = delete(&root, &mut key, &wishes, at_day(6)).await.unwrap();
    assert_eq!((outcome.deleted, outcome.deletions.len()), (0, 1));
    assert_eq!(delete(&root, &mut key, &wishes, at_day(6)).await.unwrap(), Outcome::default());
    let third = podwitness_seals::key::PrivateKey::from_seed(&[7; 32]).public().id();
    assert_eq!(key.keys.id(), third);
    let signed: Vec<_> =
        root.deletions().await.iter().map(|deletion| (deletion.key_id.clone(), deletion.next_key_id.clone())).collect();
    assert_eq!(signed, [(first, Some(second.clone())), (second.clone(), None), (second, Some(third))]);
    // Whoever has the old key alone deletes nothing more.
    drop(key);
    std::fs::write(keys.path().join("retain.key"), podwitness_seals::key::PrivateKey::from_seed(&[8; 32]).to_pem())
        .unwrap();
    let why = refusal(delete(&root, &mut self::key(&keys), &wishes, at_day(8)).await);
    assert!(why.contains("the deletions before were signed by the key"), "{why}");
}

#[tokio::test]
async fn a_lock_that_has_not_ended_is_told_and_stops_nothing_else() {
    let (gateway, keys) = (Gateway::start().await, TempDir::new().unwrap());
    gateway.make_bucket("locked", true).await;
    let mut root = Root::in_bucket("s3://locked/root", gateway.environment());
    five_days(&mut root, 2, 4).await;
    // Locked for longer than its seal knows, as a bucket's default retention or another person does it.
    let until = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let path = root.put("verdicts", Some("shop"), 5, 2).await;
    root.store.delete(&path).await.unwrap();
    root.store.put_locked(&path, root.bytes(&path), until).await.unwrap().unwrap();
    root.seal(5).await;
    let wishes = wishes(&[asks("shop", 2, false), asks("bank", 4, false)]);
    let mut key = key(&keys);
    let outcome = delete(&root, &mut key, &wishes, at_day(8)).await.unwrap();
    assert_eq!(outcome.deleted, 5 + 4, "{outcome:?}");
    let [refused] = &outcome.refused[..] else { panic!("{outcome:?}") };
    assert!(refused.contains(&path) && refused.ends_with("a later run will"), "{refused}");
    assert!(root.store.get(&path).await.unwrap().is_some(), "it was hidden");
    // It is in the deletion, and the next run tries again without signing anew.
    let again = delete(&root, &mut key, &wishes, at_day(8)).await.unwrap();
    assert_eq!((again.deleted, again.refused.len(), again.deletions.len()), (0, 1, 0), "{again:?}");
}

#[test]
fn a_lifecycle_configuration_has_a_rule_for_each_namespace_that_is_not_on_hold() {
    let rules = wishes(&[asks("bank", 30, false)]).lifecycle("prod");
    let found: Vec<(&str, u64)> = rules["Rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["Filter"]["Prefix"].as_str().unwrap(), rule["Expiration"]["Days"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("prod/coverage/cluster=c/", 30),
            ("prod/policies/cluster=c/", 30),
            ("prod/verdicts/cluster=c/namespace=_unknown/", 30),
            ("prod/verdicts/cluster=c/namespace=bank/", 30),
            ("prod/verdicts/cluster=c/namespace=shop/", 10),
        ]
    );
    let held = wishes(&[asks("bank", 30, true)]).lifecycle("");
    assert_eq!(held["Rules"].as_array().unwrap().len(), 1, "{held}");
    assert_eq!(DAY, 86_400_000_000);
}
