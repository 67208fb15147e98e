//! One writer and one reader: an advisory lock each, which the kernel drops with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::error::SpoolError;
use crate::folder::Folder;

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
}

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(folder: &Folder, role: Role) -> Result<Self, SpoolError> {
        let path = folder.root().join(format!("{}.lock", role.name()));
        // Reading is enough for a lock, also where an earlier life under another user made the file.
        let opened = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(&path)
            }
            other => other,
        };
        let file = opened.map_err(|source| SpoolError::io("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(SpoolError::Locked { role: role.name(), path: folder.root().to_owned() })
            }
            Err(TryLockError::Error(source)) => Err(SpoolError::io("lock", &path, source)),
        }
    }
}
