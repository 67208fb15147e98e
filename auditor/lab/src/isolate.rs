//! Getting out of the machine's own namespaces, so that nothing outside is touched.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::error::LabError;

/// Refuses, in one sentence, anybody but root.
pub fn require_root() -> Result<(), LabError> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

/// Moves this process into network and mount namespaces of its own: from here on, whatever it and its children mount,
/// address or send stays invisible to the machine, and is gone with the last of them.
///
/// Must be called before the process has a second thread, because `unshare` moves the calling thread alone.
pub fn isolate() -> Result<(), LabError> {
    require_root()?;
    let tasks = Path::new("/proc/self/task");
    let threads = fs::read_dir(tasks).map_err(LabError::path("list", tasks))?.count();
    if threads != 1 {
        return Err(LabError::NotSingleThreaded { threads });
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .map_err(LabError::system("make namespaces for this process"))?;
    // Otherwise mounts would propagate back: systemd makes `/` shared.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(LabError::system("make this process's mounts private"))
}

/// Refuses to mount anything where init would see it.
///
/// Where a sandbox hides init's namespaces, mounts must at least not propagate out of this one.
pub(crate) fn require_private_mounts() -> Result<(), LabError> {
    let own = namespace_of("self")?;
    let seen_by_machine = match namespace_of("1") {
        Ok(init) => init == own,
        Err(LabError::Path { source, .. }) if source.kind() == ErrorKind::PermissionDenied => root_is_shared()?,
        Err(error) => return Err(error),
    };
    if seen_by_machine { Err(LabError::SharedMounts) } else { Ok(()) }
}

fn namespace_of(process: &str) -> Result<PathBuf, LabError> {
    let path = Path::new("/proc").join(process).join("ns/mnt");
    fs::read_link(&path).map_err(LabError::path("read", &path))
}

fn root_is_shared() -> Result<bool, LabError> {
    let path = Path::new("/proc/self/mountinfo");
    let mounts = fs::read_to_string(path).map_err(LabError::path("read", path))?;
    // ID, parent, device, root, mount point, options, then optional fields up to a lone dash.
    Ok(mounts.lines().map(|line| line.split(' ')).any(|mut fields| {
        fields.nth(4) == Some("/") && fields.take_while(|field| *field != "-").any(|field| field.starts_with("shared:"))
    }))
}
