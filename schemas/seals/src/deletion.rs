//! What a deletion holds; `schemas/FORMAT.md`, section 6, says what each key means.

use serde::{Deserialize, Serialize};

use crate::{
    document::Document,
    key::KeyId,
    seal::{NamespaceRetention, SealedObject},
    time::Time,
};

/// A signed list of what is deleted, put before any of it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// [`Document::TYPE`].
    pub r#type: String,
    /// 1.
    pub version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The number in the chain, from 1.
    pub deletion: u64,
    /// SHA-256 of the bytes of the deletion before.
    pub previous_sha256: Option<String>,
    /// When it was signed.
    pub time: Time,
    /// The version of the program that deletes.
    pub tool_version: String,
    /// The floor that was configured, in seconds.
    pub minimum_seconds: u64,
    /// The default that was configured, in seconds.
    pub default_seconds: u64,
    /// What namespaces asked for, by namespace.
    pub retention: Vec<NamespaceRetention>,
    /// What is deleted, by path.
    pub objects: Vec<DeletedObject>,
    /// The key that signs it.
    pub key_id: KeyId,
    /// The key that signs from the next deletion on, where that is another one.
    pub next_key_id: Option<KeyId>,
}

impl Document for Deletion {
    const TYPE: &'static str = "podwitness-deletion";
}

/// An object that a deletion lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedObject {
    /// Where it stood, from the root.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// It had to be kept until then.
    pub retain_until: Time,
    /// The path of the seal that lists it.
    pub seal: String,
}

impl DeletedObject {
    /// How a deletion lists the object that the seal at this path lists.
    pub fn of(object: &SealedObject, seal: &str) -> Self {
        Self {
            path: object.path.clone(),
            sha256: object.sha256.clone(),
            bytes: object.bytes,
            rows: object.rows,
            retain_until: object.retain_until,
            seal: seal.to_owned(),
        }
    }
}
