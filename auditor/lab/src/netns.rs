//! A network namespace that is bind-mounted on a file, as container runtimes do it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::LabError;

/// A network namespace. The kernel frees it when no mount, no socket and no process is left that holds it.
#[derive(Debug)]
pub struct NetNs {
    path: PathBuf,
    entry: Entry,
    /// Whether the bind mount is the lab's own, and taken away on drop.
    owned: bool,
}

/// What it takes to enter a namespace; it works as long as it is held, even when nothing else holds the namespace.
#[derive(Clone, Debug)]
pub(crate) struct Entry(Arc<File>);

impl Entry {
    /// Moves the calling thread into the namespace.
    pub(crate) fn enter(&self) -> Result<(), LabError> {
        self.set().map_err(LabError::system("enter a network namespace"))
    }

    fn set(&self) -> nix::Result<()> {
        setns(&*self.0, CloneFlags::CLONE_NEWNET)
    }
}

impl NetNs {
    /// Makes a namespace and binds it on a new file at `path`. The thread that calls stays where it is.
    pub(crate) fn create(path: PathBuf) -> Result<Self, LabError> {
        File::create_new(&path).map_err(LabError::path("create", &path))?;
        let bound = thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET).map_err(LabError::system("make a network namespace"))?;
                    mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                        .map_err(LabError::path_errno("bind a network namespace on", &path))
                })
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
        });
        if let Err(error) = bound {
            // The first error is the one to be told; an empty file left in a folder that goes away anyway is none.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let mut netns = Self::open(path)?;
        netns.owned = true;
        Ok(netns)
    }

    /// A namespace that somebody else has made: a file on which it is mounted, or of a process that is in it, such as
    /// `/proc/1/ns/net`. It can be used as long as this is held, also when that file or process has gone.
    pub fn open(path: PathBuf) -> Result<Self, LabError> {
        let entry = Entry(Arc::new(File::open(&path).map_err(LabError::path("open", &path))?));
        Ok(Self { path, entry, owned: false })
    }

    /// The file on which the namespace is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in the namespace, on a thread made for it, and waits for it. A socket made there stays in this
    /// namespace wherever it is used afterwards.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.entry.enter()?;
                    Ok(work())
                })
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// A command that will run in the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let entry = self.entry();
        let mut command = Command::new(program);
        let enter = move || entry.set().map_err(Into::into);
        // SAFETY: between fork and exec the closure makes one system call, and allocates and locks nothing.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// What a thread needs to enter it by itself.
    pub(crate) fn entry(&self) -> Entry {
        self.entry.clone()
    }

    /// Sets one value under `/proc/sys/net`, which shows the namespace of the thread that opens it.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = Path::new("/proc/sys/net").join(name);
        self.run(|| fs::write(&path, value))?.map_err(LabError::path("write", &path))
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        // Nothing can be done about a failure here, and the mount namespace ends with the process.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}
