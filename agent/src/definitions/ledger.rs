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
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use podwitness_runtime::durable;
use podwitness_spool::{Identity, PolicyRule, RuleSet, Trail};
use serde::{Deserialize, Serialize};

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

/// The open file.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: Arc<File>,
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
    /// Opens the ledger of this boot, with what is in it. One of another boot is replaced; of its entries only the
    /// newest revision and the newest trails are kept and given, which are no kernel's. `given` is as in
    /// [`Definitions::open`](super::Definitions::open).
    pub(super) fn open(folder: &Path, boot: &str, given: Option<u32>) -> Result<(Self, Vec<Entry>), LedgerError> {
        fs::create_dir_all(folder).map_err(disk("make", folder))?;
        let path = folder.join(FILE_NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(disk("read", &path)(error)),
        };
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let (first, mut entries) = parse(&path, &text[..whole])?;
        if first.is_some_and(|first| first.boot == boot) {
            let file = OpenOptions::new().append(true).open(&path).map_err(disk("open", &path))?;
            file.set_len(whole as u64).map_err(disk("cut", &path))?;
            return Ok((Self { path, file: file.into() }, entries));
        }
        let newest = |is: fn(&Entry) -> bool| entries.iter().rfind(|entry| is(entry)).cloned();
        let revision = newest(|entry| matches!(entry, Entry::Revision { .. }));
        let trails = newest(|entry| matches!(entry, Entry::Trails(_)));
        entries = revision.into_iter().chain(trails).collect();
        if let Some(last) = given {
            let mark = folder.join(LOSS_MARK);
            durable::replace(&mark, b"", 0o644).map_err(disk("mark the loss of", &mark))?;
            entries.extend(leave_out(last));
        }
        let ledger = Self::create(folder, path, boot, &entries)?;
        Ok((ledger, entries))
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
        Ok(Self { path, file: file.into() })
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

    /// Appends entries. They are written on return, so that they outlive the agent.
    pub(super) fn append(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let text: Vec<u8> = entries.iter().flat_map(line).collect();
        let before = self.file.metadata().map_err(disk("look at", &self.path))?.len();
        (&*self.file).write_all(&text).map_err(|error| {
            // What was written in part would stand in the middle of the next append. Where cutting it off fails too,
            // the next start finds the damage and says so.
            let _ = self.file.set_len(before);
            disk("append to", &self.path)(error)
        })
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<(Option<FirstLine>, Vec<Entry>), LedgerError> {
    let damaged = |line: usize| {
        let path = path.to_owned();
        move |source| LedgerError::Damaged { path, line, source }
    };
    let mut lines = text.split_inclusive(|&byte| byte == b'\n');
    let Some(first) = lines.next() else { return Ok((None, Vec::new())) };
    let first = serde_json::from_slice(first).map_err(damaged(1))?;
    let entries = lines
        .enumerate()
        .map(|(index, line)| serde_json::from_slice(line).map_err(damaged(index + 2)))
        .collect::<Result<_, _>>()?;
    Ok((Some(first), entries))
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
    let mut text = serde_json::to_vec(content).expect("strings and numbers can be written as JSON");
    text.push(b'\n');
    text
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
