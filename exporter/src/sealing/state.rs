//! What the next seal will say, and what the one before said: `<spool>/exporter/seals.json`, replaced as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podwitness_runtime::durable;
use podwitness_schemas::layout;
use podwitness_seals::balance::{KernelBalance, Rows};
use podwitness_seals::document;
use podwitness_seals::key::{KeyId, PrivateKey};
use podwitness_seals::seal::{Asked, Chain, Gap, NamespaceRetention, PolicyInForce, Seal, SealedObject};
use podwitness_seals::time::Time;
use podwitness_seals::{hex, sha256, unhex};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::staging::{Plan, PlannedFile, PlannedPosition};

/// The version of the file. Another one is refused: a chain is not continued on a guess.
const VERSION: u32 = 1;

/// Why the state cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}; the spool's disk must have room for it")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not one.
    #[error(
        "{path} cannot be understood: {detail}; move it away to have the chain go on from the newest seal in the store"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The state is of another node.
    #[error("{path} is of node {found}, and this is {node}; a spool belongs to one node")]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        node: String,
    },
}

/// The newest seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub seal: u64,
    /// Where it stands.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// The end of its window.
    pub end: Time,
    /// The key that signs the next one.
    pub next_key_id: KeyId,
}

impl Head {
    /// The head of a chain whose newest seal has these bytes.
    pub fn of(seal: &Seal, bytes: &[u8]) -> Self {
        Self {
            seal: seal.seal,
            path: layout::seal_path(&seal.cluster, &seal.node, &seal.boot, seal.seal),
            sha256: sha256(bytes),
            end: seal.window.end,
            next_key_id: seal.next_key_id.clone().unwrap_or_else(|| seal.key_id.clone()),
        }
    }
}

/// A seal that is signed and may not be in the store yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Where it goes.
    pub path: String,
    /// Its bytes, which are text.
    pub document: String,
    /// Its signature, in hexadecimal.
    signature: String,
    /// The key that signed it.
    pub key_id: KeyId,
    /// That key's public half.
    pub key_pem: String,
    /// Until when it is locked, where the store does that.
    #[serde(default)]
    pub locked_until: Option<Time>,
    /// What is the head when it is put.
    head: Head,
}

impl Staged {
    /// Signs a seal. It is worth as long as what it lists, and as other evidence of its time, which is kept until
    /// `keep_until`: that nothing happened then is evidence too.
    pub fn sign(seal: &Seal, key: &PrivateKey, keep_until: Time) -> Self {
        let bytes = document::to_bytes(seal);
        let signature = key.sign(&bytes);
        let locks = seal.objects.iter().filter_map(|object| object.locked_until);
        Self {
            path: layout::seal_path(&seal.cluster, &seal.node, &seal.boot, seal.seal),
            head: Head::of(seal, &bytes),
            document: String::from_utf8(bytes).expect("canonical JSON is UTF-8"),
            signature: hex(&signature),
            key_id: key.public().id(),
            key_pem: key.public().to_pem(),
            locked_until: locks.chain([keep_until]).max(),
        }
    }

    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.head.seal
    }

    /// The signature's bytes.
    pub fn signature(&self) -> Vec<u8> {
        unhex(&self.signature).unwrap_or_default()
    }
}

/// What has come since the seal before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// What was put.
    pub objects: Vec<SealedObject>,
    /// What will never come.
    pub gaps: Vec<Gap>,
    /// Rows on the way, by table; `sealed` is counted when the seal is made.
    pub rows: BTreeMap<String, Rows>,
    /// Bytes of the spool that could not be read.
    pub damaged_bytes: u64,
    /// The agent's newest statement.
    pub kernel: Option<KernelBalance>,
}

/// Whether something was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Now.
    Now,
    /// By an earlier run.
    Before,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// What the next seal says of the chain before it.
    pub chain: Chain,
    /// The newest seal that is in the store.
    pub head: Option<Head>,
    /// Where the first window begins, while there is no head.
    pub begun: Option<Time>,
    /// Set while an exporter runs.
    pub is_running: bool,
    /// Set from an agent's stop in good order to the next agent's start.
    pub has_agent_stopped: bool,
    /// What has come since.
    pub window: Window,
    /// The compiled policy that is in force, as far as records tell.
    pub policy: Option<PolicyInForce>,
    /// The agent's version.
    pub agent_version: Option<String>,
    /// SHA-256 of the eBPF object.
    pub object_sha256: Option<String>,
    /// What namespaces ask for.
    pub retention: Vec<NamespaceRetention>,
    /// The seal that is on its way.
    pub staged: Option<Staged>,
    /// The end of the batch that was noted last.
    noted: Option<PlannedPosition>,
    /// Set where the sequences of the boot had begun before what is known here.
    is_mid_boot: bool,
    /// The boot whose sequences are in `sequences`.
    boot: Option<String>,
    /// The `seq` after the last one of each sequence, by table and namespace.
    sequences: BTreeMap<String, i64>,
}

impl State {
    /// Of a node of which nothing is known.
    pub fn new(cluster: &str, node: &str) -> Self {
        Self {
            version: VERSION,
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            chain: Chain::Begins,
            head: None,
            begun: None,
            is_running: false,
            has_agent_stopped: false,
            window: Window::default(),
            policy: None,
            agent_version: None,
            object_sha256: None,
            retention: Vec::new(),
            staged: None,
            noted: None,
            is_mid_boot: false,
            boot: None,
            sequences: BTreeMap::new(),
        }
    }

