//! The folder in which the runtime mounts namespaces: what is in it, and what changes.
//!
//! inotify sees files come and go, and never sees a namespace being mounted on one: that is the table's to look for.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

/// Room for some hundred events; one has at most 16 bytes and a file name.
const EVENTS: usize = 32 * 1024;
/// Folders above may come and go while they are looked through; after as many attempts it is left to the next time.
const WATCH_ATTEMPTS: usize = 8;

/// What happened in the folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FolderEvent {
    /// A file is there that was not.
    Appeared(OsString),
    /// A file is there no more.
    Disappeared(OsString),
    /// Anything else: the folder must be watched and listed anew.
    Relist,
}

/// Why the folder is not watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error(
        "the folder is not there; it is used as soon as a container runtime makes it (if none does, \
         set endpoints.netns to the folder in which yours mounts network namespaces)"
    )]
    Missing,
    #[error("cannot watch the folder: {0}; it is listed every second instead")]
    Watch(#[source] io::Error),
    #[error("cannot list the folder: {0}; what was found before is kept")]
    List(#[source] io::Error),
}

struct Watch {
    descriptor: WatchDescriptor,
    of: PathBuf,
}

/// The folder, watched; while it is missing, the nearest folder above it is.
pub(crate) struct Folder {
    path: PathBuf,
    inotify: Inotify,
    watch: Option<Watch>,
    buffer: Vec<u8>,
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, inotify: Inotify::init()?, watch: None, buffer: vec![0; EVENTS] })
    }

    /// Makes sure that what is at the path now is watched: it may have been replaced, or mounted over.
    pub(crate) fn watch(&mut self) -> Result<(), FolderError> {
        for _ in 0..WATCH_ATTEMPTS {
            let nearest = self.watch_nearest()?;
            if nearest == self.path {
                return Ok(());
            }
            // One that was made before the watch above it began has told nobody.
            let below = self.path.ancestors().take_while(|above| *above != nearest).last();
            if !below.is_some_and(Path::exists) {
                return Err(FolderError::Missing);
            }
        }
        Err(FolderError::Missing)
    }

    fn watch_nearest(&mut self) -> Result<PathBuf, FolderError> {
        for folder in self.path.ancestors() {
            let at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let mut mask = WatchMask::CREATE
                | WatchMask::MOVED_TO
                | WatchMask::DELETE_SELF
                | WatchMask::MOVE_SELF
                | WatchMask::ONLYDIR;
            if folder == self.path {
                mask |= WatchMask::DELETE | WatchMask::MOVED_FROM;
            }
            match self.inotify.watches().add(at, mask) {
                Ok(descriptor) => {
                    let of = folder.to_owned();
                    let old = self.watch.replace(Watch { descriptor: descriptor.clone(), of: of.clone() });
                    if let Some(old) = old.filter(|old| old.descriptor != descriptor) {
                        // It fails when the kernel ended that watch itself, which is as good.
                        let _ = self.inotify.watches().remove(old.descriptor);
                    }
                    return Ok(of);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FolderError::Watch(error)),
            }
        }
        Err(FolderError::Missing)
    }

    /// The names in the folder.
    pub(crate) fn list(&self) -> Result<BTreeSet<OsString>, FolderError> {
        let list = || fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>();
        list().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FolderError::Missing,
            _ => FolderError::List(error),
        })
    }

    /// All that happened since the last call, in order.
    pub(crate) fn drain(&mut self) -> Vec<FolderEvent> {
        let mut happened = Vec::new();
        loop {
            let events = match self.inotify.read_events(&mut self.buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return happened,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    happened.push(FolderEvent::Relist);
                    return happened;
                }
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    happened.push(FolderEvent::Relist);
                    continue;
                }
                let Some(watch) = self.watch.as_ref().filter(|watch| watch.descriptor == event.wd) else {
                    continue;
                };
                let watches_folder = watch.of == self.path;
                if event.mask.contains(EventMask::IGNORED) {
                    self.watch = None;
                }
                happened.push(match event.name {
                    Some(name) if watches_folder => {
                        if event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
                            FolderEvent::Disappeared(name.to_owned())
                        } else {
                            FolderEvent::Appeared(name.to_owned())
                        }
                    }
                    _ => FolderEvent::Relist,
                });
            }
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
