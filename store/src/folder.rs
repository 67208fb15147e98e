//! What a folder needs to be as durable as an object store.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Syncs the file at `path` below `root` and each folder on the way to it, and removes what a put that was killed left
/// beside it: `object_store` writes to `<name>#<digits>` first. Only one process at a time writes an evidence file's
/// name; where two nodes begin `podwitness.json` together, the one that loses its file this way begins again.
pub(crate) fn make_durable(root: &Path, path: &str) -> io::Result<()> {
    let file = root.join(path);
    File::open(&file)?.sync_all()?;
    remove_unfinished(&file)?;
    for folder in file.ancestors().skip(1) {
        File::open(folder)?.sync_all()?;
        if folder == root {
            break;
        }
    }
    Ok(())
}

/// Syncs the folder from which the file at `path` below `root` was removed, or the nearest above it that is still there.
pub(crate) fn sync_nearest(root: &Path, path: &str) -> io::Result<()> {
    for folder in root.join(path).ancestors().skip(1) {
        match File::open(folder) {
            Ok(folder) => return folder.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder != root => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn remove_unfinished(file: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let unfinished = entry.file_name().to_str().and_then(|other| other.strip_prefix(name)).is_some_and(|rest| {
            rest.strip_prefix('#').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if unfinished {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