    /// Begins a chain where the store has none.
    pub fn begin(&mut self, now: Time) {
        self.chain = Chain::Begins;
        self.begun.get_or_insert(now);
    }

    /// Begins a chain where the store does not say whether it has one.
    pub(super) fn begin_unknown(&mut self, now: Time) {
        self.begin(now);
        self.chain = Chain::Unknown;
    }

    /// Goes on with a chain of which nothing was known here.
    pub fn resume(&mut self, head: Head) {
        self.chain = Chain::Resumed;
        self.is_mid_boot = true;
        self.head = Some(head);
    }

    /// How long evidence that is no namespace's alone is kept now, in seconds.
    pub fn longest_asked(&self, default: Duration) -> u64 {
        Asked::of(&self.retention, None, default.as_secs()).seconds
    }

    /// Adds what a batch put, once.
    pub fn note(&mut self, plan: &Plan) -> Noted {
        if self.noted.is_some_and(|noted| plan.end <= noted) {
            return Noted::Before;
        }
        self.noted = Some(plan.end);
        let facts = &plan.facts;
        for (table, spooled) in &facts.spooled {
            self.window.rows.entry(table.clone()).or_default().spooled += spooled;
        }
        for file in &plan.files {
            self.window.rows.entry(file.content.table.clone()).or_default().written += file.content.rows;
            self.follow(file);
            self.window.objects.push(file.into());
        }
        self.window.damaged_bytes += facts.damaged_bytes;
        self.has_agent_stopped = facts.has_agent_stopped.unwrap_or(self.has_agent_stopped);
        replace_if_told(&mut self.window.kernel, facts.kernel.as_ref());
        replace_if_told(&mut self.policy, facts.policy.as_ref());
        replace_if_told(&mut self.agent_version, facts.agent_version.as_ref());
        replace_if_told(&mut self.object_sha256, facts.object_sha256.as_ref());
        if let Some(retention) = &facts.retention {
            self.retention.clone_from(retention);
        }
        Noted::Now
    }

    /// Follows the sequence that the file is of: what it jumps over will never come.
    fn follow(&mut self, file: &PlannedFile) {
        let content = &file.content;
        if self.boot.as_ref() != Some(&content.boot) {
            self.is_mid_boot &= self.boot.is_none();
            self.boot = Some(content.boot.clone());
            self.sequences.clear();
        }
        let name = format!("{}/{}", content.table, content.namespace.as_deref().unwrap_or_default());
        let expected = self.sequences.insert(name, content.last_seq + 1);
        let expected = expected.unwrap_or(if self.is_mid_boot { content.first_seq } else { 1 });
        let before = (expected < content.first_seq).then_some((expected, content.first_seq - 1));
        for &(first_seq, last_seq) in before.iter().chain(&content.holes) {
            self.window.gaps.push(Gap {
                table: content.table.clone(),
                namespace: content.namespace.clone(),
                boot: content.boot.clone(),
                first_seq,
                last_seq,
                cause: "spool-damage".to_owned(),
            });
        }
    }

    /// Keeps a seal that is signed; what it says is not said again.
    pub fn stage(&mut self, staged: Staged) {
        self.staged = Some(staged);
        self.window = Window::default();
        self.chain = Chain::Continues;
    }

    /// The staged seal is in the store.
    pub fn sealed(&mut self) {
        if let Some(staged) = self.staged.take() {
            self.head = Some(staged.head);
        }
    }
}

fn replace_if_told<T: Clone>(known: &mut Option<T>, told: Option<&T>) {
    if told.is_some() {
        *known = told.cloned();
    }
}

impl From<&PlannedFile> for SealedObject {
    fn from(file: &PlannedFile) -> Self {
        let content = &file.content;
        Self {
            path: file.path.clone(),
            sha256: file.sha256.clone(),
            bytes: file.bytes,
            table: content.table.clone(),
            namespace: content.namespace.clone(),
            boot: content.boot.clone(),
            schema_version: content.schema_version,
            rows: content.rows,
            first_seq: content.first_seq,
            last_seq: content.last_seq,
            first_time: content.first_time.into(),
            last_time: content.last_time.into(),
            retain_until: content.retain_until.into(),
            locked_until: file.locked_until.map(Into::into),
        }
    }
}

/// The state on disk.
pub(super) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub(super) fn open(spool: &Path, cluster: &str, node: &str) -> Result<(Self, State), StateError> {
        let path = spool.join("exporter").join("seals.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self { path }, State::new(cluster, node)));
            }
            Err(source) => return Err(StateError::Io { action: "read", path, source }),
        };
        let unreadable = |detail| StateError::Unreadable { path: path.clone(), detail };
        let state: State = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if state.version != VERSION {
            return Err(unreadable(format!("it has version {}, and this program knows {VERSION}", state.version)));
        }
        if (state.cluster.as_str(), state.node.as_str()) != (cluster, node) {
            let found = format!("{} of cluster {}", state.node, state.cluster);
            return Err(StateError::OtherNode { path, found, node: format!("{node} of cluster {cluster}") });
        }
        Ok((Self { path }, state))
    }

    pub(super) fn save(&self, state: &State) -> Result<(), StateError> {
        let text = serde_json::to_vec(state).expect("a state has string keys and finite numbers");
        durable::replace(&self.path, &text, 0o640).map_err(|source| StateError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}
