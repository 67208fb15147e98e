//! The public keys that there are, and which of them are trusted.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use podwitness_schemas::layout;
use podwitness_seals::key::{KeyId, PublicKey};

use super::finding::FindingCode;
use super::names::Name;
use super::report::Report;
use super::root::Root;
use crate::failure::Failure;

/// No PEM of an Ed25519 key is longer.
const GREATEST_PEM: u64 = 64 << 10;

/// The keys.
pub(super) struct Keys {
    known: HashMap<KeyId, PublicKey>,
    /// Those that the verifier was given; `None` where it was given none.
    trusted: Option<HashSet<KeyId>>,
}

impl Keys {
    /// Reads the keys of the folder `trusted` and those of the evidence.
    pub(super) fn read(root: &Root, trusted: Option<&Path>, report: &Report) -> Result<Self, Failure> {
        let given = trusted.map(read_trusted).transpose()?;
        let mut known = given.clone().unwrap_or_default();
        let mut ids = Vec::new();
        root.list("keys", |_, name, _| {
            if let Name::Key { id } = name {
                ids.push(id);
            }
        })?;
        for id in ids {
            let path = layout::key_path(&id);
            let Some(bytes) = root.get(&path, GREATEST_PEM)? else { continue };
            let key = String::from_utf8(bytes).map_err(|_| "it is no text".to_owned());
            match key.and_then(|pem| read_pem(&pem)) {
                Ok(key) if key.id().0 == id => drop(known.insert(key.id(), key)),
                Ok(key) => report.finding(
                    FindingCode::KeyUnreadable,
                    &path,
                    None,
                    format!("it is a public key, but of the id {}", key.id()),
                ),
                Err(why) => report.finding(FindingCode::KeyUnreadable, &path, None, why),
            }
        }
        Ok(Self { known, trusted: given.map(|keys| keys.into_keys().collect()) })
    }

    /// The key called `id`.
    pub(super) fn get(&self, id: &KeyId) -> Option<&PublicKey> {
        self.known.get(id)
    }

    /// Whether `id` is trusted without a hand-over; where no keys were given, all are taken as they come.
    pub(super) fn trusts(&self, id: &KeyId) -> bool {
        self.trusted.as_ref().is_none_or(|trusted| trusted.contains(id))
    }

    /// How many keys were given; `None` where those of the evidence are used.
    pub(super) fn given(&self) -> Option<usize> {
        self.trusted.as_ref().map(HashSet::len)
    }

    /// How many keys there are in all.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }
}

/// Reads a key of the evidence, which has one form alone.
fn read_pem(pem: &str) -> Result<PublicKey, String> {
    let key = PublicKey::from_pem(pem).map_err(|error| error.to_string())?;
    if key.to_pem() == pem { Ok(key) } else { Err("it is a public key in PEM, but not in three lines".to_owned()) }
}

fn read_trusted(folder: &Path) -> Result<HashMap<KeyId, PublicKey>, Failure> {
    let question = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::question(format_args!("cannot read the trusted keys in {}: {why}", path.display()))
    };
    let mut keys = HashMap::new();
    for entry in fs::read_dir(folder).map_err(|error| question(folder, &error))? {
        let path = entry.map_err(|error| question(folder, &error))?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let pem = fs::read_to_string(&path).map_err(|error| question(&path, &error))?;
        let key = PublicKey::from_pem(&pem).map_err(|error| question(&path, &error))?;
        keys.insert(key.id(), key);
    }
    if keys.is_empty() {
        return Err(question(folder, &"there is no public key in it; give a folder of *.pem"));
    }
    Ok(keys)
}
