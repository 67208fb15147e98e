//! A node that witnesses and seals.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use podwitness_exporter::batch::Batch;
use podwitness_exporter::staging::NewFile;
use podwitness_schemas::layout;
use podwitness_seals::balance::{Around, Balance, KernelBalance, Rows, TABLES};
use podwitness_seals::key::PrivateKey;
use podwitness_seals::seal::{Chain, ClockState, Gap, PolicyInForce, Seal, SealedObject, Sealer, Window};
use podwitness_seals::sha256;
use podwitness_seals::time::Time;
use podwitness_spool::{Batch as Spooled, Checkpoint, Origin, Reader, Record, Writer, WriterOptions};
use tempfile::TempDir;

use super::records::{Dictionary, revision_sha256};
use super::{Cluster, SealedRoot, key};

/// Records of one commit: few enough for the made spool.
const RECORDS_AT_ONCE: usize = 4096;

/// A node: its boots, what it witnesses, its chain of seals. Times are in microseconds since 1970.
pub struct Node {
    cluster: Cluster,
    name: String,
    life: Life,
    sealer: Sealer,
    clock: ClockState,
    key: PrivateKey,
    next_key: Option<PrivateKey>,
    sealed: Option<(u64, String)>,
    window_start: Time,
    window: Contents,
    witnessed: u64,
    lost_unattributed: u64,
}

/// One life of the node's kernel: a spool, in which sequences run.
struct Life {
    boot: String,
    _folder: TempDir,
    writer: Writer,
    reader: Reader,
    commits: u64,
}

/// What the next seal is to list.
#[derive(Default)]
struct Contents {
    objects: Vec<SealedObject>,
    gaps: Vec<Gap>,
    damaged_bytes: u64,
}

impl Life {
    fn begin(cluster: &Cluster, node: &str, boot: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let origin = Origin {
            cluster: cluster.name.clone(),
            node: node.to_owned(),
            boot: boot.to_owned(),
            agent_version: "0.1.0".to_owned(),
            object_sha256: sha256(b"the eBPF object"),
        };
        let options = WriterOptions { max_bytes: 16 << 20, segment_bytes: 1 << 20 };
        let (writer, _) = Writer::open(folder.path(), options, origin)?;
        let reader = Reader::open(folder.path())?;
        Ok(Self { boot: boot.to_owned(), _folder: folder, writer, reader, commits: 0 })
    }

    /// The records with their places in their sequences; the spool has room for the next ones then.
    fn through_the_spool(&mut self, mut records: Vec<Record>) -> Result<Vec<Spooled>> {
        let mut batches = Vec::new();
        while !records.is_empty() {
            let later = records.split_off(records.len().min(RECORDS_AT_ONCE));
            self.commits += 1;
            let ring = format!("ring-{}", self.boot);
            let checkpoint =
                Checkpoint { ring, ring_position: self.commits, drained_epoch: 0, drained_entries: 0, sums: None };
            self.writer.commit(std::mem::replace(&mut records, later), &Dictionary, &checkpoint)?;
            while let Some(batch) = self.reader.next()? {
                self.reader.done(batch.end)?;
                batches.push(batch);
            }
        }
        Ok(batches)
    }
}

impl Node {
    /// A node whose exporter began at `start`. `seed` names its key, which is put.
    pub fn begin(
        root: &mut SealedRoot,
        cluster: Cluster,
        name: &str,
        seed: u8,
        boot: &str,
        start: i64,
    ) -> Result<Self> {
        let key = key(seed);
        root.put_key(&key.public());
        Ok(Self {
            life: Life::begin(&cluster, name, boot)?,
            cluster,
            name: name.to_owned(),
            sealer: Sealer { version: "0.1.0".to_owned(), started: Time::from_micros(start), after_crash: false },
            clock: ClockState { synchronised: true, offset_us: -12, error_us: 340 },
            key,
            next_key: None,
            sealed: None,
            window_start: Time::from_micros(start),
            window: Contents::default(),
            witnessed: 0,
            lost_unattributed: 0,
        })
    }

