//! What a batch tells the seal that will list its files, beside the files.

use std::collections::BTreeMap;

use podwitness_seals::balance::KernelBalance;
use podwitness_seals::seal::{NamespaceRetention, PolicyInForce};
use serde::{Deserialize, Serialize};

/// What was read from the spool for a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Records read, by table.
    pub spooled: BTreeMap<String, u64>,
    /// Bytes that could not be read.
    pub damaged_bytes: u64,
    /// The agent's newest statement of its counts.
    pub kernel: Option<KernelBalance>,
    /// The newest compiled policy that a record names.
    pub policy: Option<PolicyInForce>,
    /// The agent's version.
    pub agent_version: Option<String>,
    /// SHA-256 of the eBPF object.
    pub object_sha256: Option<String>,
    /// Whether the newest record of an agent's start or stop is one of a stop; none where there was no such record.
    pub has_agent_stopped: Option<bool>,
    /// What namespaces asked for at the batch's end; none where the batch does not say.
    pub retention: Option<Vec<NamespaceRetention>>,
}

impl Facts {
    /// Whether there is something that a seal must say, although no file tells it.
    pub fn must_be_noted(&self) -> bool {
        self.damaged_bytes > 0
    }
}
