//! The node's key files.
//!
//! `seal.keyFile` has the key that signs; it is made where it is absent. A file `<keyFile>.next` beside it is the key
//! that is to take its place: the next seal names it, and when that seal is in the store, the file takes the place of
//! the other. Whoever wants another key puts such a file there (or an empty one, for a key made here).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use podwitness_runtime::durable;
use podwitness_seals::key::{self, KeyId, PrivateKey, SIGNATURE_BYTES};
use thiserror::Error;

/// For the owner alone.
const MODE: u32 = 0o600;

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}; `seal.keyFile` must be in a folder that the exporter can write to")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no key.
    #[error("{path} cannot be used as a key: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: key::KeyError,
    },
    /// There is no randomness.
    #[error("cannot make a key: the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The key that signs, and the one that may follow it.
pub(super) struct Keys {
    path: PathBuf,
    current: PrivateKey,
}

impl Keys {
    /// Opens the key at `path`, or makes one. `expected` is the key that the newest seal names, where there is one.
    pub(super) fn open(path: &Path, expected: Option<&KeyId>) -> Result<Self, KeyError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failure("create", folder))?;
        }
        let current = match load(path)? {
            Some(key) => key,
            None => make(path)?,
        };
        let mut keys = Self { path: path.to_owned(), current };
        keys.turn(expected)?;
        if expected.is_some_and(|expected| *expected != keys.id()) {
            tracing::error!(
                key = %path.display(),
                id = %keys.id(),
                "this is not the key that the newest seal names: whoever verifies the chain will see that it changed"
            );
        }
        warn_of_readers(path);
        Ok(keys)
    }

    /// The name of the key that signs.
    pub(super) fn id(&self) -> KeyId {
        self.current.public().id()
    }

    pub(super) fn public_pem(&self) -> String {
        self.current.public().to_pem()
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.current.sign(bytes)
    }

    /// The key that is to follow, where somebody has put one there.
    pub(super) fn next(&self) -> Result<Option<KeyId>, KeyError> {
        let path = self.next_path();
        let is_empty = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == 0);
        let next = if is_empty { Some(make(&path)?) } else { load(&path)? };
        Ok(next.map(|key| key.public().id()).filter(|id| *id != self.id()))
    }

    /// Puts the key that follows in place, where it is the one that `expected` names.
    pub(super) fn turn(&mut self, expected: Option<&KeyId>) -> Result<(), KeyError> {
        let Some(expected) = expected.filter(|expected| **expected != self.id()) else { return Ok(()) };
        let path = self.next_path();
        let Some(next) = load(&path)?.filter(|next| next.public().id() == *expected) else { return Ok(()) };
        durable::rename(&path, &self.path).map_err(failure("rename", &path))?;
        tracing::info!(id = %expected, "the next key signs from now on");
        self.current = next;
        Ok(())
    }

    fn next_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".next");
        name.into()
    }
}

fn load(path: &Path) -> Result<Option<PrivateKey>, KeyError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            PrivateKey::from_pem(&text).map(Some).map_err(|source| KeyError::Unusable { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure("read", path)(error)),
    }
}

fn make(path: &Path) -> Result<PrivateKey, KeyError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyError::Random)?;
    let key = PrivateKey::from_seed(&seed);
    durable::replace(path, key.to_pem().as_bytes(), MODE).map_err(failure("write", path))?;
    tracing::info!(key = %path.display(), id = %key.public().id(), "made a key");
    Ok(key)
}

fn warn_of_readers(path: &Path) {
    let mode = fs::metadata(path).map_or(MODE, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(key = %path.display(), mode = format!("{:o}", mode & 0o777), "others than its owner can use this key");
    }
}

fn failure<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> KeyError + use<'a> {
    move |source| KeyError::Io { action, path: path.to_owned(), source }
}
