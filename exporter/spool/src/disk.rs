//! Everything the spool does to a disk, so that tests can let each step fail. Reading is not here: it changes nothing.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The group may read: the exporter need not be the agent's user.
const FILE_MODE: u32 = 0o640;

/// The steps by which the spool changes a disk. A step that fails may have been done in part.
pub(crate) trait Disk: Send {
    /// Makes an empty file, or empties it, open for reading and writing.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes all bytes from the offset on.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Waits until the file's bytes and length are on the disk.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Cuts the file to this length.
    fn truncate(&self, file: &File, length: u64) -> io::Result<()>;
    /// Gives the file another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until the names in the folder are on the disk.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes the file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(crate) struct Os;

impl Disk for Os {
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        // Whatever the process's umask is.
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        Ok(file)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
