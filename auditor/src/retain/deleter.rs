//! The files of the one who deletes: the key, and beside it the deletion that is on its way.
//!
//! `<key>.pending` holds a signed deletion from before its signature is put until everything that it lists is deleted. Its
//! bytes are put again after an interruption, because others under the same name would be a conflict. `<key>.lock` is empty
//! and stays: the key itself may be replaced by the one that follows it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use podwitness_runtime::durable;
use podwitness_seals::key_file::{KeyFile, beside};
use serde::{Deserialize, Serialize};

/// A signed deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// Where it goes.
    pub(crate) path: String,
    /// Its bytes, which are text.
    pub(crate) document: String,
    /// Its signature, in hexadecimal.
    pub(crate) signature: String,
}

/// Who deletes: the key, and the right to use it alone on this machine.
pub(crate) struct Deleter {
    pub(crate) keys: KeyFile,
    pending: PathBuf,
    _alone: Flock<File>,
}

impl Deleter {
    /// Opens the key at `path`, or makes one that only its owner can read.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let lock = beside(path, "lock");
        let failed =
            |error: io::Error| format!("cannot open {}: {error}; the key's folder must be writable", lock.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::options().write(true).create(true).truncate(false).open(&lock).map_err(failed)?;
        let alone = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| format!("another run uses the key {}: let it end", path.display()))?;
        let keys = KeyFile::open(path).map_err(|error| error.to_string())?;
        Ok(Self { keys, pending: beside(path, "pending"), _alone: alone })
    }

    /// What an earlier run did not finish.
    pub(crate) fn pending(&self) -> Result<Option<Pending>, String> {
        let path = &self.pending;
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// Keeps a deletion, durably, before any of it is put.
    pub(crate) fn stage(&self, pending: &Pending) -> Result<(), String> {
        let text = serde_json::to_vec(pending).expect("texts are always JSON");
        let path = &self.pending;
        durable::replace(path, &text, 0o600)
            .map_err(|error| format!("cannot write {}: {error}; the key's folder must be writable", path.display()))
    }

    /// Forgets it.
    pub(crate) fn clear(&self) -> Result<(), String> {
        let path = &self.pending;
        durable::remove(path).map_err(|error| format!("cannot remove {}: {error}", path.display()))
    }
}
