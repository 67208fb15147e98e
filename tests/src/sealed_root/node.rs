//! A node that witnesses and seals.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use podwitness_exporter::batch::Batch;
use podwitness_exporter::sealing::{Circumstances, Facts, Staged, State, compose};
use podwitness_exporter::staging::{NewFile, PLAN_VERSION, Plan, PlannedFile};
use podwitness_seals::balance::{Around, KernelBalance};
use podwitness_seals::key::PrivateKey;
use podwitness_seals::seal::{ClockState, NamespaceRetention, Sealer};
use podwitness_seals::sha256;
use podwitness_seals::time::Time;
use podwitness_spool::words::ExternalAddresses;
use podwitness_spool::{
    Batch as Spooled, Checkpoint, Damage, DamageKind, Origin, Position, Reader, Record, Trail, Writer, WriterOptions,
};
use tempfile::TempDir;

use super::records::Dictionary;
use super::{Cluster, SealedRoot, key, signature_path};

/// Records of one commit: few enough for the made spool.
const RECORDS_AT_ONCE: usize = 4096;

/// A node: its boots, what it witnesses, its chain of seals. Times are in microseconds since 1970.
pub struct Node {
    cluster: Cluster,
    life: Life,
    sealer: Sealer,
    clock: ClockState,
    key: PrivateKey,
    next_key: Option<PrivateKey>,
    state: State,
    witnessed: u64,
    files_without_spool: u64,
    lost_unattributed: u64,
}

/// One life of the node's kernel, in which sequences run, and the spool, which outlives it.
struct Life {
    boot: String,
    folder: TempDir,
    writer: Option<Writer>,
    reader: Reader,
    commits: u64,
}

impl Life {
    fn begin(cluster: &Cluster, node: &str, boot: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let writer = Some(writer(folder.path(), cluster, node, boot)?);
        let reader = Reader::open(folder.path())?;
        Ok(Self { boot: boot.to_owned(), folder, writer, reader, commits: 0 })
    }

    fn reboot(&mut self, cluster: &Cluster, node: &str, boot: &str) -> Result<()> {
        boot.clone_into(&mut self.boot);
        // One writer at a time has a spool.
        self.writer = None;
        self.writer = Some(writer(self.folder.path(), cluster, node, boot)?);
        Ok(())
    }

    /// The records with their places in their sequences; the spool has room for the next ones then.
    fn through_the_spool(&mut self, records: Vec<Record>, retention: &[NamespaceRetention]) -> Result<Vec<Spooled>> {
        let dictionary = Dictionary(retention.iter().map(trail).collect::<Result<Arc<[_]>>>()?);
        let writer = self.writer.as_mut().context("a life without a spool")?;
        let mut batches = Vec::new();
        let mut records = records.into_iter();
        while !records.as_slice().is_empty() {
            self.commits += 1;
            let ring = format!("ring-{}", self.boot);
            let checkpoint =
                Checkpoint { ring, ring_position: self.commits, drained_epoch: 0, drained_entries: 0, sums: None };
            writer.commit(records.by_ref().take(RECORDS_AT_ONCE).collect::<Vec<_>>(), &dictionary, &checkpoint)?;
            while let Some(batch) = self.reader.next()? {
                self.reader.done(batch.end)?;
                batches.push(batch);
            }
        }
        Ok(batches)
    }
}

fn writer(folder: &Path, cluster: &Cluster, node: &str, boot: &str) -> Result<Writer> {
    let options = WriterOptions { max_bytes: 16 << 20, segment_bytes: 1 << 20 };
    Ok(Writer::open(folder, options, origin(cluster, node, boot))?.0)
}

fn origin(cluster: &Cluster, node: &str, boot: &str) -> Origin {
    Origin {
        cluster: cluster.name.clone(),
        node: node.to_owned(),
        boot: boot.to_owned(),
        agent_version: "0.1.0".to_owned(),
        object_sha256: sha256(b"the eBPF object"),
    }
}

