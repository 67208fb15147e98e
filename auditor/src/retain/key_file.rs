//! The files of the one who deletes: the key, and beside it the deletion that is on its way.
//!
//! `<key>.pending` holds a signed deletion from before its signature is put until everything that it lists is deleted. Its
//! bytes are put again after an interruption, because others under the same name would be a conflict.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use podwitness_runtime::durable;
use podwitness_seals::key::PrivateKey;
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

/// The key, and the right to use it alone on this machine.
pub(crate) struct KeyFile {
    path: PathBuf,
    pub(crate) key: PrivateKey,
    _alone: Flock<File>,
}

impl KeyFile {
    /// Opens the key at `path`, or makes one that only its owner can read.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let failed = |action: &str, error: io::Error| format!("cannot {action} the key {}: {error}", path.display());
        if !path.exists() {
            make(path).map_err(|error| failed("make", error))?;
        }
        let file = File::open(path).map_err(|error| failed("open", error))?;
        let alone = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| format!("another run uses the key {}: let it end", path.display()))?;
        let text = fs::read_to_string(path).map_err(|error| failed("read", error))?;
        let key = PrivateKey::from_pem(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), key, _alone: alone })
    }

    /// What an earlier run did not finish.
    pub(crate) fn pending(&self) -> Result<Option<Pending>, String> {
        let path = self.pending_path();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// Keeps a deletion, durably, before any of it is put.
    pub(crate) fn stage(&self, pending: &Pending) -> Result<(), String> {
        let text = serde_json::to_vec(pending).expect("texts are always JSON");
        let path = self.pending_path();
        durable::replace(&path, &text, 0o600)
            .map_err(|error| format!("cannot write {}: {error}; the key's folder must be writable", path.display()))
    }

    /// Forgets it.
    pub(crate) fn clear(&self) -> Result<(), String> {
        let path = self.pending_path();
        let removed = fs::remove_file(&path).and_then(|()| File::open(folder_of(&path))?.sync_all());
        removed.map_err(|error| format!("cannot remove {}: {error}", path.display()))
    }

    fn pending_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".pending");
        name.into()
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    // Another run may be making it too, and must not lose its own.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(PrivateKey::from_seed(&seed).to_pem().as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
