//! What a seal holds; `schemas/FORMAT.md`, section 4, says what each key means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    balance::Balance,
    document::Document,
    key::KeyId,
    time::{Time, micros_of},
};

/// Seconds that a seal may be late beyond twice its interval before that counts.
pub const GRACE_SECONDS: u64 = 60;

/// A seal: what a node put into the store in one window of time, and what it counted on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// [`Document::TYPE`].
    pub r#type: String,
    /// 1.
    pub version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// The kernel's boot id at the time of sealing.
    pub boot: String,
    /// The number in the chain, from 1.
    pub seal: u64,
    /// What is known of the chain before.
    pub chain: Chain,
    /// SHA-256 of the bytes of the seal before.
    pub previous_sha256: Option<String>,
    /// From the end of the seal before to the time of sealing.
    pub window: Window,
    /// How often this node seals, in seconds.
    pub interval_seconds: u64,
    /// Whether it is the last of a clean stop.
    pub last: bool,
    /// The program that seals.
    pub sealer: Sealer,
    /// What the kernel says of its clock.
    pub clock: Option<ClockState>,
    /// What was put, by path.
    pub objects: Vec<SealedObject>,
    /// Records that will never come.
    pub gaps: Vec<Gap>,
    /// What was counted.
    pub balance: Balance,
    /// The compiled policy in force.
    pub policy: Option<PolicyInForce>,
    /// The agent's version.
    pub agent_version: Option<String>,
    /// SHA-256 of the eBPF object that decided.
    pub object_sha256: Option<String>,
    /// What namespaces asked for, by namespace.
    pub retention: Vec<NamespaceRetention>,
    /// The key that signs it.
    pub key_id: KeyId,
    /// The key that signs from the next seal on, where that is another one.
    pub next_key_id: Option<KeyId>,
}

impl Document for Seal {
    const TYPE: &'static str = "podwitness-seal";
}

impl Seal {
    /// The rows of what it lists, by table.
    pub fn rows(&self) -> RowsByTable {
        self.objects.iter().fold(RowsByTable::new(), |mut rows, object| {
            let of_table = rows.entry(object.table.clone()).or_default();
            // What an altered seal says may not fit.
            *of_table = of_table.saturating_add(object.rows);
            rows
        })
    }

    /// How long after its window's end the next seal may come, in microseconds: twice the interval and a minute.
    pub fn allowed_age_us(&self) -> i64 {
        micros_of(self.interval_seconds.saturating_mul(2).saturating_add(GRACE_SECONDS))
    }
}

/// What is known of the chain before a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// Nothing was before it.
    Begins,
    /// The sealer knew the seal before.
    Continues,
    /// The sealer had lost what it knew, and took the newest seal from the store.
    Resumed,
    /// The sealer cannot say whether there was a chain before.
    Unknown,
}

/// A window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The end of the window before.
    pub start: Time,
    /// The time of sealing. Before `start` where somebody has set the clock back.
    pub end: Time,
}

/// The program that seals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealer {
    /// Its version.
    pub version: String,
    /// When it began.
    pub started: Time,
    /// Whether the one before it had not ended in good order.
    pub after_crash: bool,
}

/// What the kernel says of its clock (`adjtimex(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockState {
    /// Whether it is disciplined.
    pub synchronised: bool,
    /// The offset that is being corrected, in microseconds.
    pub offset_us: i64,
    /// The greatest error, in microseconds.
    pub error_us: i64,
}

/// An object that a seal lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedObject {
    /// Where it stands, from the root.
    pub path: String,
    /// SHA-256 of the stored bytes.
    pub sha256: String,
    /// The stored bytes.
    pub bytes: u64,
    /// `verdicts`, `coverage` or `policies`.
    pub table: String,
    /// Of `verdicts`.
    pub namespace: Option<String>,
    /// The boot of its records.
    pub boot: String,
    /// The version of its columns.
    pub schema_version: u32,
    /// Its rows.
    pub rows: u64,
    /// The first row's place in the sequence.
    pub first_seq: i64,
    /// The last row's place in the sequence.
    pub last_seq: i64,
    /// The earliest time in it.
    pub first_time: Time,
    /// The latest time in it.
    pub last_time: Time,
    /// It must be kept until then.
    pub retain_until: Time,
    /// The store's own lock that was asked for.
    pub locked_until: Option<Time>,
}

/// Records of one sequence that will never come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// `verdicts`, `coverage` or `policies`.
    pub table: String,
    /// Of `verdicts`.
    pub namespace: Option<String>,
    /// The boot in which the sequence runs.
    pub boot: String,
    /// The first that is missing.
    pub first_seq: i64,
    /// The last that is missing.
    pub last_seq: i64,
    /// Why: `spool-damage`.
    pub cause: String,
}

/// A compiled policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInForce {
    /// Its revision on this node.
    pub revision: i64,
    /// Its SHA-256.
    pub sha256: String,
}

/// What a namespace's `AuditTrail` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRetention {
    /// The namespace.
    pub namespace: String,
    /// How long its records are kept, in seconds, the floor regarded.
    pub seconds: u64,
    /// Whether nothing of it may be deleted.
    pub hold: bool,
    /// How addresses outside the cluster are kept: `full`, `truncate` or `hmac`.
    pub addresses: String,
}

/// The namespace of records whose pod is not known; no Kubernetes namespace can be called so.
pub const UNKNOWN_NAMESPACE: &str = "_unknown";

/// What is asked for evidence of one namespace, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How long it is to be kept after the last time in it, in seconds.
    pub seconds: u64,
    /// Whether nothing of it may be deleted.
    pub hold: bool,
}

impl Asked {
    /// What `retention` asks for evidence of `namespace`; `default` seconds hold where it has nothing of that namespace.
    /// What is no namespace's alone (`None`, and [`UNKNOWN_NAMESPACE`]) explains all of them: the longest holds for it, and
    /// any hold.
    pub fn of(retention: &[NamespaceRetention], namespace: Option<&str>, default: u64) -> Self {
        let of_all = matches!(namespace, None | Some(UNKNOWN_NAMESPACE));
        let asked = || retention.iter().filter(|asked| of_all || Some(asked.namespace.as_str()) == namespace);
        let longest = asked().map(|asked| asked.seconds).max();
        let seconds = if of_all { longest.unwrap_or(0).max(default) } else { longest.unwrap_or(default) };
        Self { seconds, hold: asked().any(|asked| asked.hold) }
    }

    /// Whether that keeps what has its last time at `last_time` from being deleted at `time`.
    pub fn keeps(self, last_time: Time, time: Time) -> bool {
        self.hold || last_time.after(self.seconds) > time
    }
}

impl SealedObject {
    /// The longest that its namespace asks for, and until when it is to be kept by that; `None` where `retention` has nothing of that
    /// namespace.
    pub fn asked<'a>(&self, retention: &'a [NamespaceRetention]) -> Option<(&'a NamespaceRetention, Time)> {
        let asked = retention.iter().filter(|asked| Some(&asked.namespace) == self.namespace.as_ref());
        let asked = asked.max_by_key(|asked| asked.seconds)?;
        Some((asked, self.last_time.after(asked.seconds)))
    }
}

/// Rows by table.
pub type RowsByTable = BTreeMap<String, u64>;
