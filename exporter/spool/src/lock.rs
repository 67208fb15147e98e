//! One writer and one reader: an advisory lock each, which the kernel drops with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::error::SpoolError;
use crate::folder::Folder;

/// How long a place is tried for: somebody may just look whether it is held.
const PATIENCE: Duration = Duration::from_millis(100);

/// Which of the two places.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Writer,
    Reader,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Writer => "agent",
            Self::Reader => "exporter",
        }
    }

    fn path(self, folder: &Folder) -> PathBuf {
        folder.root().join(format!("{}.lock", self.name()))
    }
}

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Whether a process has this place in the folder now; false too where there is no such folder.
pub(crate) fn is_held(folder: &Folder, role: Role) -> Result<bool, SpoolError> {
    let path = role.path(folder);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(|source| SpoolError::io("open", &path, source))?,
    };
    // Shared, and given back at once: who takes the place meanwhile tries again.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(SpoolError::io("lock", &path, source)),
    }
}

impl Lock {
    pub(crate) fn take(folder: &Folder, role: Role) -> Result<Self, SpoolError> {
        let path = role.path(folder);
        // Reading is enough for a lock, also where an earlier life under another user made the file.
        let opened = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(&path)
            }
            other => other,
        };
        let file = opened.map_err(|source| SpoolError::io("open", &path, source))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(PATIENCE / 10),
                Err(TryLockError::WouldBlock) => {
                    return Err(SpoolError::Locked { role: role.name(), path: folder.root().to_owned() });
                }
                Err(TryLockError::Error(source)) => return Err(SpoolError::io("lock", &path, source)),
            }
        }
    }
}