    /// The node boots: sequences and the kernel's tables begin anew, and the exporter begins at `start`.
    pub fn reboot(&mut self, boot: &str, start: i64) -> Result<()> {
        self.life = Life::begin(&self.cluster, &self.name, boot)?;
        (self.witnessed, self.lost_unattributed) = (0, 0);
        self.restart(start, false);
        Ok(())
    }

    /// Another exporter begins at `start`.
    pub fn restart(&mut self, start: i64, after_crash: bool) {
        self.sealer.started = Time::from_micros(start);
        self.sealer.after_crash = after_crash;
    }

    /// Whether the clock is synchronised from now on.
    pub fn set_clock(&mut self, synchronised: bool) {
        self.clock.synchronised = synchronised;
    }

    /// The key of `seed` signs from the seal behind the next one on; it is put.
    pub fn rotate_key(&mut self, root: &mut SealedRoot, seed: u8) {
        let next = key(seed);
        root.put_key(&next.public());
        self.next_key = Some(next);
    }

    /// Records come, and are put in files of their own.
    pub fn witness(&mut self, root: &mut SealedRoot, records: Vec<Record>) -> Result<()> {
        self.witness_through_damage(root, records, 0, 0)
    }

    /// The same, but of these records the spool lost `lost` from `first` on.
    pub fn witness_through_damage(
        &mut self,
        root: &mut SealedRoot,
        records: Vec<Record>,
        first: usize,
        lost: usize,
    ) -> Result<()> {
        self.witnessed += records.len() as u64;
        let mut batches = self.life.through_the_spool(records)?;
        let mut left = first..first + lost;
        for batch in &mut batches {
            let within = left.start.min(batch.records.len())..left.end.min(batch.records.len());
            for record in batch.records.drain(within) {
                self.window.damaged_bytes += 100;
                self.window.gaps.push(gap(&record, &self.life.boot));
            }
            left = left.start.saturating_sub(batch.records.len())..left.end.saturating_sub(batch.records.len());
        }
        for file in self.files(&batches)? {
            self.window.objects.push(sealed_object(&file, &self.life.boot));
            root.put(&file.path, file.bytes);
        }
        Ok(())
    }

    /// What the exporter makes of the batches: what is kept for the same time, together.
    fn files(&self, batches: &[Spooled]) -> Result<Vec<NewFile>> {
        let namespaces = batches.iter().flat_map(|batch| &batch.records).map(namespace).collect::<BTreeSet<_>>();
        let mut files = Vec::new();
        for of in &namespaces {
            let mut parts = batches.iter().map(|batch| {
                let records = batch.records.iter().filter(|record| namespace(record) == *of).cloned().collect();
                Spooled { records, ..batch.clone() }
            });
            let Some(first) = parts.next() else { continue };
            let mut batch = Batch::begin(&first, Vec::new().into());
            parts.for_each(|part| batch.append(&part));
            files.extend(batch.into_files(Duration::from_secs(self.cluster.seconds(of.as_deref())))?);
        }
        Ok(files)
    }

    /// Seals what was put since the last seal. Gives the seal's path.
    pub fn seal(&mut self, root: &mut SealedRoot, end: i64) -> String {
        self.seal_as(root, end, false)
    }

    /// The last seal of a clean stop.
    pub fn seal_last(&mut self, root: &mut SealedRoot, end: i64) -> String {
        self.seal_as(root, end, true)
    }

