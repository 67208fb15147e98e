//! What objects there are, so small that a root of any size fits: for each object a hash of its path, its size, and whether
//! a seal lists it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// The name of a path: half of its SHA-256. Whoever looks for two paths with one name must try 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PathName([u8; 16]);

impl PathName {
    /// The name of `path`.
    pub(super) fn of(path: &str) -> Self {
        let digest = Sha256::digest(path);
        Self(std::array::from_fn(|index| digest[index]))
    }
}

struct Entry {
    bytes: u64,
    sealed: AtomicBool,
}

/// The objects of all tables at the time when they were listed.
#[derive(Default)]
pub(super) struct Inventory {
    there: HashMap<PathName, Entry>,
    /// What seals list and is not there.
    gone: Mutex<HashSet<PathName>>,
    bytes: u64,
}

impl Inventory {
    /// There is an object at `path`.
    pub(super) fn add(&mut self, path: &str, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.there.insert(PathName::of(path), Entry { bytes, sealed: AtomicBool::new(false) });
    }

    /// How many bytes all objects have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of the object at `path`; `None` where there is none.
    pub(super) fn size(&self, path: &str) -> Option<u64> {
        self.there.get(&PathName::of(path)).map(|entry| entry.bytes)
    }

    /// A seal lists `path`. Says whether it is the first that does.
    pub(super) fn seal(&self, path: &str) -> bool {
        let name = PathName::of(path);
        match self.there.get(&name) {
            Some(entry) => !entry.sealed.swap(true, Ordering::Relaxed),
            None => self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(name),
        }
    }

    /// Whether a seal lists `path`.
    pub(super) fn is_sealed(&self, path: &str) -> bool {
        self.there.get(&PathName::of(path)).is_some_and(|entry| entry.sealed.load(Ordering::Relaxed))
    }

    /// Whether the object at `path` was there when objects were listed.
    pub(super) fn has(&self, path: &str) -> bool {
        self.there.contains_key(&PathName::of(path))
    }
}
