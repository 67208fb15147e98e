//! The spool on a disk of its own that can be full, or refuse.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};

/// A file system of a few megabytes at the spool's folder. The lab takes it away with its own.
pub(crate) struct SmallDisk {
    spool: PathBuf,
}

impl SmallDisk {
    /// Puts it over the folder, with the folder's owner and mode.
    pub(crate) fn at(spool: &Path) -> Result<Self> {
        use std::os::unix::fs::MetadataExt as _;

        let folder = fs::metadata(spool)?;
        let options = format!("size=8m,mode={:o},uid={},gid={}", folder.mode() & 0o7777, folder.uid(), folder.gid());
        mount(Some("tmpfs"), spool, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .context("cannot mount a small disk")?;
        Ok(Self { spool: spool.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.spool.join("filler")
    }

    /// Leaves no byte of room, also where somebody has made some since the last call.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for size in [1 << 16, 1 << 12] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    /// Has the folders that the agent writes to refuse every new, renamed or removed file, root's too, or take them again.
    /// What is open for writing stays so.
    pub(crate) fn refuse(&self, refuses: bool) -> Result<()> {
        let folders = ["segments", "agent"].map(|name| self.spool.join(name));
        let output = Command::new("chattr").arg(if refuses { "+i" } else { "-i" }).args(folders).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a tmpfs takes chattr from Linux 6.6 on: {said}");
        Ok(())
    }
}
