//! The folder that the demo's evidence goes to.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use chrono::Utc;

use crate::failure::Failure;

/// A folder for evidence, new or empty.
#[derive(Debug)]
pub(super) struct EvidenceFolder {
    path: PathBuf,
    /// Its parent, where this made that too.
    made_parent: Option<PathBuf>,
}

impl EvidenceFolder {
    /// Makes `wanted`, or `./evidence/<timestamp>`.
    pub(super) fn make(wanted: Option<&Path>) -> Result<Self, Failure> {
        let path = wanted.map_or_else(
            || Path::new("evidence").join(Utc::now().format("%Y-%m-%dT%H-%M-%SZ").to_string()),
            Path::to_owned,
        );
        let cannot =
            |error: io::Error| Failure::question(format_args!("cannot use {} for evidence: {error}", path.display()));
        let made_parent = path.parent().filter(|parent| !parent.exists()).map(Path::to_owned);
        fs::create_dir_all(&path).map_err(cannot)?;
        if fs::read_dir(&path).map_err(cannot)?.next().is_some() {
            return Err(Failure::question(format_args!(
                "{} is not empty: evidence is never mixed, so name a new folder",
                path.display()
            )));
        }
        let path = path.canonicalize().map_err(cannot)?;
        Ok(Self { path, made_parent })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives what the exporter's user has written to the person who called `sudo`, or to root.
    pub(super) fn hand_over(&self) -> io::Result<()> {
        let id = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok()).unwrap_or(0);
        let (user, group) = (id("SUDO_UID"), id("SUDO_GID"));
        if let Some(made) = &self.made_parent {
            lchown(made, Some(user), Some(group))?;
        }
        give(&self.path, user, group)
    }

    /// Takes the folder away again if nothing has come into it; false where something has.
    pub(super) fn discard_if_empty(&self) -> bool {
        // A folder with something in it is refused, which is what is wanted.
        let discarded = fs::remove_dir(&self.path).is_ok();
        if let Some(made) = &self.made_parent {
            let _ = fs::remove_dir(made);
        }
        discarded
    }
}

fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    lchown(path, Some(user), Some(group))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}