    fn seal_as(&mut self, root: &mut SealedRoot, end: i64, last: bool) -> String {
        let Contents { mut objects, gaps, damaged_bytes } = std::mem::take(&mut self.window);
        objects.sort_by(|one, other| one.path.cmp(&other.path));
        let end = Time::from_micros(end);
        let (number, chain, previous) = match self.sealed.take() {
            None => (1, Chain::Begins, None),
            Some((number, hash)) => (number + 1, Chain::Continues, Some(hash)),
        };
        let seal = Seal {
            r#type: "podwitness-seal".to_owned(),
            version: 1,
            cluster: self.cluster.name.clone(),
            node: self.name.clone(),
            boot: self.life.boot.clone(),
            seal: number,
            chain,
            previous_sha256: previous,
            window: Window { start: self.window_start, end },
            interval_seconds: self.cluster.interval_seconds,
            last,
            sealer: self.sealer.clone(),
            clock: Some(self.clock),
            balance: Balance { rows: rows(&objects), damaged_bytes, kernel: Some(self.kernel()) },
            objects,
            gaps,
            policy: Some(PolicyInForce { revision: 1, sha256: revision_sha256(1) }),
            agent_version: Some("0.1.0".to_owned()),
            object_sha256: Some(sha256(b"the eBPF object")),
            retention: self.cluster.retention.clone(),
            key_id: self.key.public().id(),
            next_key_id: self.next_key.as_ref().map(|key| key.public().id()),
        };
        let path = layout::seal_path(&self.cluster.name, &self.name, &self.life.boot, number);
        let hash = root.put_document(&path, &seal, &self.key);
        self.sealed = Some((number, hash));
        self.window_start = end;
        self.sealer.after_crash = false;
        if let Some(next) = self.next_key.take() {
            self.key = next;
        }
        path
    }

    /// The kernel counted so many without an endpoint.
    pub fn lose_unattributed(&mut self, count: u64) {
        self.lost_unattributed += count;
    }

    fn kernel(&self) -> KernelBalance {
        let exactly = |count| Around { before: count, after: count };
        KernelBalance {
            ring: format!("ring-{}", self.life.boot),
            events_offered: self.witnessed + 2,
            events_accepted: Around { before: self.witnessed, after: self.witnessed + 1 },
            events_refused: 1,
            events_read: self.witnessed,
            denied_attempts: exactly(0),
            denied_recorded: 0,
            denied_lost: 0,
            records_lost: exactly(self.lost_unattributed),
            lost_recorded: 0,
            lost_unattributed: self.lost_unattributed,
            spooled: BTreeMap::new(),
        }
    }
}

fn namespace(record: &Record) -> Option<String> {
    match record {
        Record::Verdict(verdict) => Some(verdict.namespace.clone()),
        Record::Coverage(_) | Record::Policy(_) => None,
    }
}

fn rows(objects: &[SealedObject]) -> BTreeMap<String, Rows> {
    let of = |table: &str| objects.iter().filter(|object| object.table == table).map(|object| object.rows).sum();
    let rows = |table| {
        let sum = of(table);
        Rows { spooled: sum, written: sum, sealed: sum }
    };
    TABLES.iter().map(|table| ((*table).to_owned(), rows(table))).collect()
}

fn gap(record: &Record, boot: &str) -> Gap {
    let (table, seq) = match record {
        Record::Verdict(verdict) => ("verdicts", verdict.seq),
        Record::Coverage(coverage) => ("coverage", coverage.seq),
        Record::Policy(version) => ("policies", version.seq),
    };
    Gap {
        table: table.to_owned(),
        namespace: namespace(record),
        boot: boot.to_owned(),
        first_seq: seq,
        last_seq: seq,
        cause: "spool-damage".to_owned(),
    }
}

fn sealed_object(file: &NewFile, boot: &str) -> SealedObject {
    let content = &file.content;
    SealedObject {
        path: file.path.clone(),
        sha256: sha256(&file.bytes),
        bytes: file.bytes.len() as u64,
        table: file.path.split('/').next().expect("a path has a first part").to_owned(),
        namespace: content.namespace.clone(),
        boot: boot.to_owned(),
        schema_version: content.schema_version,
        rows: content.rows,
        first_seq: content.first_seq,
        last_seq: content.last_seq,
        first_time: content.first_time.into(),
        last_time: content.last_time.into(),
        retain_until: content.retain_until.into(),
        locked_until: None,
    }
}
