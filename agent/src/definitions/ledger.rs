//! The definitions on the disk: a file of JSON lines, appended to before the kernel can refer to what is new, and synced
//! before a record can.
//!
//! Where it is made anew while the kernel has maps of this boot already, what the numbers in these mean was lost. The first
//! numbers of the new file are far from those then, and beside it a mark stands, made before it, until a record says so: an agent
//! that is killed on the way must not make it look as if nothing had been there.
//!
//! The first line names the boot. A last line without its end is what a crash left of an append that nothing refers to
//! yet; it is cut. Any other line that cannot be read makes the agent stop with its place, because numbers that it gave
//! could be given again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use podwitness_runtime::durable;
use podwitness_spool::{Identity, PolicyRule, RuleSet, Trail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::losses::InUse;

const FILE_NAME: &str = "definitions.jsonl";
const LOSS_MARK: &str = "definitions.lost";

/// Why definitions could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The disk refused.
    #[error("cannot {action} the definitions in {}: {source}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A line is damaged.
    #[error(
        "line {line} of the definitions in {} cannot be read ({source}): records that refer to it would name nothing; \
         restore the file, or detach (--detach) and remove it",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why it cannot be read.
        source: serde_json::Error,
    },
}

/// One line behind the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Entry {
    Identity(IdentityLine),
    RuleSet(RuleSetLine),
    Service { id: u32, namespace: String, name: String },
    Revision { number: i64, sha256: String },
    Generation { number: u64, revision: i64 },
    Trails(Vec<TrailLine>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentityLine {
    id: u32,
    namespace: String,
    pod: String,
    pod_uid: String,
    service_account: String,
    workload_kind: String,
    workload: String,
    node: String,
    labels: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleSetLine {
    id: u32,
    /// Namespace, name, uid and rule of each member.
    policies: Vec<(String, String, String, Option<i32>)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrailLine {
    namespace: String,
    retention_seconds: u64,
    legal_hold: bool,
    external_addresses: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct FirstLine {
    boot: String,
}

/// So many bytes are written without waiting for more: the first definitions are as many as there are pods.
const MANY: usize = 1 << 16;

/// The open file.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: Arc<File>,
    /// Lines that are not written yet.
    waiting: Vec<u8>,
    /// Whether the disk has refused them; they are tried again when somebody asks for it.
    is_refused: bool,
}

/// The way to the disk of what was appended.
pub(super) struct Disk {
    path: PathBuf,
    file: Arc<File>,
}

impl Disk {
    /// All that was appended before is on the disk on return.
    pub(super) fn sync(&self) -> Result<(), LedgerError> {
        self.file.sync_data().map_err(disk("sync", &self.path))
    }
}

impl Ledger {
    /// Opens the ledger of this boot, and has `learn` take in what is in it, entry by entry. One of another boot is replaced;
    /// of its entries only the newest revision and the newest trails are kept and learnt, which are no kernel's. `given` is as
    /// in [`Definitions::open`](super::Definitions::open).
    pub(super) fn open(
        folder: &Path,
        boot: &str,
        given: Option<u32>,
        mut learn: impl FnMut(Entry),
    ) -> Result<Self, LedgerError> {
        fs::create_dir_all(folder).map_err(disk("make", folder))?;
        let path = folder.join(FILE_NAME);
        let mut lines = Lines::open(&path)?;
        let first: Option<FirstLine> = lines.next()?;
        if first.is_some_and(|first| first.boot == boot) {
            while let Some(entry) = lines.next()? {
                learn(entry);
            }
            let file = OpenOptions::new().append(true).open(&path).map_err(disk("open", &path))?;
            file.set_len(lines.bytes).map_err(disk("cut", &path))?;
            return Ok(Self::new(path, file));
        }
        let (mut revision, mut trails) = (None, None);
        while let Some(entry) = lines.next()? {
            match entry {
                Entry::Revision { .. } => revision = Some(entry),
                Entry::Trails(_) => trails = Some(entry),
                _ => {}
            }
        }
        let mut entries: Vec<Entry> = revision.into_iter().chain(trails).collect();
        if let Some(last) = given {
            InUse::forget(folder).map_err(disk("forget what is noted beside", &path))?;
            let mark = folder.join(LOSS_MARK);
            durable::replace(&mark, b"", 0o644).map_err(disk("mark the loss of", &mark))?;
            entries.extend(leave_out(last));
        }
        let ledger = Self::create(folder, path, boot, &entries)?;
        entries.into_iter().for_each(learn);
        Ok(ledger)
    }

    fn new(path: PathBuf, file: File) -> Self {
        Self { path, file: file.into(), waiting: Vec::new(), is_refused: false }
    }

    /// Replaces the file by one of this boot.
    fn create(folder: &Path, path: PathBuf, boot: &str, kept: &[Entry]) -> Result<Self, LedgerError> {
        let new = path.with_extension("new");
        let mut text = line(&FirstLine { boot: boot.to_owned() });
        text.extend(kept.iter().flat_map(line));
        let mut file = File::create(&new).map_err(disk("make", &new))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(disk("write", &new))?;
        fs::rename(&new, &path).map_err(disk("replace", &path))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk("sync", folder))?;
        Ok(Self::new(path, file))
    }

    /// Whether a ledger was lost, and nobody has said yet that a record says so.
    pub(super) fn is_loss_marked(&self) -> Result<bool, LedgerError> {
        let mark = self.loss_mark();
        mark.try_exists().map_err(disk("look whether there was a loss of", &mark))
    }

    /// A record of the loss is in the spool.
    pub(super) fn unmark_loss(&self) -> Result<(), LedgerError> {
        let mark = self.loss_mark();
        durable::remove(&mark).map_err(disk("remove the mark of the loss of", &mark))
    }

    fn loss_mark(&self) -> PathBuf {
        self.path.with_file_name(LOSS_MARK)
    }

    pub(super) fn disk(&self) -> Disk {
        Disk { path: self.path.clone(), file: Arc::clone(&self.file) }
    }

    /// Has an entry be written with the next [`write`](Self::write), or before that; returns whether something was written.
    pub(super) fn add(&mut self, entry: &Entry) -> bool {
        put_line(&mut self.waiting, entry);
        // What the disk refuses now is told to whoever must know that it is written.
        self.waiting.len() >= MANY && !self.is_refused && self.write().is_ok()
    }

    /// Writes all that was added, so that it outlives the agent; returns whether there was anything.
    pub(super) fn write(&mut self) -> Result<bool, LedgerError> {
        let written = self.append(&self.waiting);
        self.is_refused = written.is_err();
        written?;
        Ok(!mem::take(&mut self.waiting).is_empty())
    }

    /// Writes an entry at once, before those that wait.
    pub(super) fn write_first(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.append(&line(entry))
    }

    fn append(&self, text: &[u8]) -> Result<(), LedgerError> {
        if text.is_empty() {
            return Ok(());
        }
        let before = self.file.metadata().map_err(disk("look at", &self.path))?.len();
        (&*self.file).write_all(text).map_err(|error| {
            // What was written in part would stand in the middle of the next append. Where cutting it off fails too,
            // the next start finds the damage and says so.
            let _ = self.file.set_len(before);
            disk("append to", &self.path)(error)
        })
    }
}

/// The lines of a file that may not be there, one after the other.
struct Lines<'a> {
    path: &'a Path,
    file: Option<BufReader<File>>,
    line: Vec<u8>,
    /// How many were read, and of how many bytes they were.
    count: usize,
    bytes: u64,
}

impl<'a> Lines<'a> {
    fn open(path: &'a Path) -> Result<Self, LedgerError> {
        let file = match File::open(path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(disk("read", path)(error)),
        };
        Ok(Self { path, file, line: Vec::new(), count: 0, bytes: 0 })
    }

    /// What the next line says; `None` behind the last one that has its end.
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LedgerError> {
        let Some(file) = &mut self.file else { return Ok(None) };
        self.line.clear();
        file.read_until(b'\n', &mut self.line).map_err(disk("read", self.path))?;
        if !self.line.ends_with(b"\n") {
            return Ok(None);
        }
        self.count += 1;
        self.bytes += self.line.len() as u64;
        let damaged = |source| LedgerError::Damaged { path: self.path.to_owned(), line: self.count, source };
        serde_json::from_slice(&self.line).map(Some).map_err(damaged)
    }
}

/// That no number up to `last` is given: nobody is defined under that one.
fn leave_out(last: u32) -> [Entry; 3] {
    [
        Entry::Identity(Identity { id: last, ..Identity::default() }.into()),
        Entry::RuleSet(RuleSet { id: last, ..RuleSet::default() }.into()),
        Entry::Service { id: last, namespace: String::new(), name: String::new() },
    ]
}

fn line(content: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::new();
    put_line(&mut text, content);
    text
}

fn put_line(text: &mut Vec<u8>, content: &impl Serialize) {
    serde_json::to_writer(&mut *text, content).expect("strings and numbers can be written as JSON");
    text.push(b'\n');
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Disk { action, path, source }
}

impl From<Identity> for IdentityLine {
    fn from(identity: Identity) -> Self {
        let Identity { id, namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels } = identity;
        Self { id, namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels }
    }
}

impl From<IdentityLine> for Identity {
    fn from(line: IdentityLine) -> Self {
        let IdentityLine { id, namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels } = line;
        Self { id, namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels }
    }
}

impl From<&Trail> for TrailLine {
    fn from(trail: &Trail) -> Self {
        let Trail { namespace, retention_seconds, legal_hold, external_addresses } = trail.clone();
        Self { namespace, retention_seconds, legal_hold, external_addresses }
    }
}

impl From<TrailLine> for Trail {
    fn from(line: TrailLine) -> Self {
        let TrailLine { namespace, retention_seconds, legal_hold, external_addresses } = line;
        Self { namespace, retention_seconds, legal_hold, external_addresses }
    }
}

impl From<RuleSet> for RuleSetLine {
    fn from(rule_set: RuleSet) -> Self {
        let policies = rule_set.policies.into_iter();
        Self {
            id: rule_set.id,
            policies: policies.map(|policy| (policy.namespace, policy.name, policy.uid, policy.rule)).collect(),
        }
    }
}

impl From<RuleSetLine> for RuleSet {
    fn from(line: RuleSetLine) -> Self {
        let policies = line.policies.into_iter();
        Self {
            id: line.id,
            policies: policies.map(|(namespace, name, uid, rule)| PolicyRule { namespace, name, uid, rule }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(id: u32) -> Entry {
        Entry::Service { id, namespace: "shop".to_owned(), name: "x".repeat(250) }
    }

    fn open(folder: &Path) -> (Ledger, Vec<Entry>) {
        let mut learnt = Vec::new();
        let ledger = Ledger::open(folder, "boot", None, |entry| learnt.push(entry)).unwrap();
        (ledger, learnt)
    }

    #[test]
    fn of_many_entries_few_wait_and_all_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _) = open(folder.path());
        let wrote = (1..=1000).filter(|id| ledger.add(&service(*id))).count();
        assert!(wrote >= 4, "{wrote}");
        assert!(ledger.waiting.len() < MANY && ledger.waiting.capacity() <= 2 * MANY, "{}", ledger.waiting.capacity());
        assert!(ledger.write().unwrap() && !ledger.write().unwrap(), "the rest was waiting, and then nothing is");
        assert_eq!(open(folder.path()).1, (1..=1000).map(service).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_disk_refuses_waits_until_it_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _) = open(folder.path());
        let taking = Arc::clone(&ledger.file);
        ledger.file = File::options().write(true).open("/dev/full").unwrap().into();
        assert_eq!((1..=1000).filter(|id| ledger.add(&service(*id))).count(), 0);
        let error = ledger.write().unwrap_err().to_string();
        assert!(error.starts_with("cannot append to the definitions in "), "{error}");
        ledger.file = taking;
        assert!(ledger.write().unwrap());
        assert_eq!(open(folder.path()).1, (1..=1000).map(service).collect::<Vec<_>>());
    }
}
