//! What changes in the folder, by file name.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

use super::is_manifest;

/// Room for some hundred events.
const EVENTS: usize = 32 * 1024;
/// A file that a program changed and keeps open is taken as it is after this long without a change.
const WRITER_GONE: Duration = Duration::from_secs(5);

/// What happened since the last time.
#[derive(Debug, Default)]
pub(super) struct Happened {
    /// The files that came, went or changed.
    pub(super) files: HashSet<OsString>,
    /// Something that may concern every file: a `ConfigMap`'s swap, the folder itself, events lost.
    pub(super) everything: bool,
}

impl Happened {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.everything
    }
}

/// The watch on the folder, and on the one above it, through which the folder's own coming and going shows, and
/// a symbolic link being pointed elsewhere.
pub(super) struct Watch {
    path: PathBuf,
    inotify: Inotify,
    folder: Option<WatchDescriptor>,
    parent: Option<WatchDescriptor>,
    /// The files that are being written, with the time of their last change. One that is closed, moved or deleted
    /// is none of them.
    written: HashMap<OsString, Instant>,
    buffer: Vec<u8>,
}

impl Watch {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            path,
            inotify: Inotify::init()?,
            folder: None,
            parent: None,
            written: HashMap::new(),
            buffer: vec![0; EVENTS],
        })
    }

    /// Makes sure that what is at the path now is watched: it may have been replaced, or mounted over.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        let parent = match self.path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
            other => other,
        };
        let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::DELETE | WatchMask::MOVED_FROM;
        // Without it the folder is looked for from time to time, which does as well, only later.
        let parent = parent.and_then(|parent| self.inotify.watches().add(parent, mask | WatchMask::ONLYDIR).ok());
        replace(&mut self.inotify, &mut self.parent, parent);

        let mask = mask
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let folder = self.inotify.watches().add(&self.path, mask);
        let watched = folder.as_ref().ok().cloned();
        if watched != self.folder {
            // Who writes in another folder was not seen to begin.
            self.written.clear();
        }
        replace(&mut self.inotify, &mut self.folder, watched);
        folder.map(drop)
    }

    /// Whether a program has begun to change this file and not ended.
    pub(super) fn is_being_written(&self, name: &OsStr) -> bool {
        self.written.contains_key(name)
    }

    /// When the next of the files being written is taken as it is.
    pub(super) fn next_given_up(&self) -> Option<Instant> {
        self.written.values().min().map(|changed| *changed + WRITER_GONE)
    }

    /// All that happened since the last call.
    pub(super) fn drain(&mut self, now: Instant) -> Happened {
        let mut happened = Happened::default();
        self.written.retain(|name, changed| {
            let waits = now < *changed + WRITER_GONE;
            if !waits {
                happened.files.insert(name.clone());
            }
            waits
        });
        loop {
            let events = match self.inotify.read_events(&mut self.buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return happened,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    happened.everything = true;
                    return happened;
                }
            };
            for event in events {
                let mask = event.mask;
                if mask.contains(EventMask::Q_OVERFLOW) {
                    // Some file may have been closed since.
                    self.written.clear();
                    happened.everything = true;
                } else if self.folder.as_ref() == Some(&event.wd) {
                    match event.name {
                        None => happened.everything = true,
                        Some(name) if is_manifest(name) => {
                            if mask.contains(EventMask::MODIFY) {
                                self.written.insert(name.to_owned(), now);
                            } else if !mask.contains(EventMask::CREATE) {
                                self.written.remove(name);
                            }
                            happened.files.insert(name.to_owned());
                        }
                        // `..data`, through which the files of a ConfigMap lead.
                        Some(name) => happened.everything |= name.as_encoded_bytes().starts_with(b".."),
                    }
                } else if self.parent.as_ref() == Some(&event.wd) {
                    happened.everything |= event.name.is_some() && event.name == self.path.file_name();
                }
            }
        }
    }
}

/// Watches `new` in place of `old`.
fn replace(inotify: &mut Inotify, old: &mut Option<WatchDescriptor>, new: Option<WatchDescriptor>) {
    if *old != new
        && let Some(old) = std::mem::replace(old, new)
    {
        // It fails when the kernel ended that watch itself, which is as good.
        let _ = inotify.watches().remove(old);
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