fn trail(asked: &NamespaceRetention) -> Result<Trail> {
    let forms = [ExternalAddresses::Full, ExternalAddresses::Truncate, ExternalAddresses::Hmac];
    let form = forms.into_iter().find(|form| form.name() == asked.addresses);
    Ok(Trail {
        namespace: asked.namespace.clone(),
        retention_seconds: asked.seconds,
        legal_hold: asked.hold,
        external_addresses: form.with_context(|| format!("no form {}", asked.addresses))?.number().into(),
    })
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
        let mut state = State::new(&cluster.name, name);
        state.begin(Time::from_micros(start));
        Ok(Self {
            life: Life::begin(&cluster, name, boot)?,
            cluster,
            sealer: Sealer { version: "0.1.0".to_owned(), started: Time::from_micros(start), after_crash: false },
            clock: ClockState { synchronised: true, offset_us: -12, error_us: 340 },
            key,
            next_key: None,
            state,
            witnessed: 0,
            files_without_spool: 0,
            lost_unattributed: 0,
        })
    }

    /// The node boots: sequences and the kernel's tables begin anew, and the exporter begins at `start`.
    pub fn reboot(&mut self, boot: &str, start: i64) -> Result<()> {
        self.life.reboot(&self.cluster, &self.state.node, boot)?;
        (self.witnessed, self.lost_unattributed) = (0, 0);
        self.restart(start, false);
        Ok(())
    }

    /// Another exporter begins at `start`, with what the one before had on its disk.
    pub fn restart(&mut self, start: i64, after_crash: bool) {
        self.sealer.started = Time::from_micros(start);
        self.sealer.after_crash = after_crash;
        let disk = serde_json::to_vec(&self.state).expect("the exporter writes it so");
        self.state = serde_json::from_slice(&disk).expect("the exporter reads it so");
    }

    /// Another exporter begins at `start`, and finds nothing but the store: what was put and not sealed nobody seals.
    pub fn restart_without_state(&mut self, start: i64) {
        let lost = State::new(&self.state.cluster, &self.state.node);
        match std::mem::replace(&mut self.state, lost).head {
            Some(head) => self.state.resume(head),
            None => self.state.begin(Time::from_micros(start)),
        }
        self.restart(start, false);
    }

    /// What namespaces ask for from the next commit on.
    pub fn set_retention(&mut self, retention: Vec<NamespaceRetention>) {
        self.cluster.retention = retention;
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
        let mut batches = self.life.through_the_spool(records, &self.cluster.retention)?;
        let mut left = first..first + lost;
        let mut damages = Vec::new();
        for batch in &mut batches {
            let within = left.start.min(batch.records.len())..left.end.min(batch.records.len());
            damages.extend(batch.records.drain(within).map(|_| damage(batch.end)));
            left = left.start.saturating_sub(batch.records.len())..left.end.saturating_sub(batch.records.len());
        }
        let Some((first, rest)) = batches.split_first() else { return Ok(()) };
        let mut batch = Batch::begin(first, Vec::new().into());
        for part in rest {
            batch.append(part);
        }
        for damage in damages {
            batch.lack(&damage);
        }
        let (facts, end) = (batch.facts().clone(), batch.end().into());
        let new = batch.into_files(Duration::from_secs(self.cluster.default_seconds))?;
        let files = new.iter().map(|file| PlannedFile::new(file, String::new())).collect();
        for file in new {
            root.put(&file.path, file.bytes);
        }
        self.state.note(&Plan { version: PLAN_VERSION, end, files, facts });
        Ok(())
    }

    /// What the files of this life of it say of where they come from.
    pub fn origin(&self) -> Origin {
        origin(&self.cluster, &self.state.node, &self.life.boot)
    }

    /// Puts files of verdicts that no spool has had, each of which goes on where its sequence ended. None may come through the
    /// spool behind them.
    pub fn put_files(&mut self, root: &mut SealedRoot, files: Vec<NewFile>) {
        let rows = files.iter().map(|file| file.content.rows).sum();
        self.witnessed += rows;
        self.files_without_spool += 1;
        // Behind every place of a spool.
        let end = serde_json::json!({"segment": u64::MAX, "offset": self.files_without_spool});
        let end = serde_json::from_value(end).expect("the exporter reads it so");
        let planned = files.iter().map(|file| PlannedFile::new(file, String::new())).collect();
        let facts = Facts { spooled: BTreeMap::from([("verdicts".to_owned(), rows)]), ..Facts::default() };
        self.state.note(&Plan { version: PLAN_VERSION, end, files: planned, facts });
        for file in files {
            root.put(&file.path, file.bytes);
        }
    }

    /// Seals what was put since the last seal. Gives the seal's path.
    pub fn seal(&mut self, root: &mut SealedRoot, end: i64) -> String {
        self.seal_as(root, end, false)
    }

    /// The last seal of a clean stop.
    pub fn seal_last(&mut self, root: &mut SealedRoot, end: i64) -> String {
        self.seal_as(root, end, true)
    }

    fn seal_as(&mut self, root: &mut SealedRoot, end: i64, is_last: bool) -> String {
        self.state.window.kernel = Some(self.kernel());
        let seal = compose(
            &self.state,
            &Circumstances {
                boot: self.life.boot.clone(),
                now: Time::from_micros(end),
                interval: Duration::from_secs(self.cluster.interval_seconds),
                is_last,
                sealer: self.sealer.clone(),
                clock: Some(self.clock),
                key_id: self.key.public().id(),
                next_key_id: self.next_key.as_ref().map(|key| key.public().id()),
            },
        );
        let staged = Staged::sign(&seal, &self.key, seal.window.end);
        let path = staged.path.clone();
        root.put(&signature_path(&path), staged.signature());
        root.put(&path, staged.document.clone().into_bytes());
        self.state.stage(staged);
        self.state.sealed();
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

/// A hundred bytes before `end` that could not be read.
fn damage(end: Position) -> Damage {
    Damage { kind: DamageKind::Frames, segment: end.segment(), offset: end.offset(), bytes: 100, end }
}
