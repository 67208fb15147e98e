//! The files of a key that signs a chain.
//!
//! At the key's path is the key that signs; it is made where it is absent. A file `<path>.next` beside it is the key that
//! is to take its place: the next document of the chain names it, and when that document is in the store, the file takes
//! the place of the other. Whoever wants another key puts such a file there (or an empty one, for a key made here).
//!
//! One program at a time has a key; who opens it has made sure of that.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use podwitness_runtime::durable;
use thiserror::Error;

use crate::key::{self, KeyId, PrivateKey};

/// For the owner alone.
const MODE: u32 = 0o600;

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}; a key's folder must be writable for the program that signs with it")]
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
pub struct KeyFile {
    path: PathBuf,
    current: PrivateKey,
}

impl KeyFile {
    /// Opens the key at `path`, or makes one.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failure("create", folder))?;
        }
        let current = match load(path)? {
            Some(key) => key,
            None => make(path)?,
        };
        warn_of_readers(path);
        Ok(Self { path: path.to_owned(), current })
    }

    /// The key that signs.
    pub fn current(&self) -> &PrivateKey {
        &self.current
    }

    /// The name of the key that signs.
    pub fn id(&self) -> KeyId {
        self.current.public().id()
    }

    /// The key that is to follow, where somebody has put one there.
    pub fn next(&self) -> Result<Option<KeyId>, KeyFileError> {
        let path = self.next_path();
        let is_empty = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == 0);
        let next = if is_empty { Some(make(&path)?) } else { load(&path)? };
        Ok(next.map(|key| key.public().id()).filter(|id| *id != self.id()))
    }

    /// Puts the key that follows in place, where it is the one that the newest document in the store names as `expected`.
    pub fn turn(&mut self, expected: &KeyId) -> Result<(), KeyFileError> {
        if *expected == self.id() {
            return Ok(());
        }
        let path = self.next_path();
        let Some(next) = load(&path)?.filter(|next| next.public().id() == *expected) else { return Ok(()) };
        durable::rename(&path, &self.path).map_err(failure("rename", &path))?;
        tracing::info!(id = %expected, "the next key signs from now on");
        self.current = next;
        Ok(())
    }

    fn next_path(&self) -> PathBuf {
        beside(&self.path, "next")
    }
}

/// The path of the file `<path>.<what>`.
pub fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

fn load(path: &Path) -> Result<Option<PrivateKey>, KeyFileError> {
    match fs::read_to_string(path) {
        Ok(text) => PrivateKey::from_pem(&text)
            .map(Some)
            .map_err(|source| KeyFileError::Unusable { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure("read", path)(error)),
    }
}

fn make(path: &Path) -> Result<PrivateKey, KeyFileError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyFileError::Random)?;
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

fn failure<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> KeyFileError + use<'a> {
    move |source| KeyFileError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("keys/node.key");
        let made = KeyFile::open(&path).unwrap().id();
        assert_eq!(KeyFile::open(&path).unwrap().id(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::write(&path, "no key").unwrap();
        assert!(KeyFile::open(&path).is_err_and(|error| error.to_string().contains("cannot be used as a key")));
    }

    #[test]
    fn the_next_key_takes_its_place_when_it_was_named_and_not_before() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("node.key");
        let mut keys = KeyFile::open(&path).unwrap();
        let first = keys.id();
        assert_eq!(keys.next().unwrap(), None);
        fs::write(beside(&path, "next"), "").unwrap();
        let next = keys.next().unwrap().unwrap();
        assert_eq!(keys.next().unwrap().as_ref(), Some(&next), "it is made once");
        keys.turn(&first).unwrap();
        keys.turn(&PrivateKey::from_seed(&[9; 32]).public().id()).unwrap();
        assert_eq!((keys.id(), KeyFile::open(&path).unwrap().id()), (first.clone(), first));
        keys.turn(&next).unwrap();
        assert_eq!((keys.id(), keys.next().unwrap()), (next.clone(), None));
        assert_eq!(KeyFile::open(&path).unwrap().id(), next);
        assert!(!beside(&path, "next").exists());
    }
}
