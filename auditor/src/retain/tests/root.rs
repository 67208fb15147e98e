//! A sealed root whose files are no Parquet: `retain` reads seals alone.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use podwitness_schemas::layout;
use podwitness_seals::balance::Balance;
use podwitness_seals::deletion::Deletion;
use podwitness_seals::document::{self, Document as _};
use podwitness_seals::key::PrivateKey;
use podwitness_seals::seal::{Chain, Seal, SealedObject, Sealer, Window};
use podwitness_seals::sha256;
use podwitness_seals::time::Time;
use podwitness_store::Store;

/// In microseconds.
pub(crate) const DAY: i64 = 86_400_000_000;
/// 2026-01-01.
const BEGIN: i64 = 1_767_225_600_000_000;

/// The beginning of a day.
pub(crate) fn at_day(day: i64) -> Time {
    Time::from_micros(BEGIN + day * DAY)
}

/// A root of the cluster `c` and the node `n`.
pub(crate) struct Root {
    pub(crate) store: Store,
    key: PrivateKey,
    window: Vec<SealedObject>,
    previous: Option<String>,
    seals: u64,
    bytes: HashMap<String, Bytes>,
}

impl Root {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self::of(Store::open(&format!("file://{}", folder.display()), []).unwrap())
    }

    pub(crate) fn in_bucket(url: &str, environment: Vec<(String, String)>) -> Self {
        Self::of(Store::open(url, environment).unwrap())
    }

    fn of(store: Store) -> Self {
        let key = PrivateKey::from_seed(&[1; 32]);
        Self { store, key, window: Vec::new(), previous: None, seals: 0, bytes: HashMap::new() }
    }

    /// Puts a file with the records of that day, which is to be kept for so many days.
    pub(crate) async fn put(&mut self, table: &str, namespace: Option<&str>, day: i64, kept_days: i64) -> String {
        let first = DateTime::<Utc>::from(at_day(day));
        let path = match namespace {
            Some(namespace) => layout::verdicts_path("c", namespace, first, "n", "boot", day + 1),
            None => layout::coverage_path("c", first, "n", "boot", day + 1),
        };
        let bytes = Bytes::from(format!("{path}, {kept_days}"));
        self.store.put_once(&path, bytes.clone()).await.unwrap();
        let last_time = Time::from_micros(at_day(day + 1).micros() - 1);
        self.window.push(SealedObject {
            path: path.clone(),
            sha256: sha256(&bytes),
            bytes: bytes.len() as u64,
            table: table.into(),
            namespace: namespace.map(str::to_owned),
            boot: "boot".into(),
            schema_version: 1,
            rows: 1,
            first_seq: day + 1,
            last_seq: day + 1,
            first_time: at_day(day),
            last_time,
            retain_until: Time::from_micros(last_time.micros() + kept_days * DAY),
            locked_until: None,
        });
        self.bytes.insert(path.clone(), bytes);
        path
    }

    /// The bytes that were put there.
    pub(crate) fn bytes(&self, path: &str) -> Bytes {
        self.bytes[path].clone()
    }

    /// Seals what was put since.
    pub(crate) async fn seal(&mut self, day: i64) {
        self.store.claim_root().await.unwrap();
        self.seals += 1;
        let mut objects = std::mem::take(&mut self.window);
        objects.sort_by(|one, other| one.path.cmp(&other.path));
        let public = self.key.public();
        let seal = Seal {
            r#type: Seal::TYPE.into(),
            version: 1,
            cluster: "c".into(),
            node: "n".into(),
            boot: "boot".into(),
            seal: self.seals,
            chain: if self.seals == 1 { Chain::Begins } else { Chain::Continues },
            previous_sha256: self.previous.take(),
            window: Window { start: at_day(day), end: at_day(day + 1) },
            interval_seconds: 86_400,
            last: false,
            sealer: Sealer { version: "0".into(), started: at_day(0), after_crash: false },
            clock: None,
            objects,
            gaps: Vec::new(),
            balance: Balance::default(),
            policy: None,
            agent_version: None,
            object_sha256: None,
            retention: Vec::new(),
            key_id: public.id(),
            next_key_id: None,
        };
        let bytes = document::to_bytes(&seal);
        self.previous = Some(sha256(&bytes));
        let path = Self::seal_path(self.seals);
        self.store.put_once(&layout::key_path(&public.id().0), public.to_pem().into()).await.unwrap();
        let signature = self.key.sign(&bytes).to_vec();
        self.store.put_once(&format!("{path}.sig"), signature.into()).await.unwrap();
        self.store.put_once(&path, bytes.into()).await.unwrap();
    }

    pub(crate) fn seal_path(seal: u64) -> String {
        layout::seal_path("c", "n", "boot", seal)
    }

    /// The paths of what is there of the tables.
    pub(crate) async fn data(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for table in ["coverage", "policies", "verdicts"] {
            let found: Vec<_> = self.store.list(table).try_collect().await.unwrap();
            paths.extend(found.into_iter().map(|object| object.path));
        }
        paths.sort();
        paths
    }

    /// The deletions, in order.
    pub(crate) async fn deletions(&self) -> Vec<Deletion> {
        let found: Vec<_> = self.store.list("deletions").try_collect().await.unwrap();
        let mut paths: Vec<_> =
            found.into_iter().map(|object| object.path).filter(|path| path.ends_with(".json")).collect();
        paths.sort();
        let mut deletions = Vec::new();
        for path in paths {
            deletions.push(document::from_bytes(&self.store.get(&path).await.unwrap().unwrap()).unwrap());
        }
        deletions
    }
}
