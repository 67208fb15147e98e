//! A folder of manifests: `*.yaml`, `*.yml` and `*.json`, watched.
//!
//! A reading takes in every file of the folder that no program is in the middle of writing, and is itself done again
//! for the files that changed while it ran. It begins when the folder was quiet for [`QUIET`], so that one copy or
//! one save is one change, and at the latest after [`AT_MOST`].

mod files;
mod watch;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use podwitness_manifests::assemble;

use crate::delivered::Delivered;
use crate::{Fault, Update};
use files::Files;
use watch::{Happened, Watch};

/// The folder is read when nothing happened in it for this long.
const QUIET: Duration = Duration::from_millis(20);
/// It is read this long after the first of what happened, quiet or not.
const AT_MOST: Duration = Duration::from_millis(200);
/// It is read this often although nothing happened: a link may lead to files elsewhere.
const BACKSTOP: Duration = Duration::from_secs(5);
/// The same while it cannot be watched or listed.
const BACKSTOP_FAULTY: Duration = Duration::from_millis(250);

/// Why a folder cannot be a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder is not there or cannot be listed.
    #[error(
        "cannot read the folder {} of the cluster's objects: {source}; make it, or set source.directory to the one that has them",
        path.display()
    )]
    Folder {
        /// The folder as configured.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder cannot be watched.
    #[error(
        "cannot watch the folder {}: {source}; raise fs.inotify.max_user_instances and max_user_watches if they are used up",
        path.display()
    )]
    Watch {
        /// The folder as configured.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The thread, or the means to stop it, could not be made.
    #[error("cannot start the thread that reads the cluster's objects: {0}")]
    Thread(#[source] io::Error),
}

/// The source that reads a folder. It ends when this is dropped.
#[derive(Debug)]
pub struct DirectorySource {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl DirectorySource {
    /// Reads the folder and goes on following it, on a thread of its own.
    ///
    /// `deliver` is called on that thread: once with what is there at the start, and from then on each time the
    /// objects or the faults changed. Should the thread ever die, `deliver` is dropped with all that it holds, a
    /// channel's sender for example.
    pub fn start(folder: &Path, deliver: impl FnMut(Update) + Send + 'static) -> Result<Self, Error> {
        let fault = |source| Error::Watch { path: folder.to_owned(), source };
        list(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        let mut watch = Watch::open(folder.to_owned()).map_err(fault)?;
        watch.renew().map_err(fault)?;
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| Error::Thread(errno.into()))?;
        let stop = Arc::new(stop);
        let follower = Follower {
            folder: folder.to_owned(),
            watch,
            files: Files::new(folder.to_owned()),
            folder_fault: None,
            pending: None,
            backstop: Instant::now(),
            missed: false,
            delivered: Delivered::default(),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("source".to_owned())
            .spawn(move || follower.run(&stopped, deliver))
            .map_err(Error::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for DirectorySource {
    fn drop(&mut self) {
        self.stop.write(1).expect("an eventfd takes a one while its count is below 2^64 - 2");
        if let Some(thread) = self.thread.take() {
            // Its panic was already reported; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// Something happened that was not read yet.
struct Pending {
    first: Instant,
    last: Instant,
}

struct Follower {
    folder: PathBuf,
    watch: Watch,
    files: Files,
    folder_fault: Option<Fault>,
    pending: Option<Pending>,
    /// When the folder is read whatever happens.
    backstop: Instant,
    /// Whether a file that is there was never taken in.
    missed: bool,
    delivered: Delivered,
}

impl Follower {
    fn run(mut self, stop: &EventFd, mut deliver: impl FnMut(Update)) {
        loop {
            let now = Instant::now();
            if self.next_reading() <= now {
                let received = self.pending.take().map_or(now, |pending| pending.first);
                let read = self.read();
                self.backstop = now + if self.folder_fault.is_some() { BACKSTOP_FAULTY } else { BACKSTOP };
                if read && let Some(update) = self.update(received) {
                    deliver(update);
                }
            }
            if self.wait(stop) {
                return;
            }
            let now = Instant::now();
            let happened = self.watch.drain(now);
            self.note(&happened, now);
        }
    }

    fn note(&mut self, happened: &Happened, now: Instant) {
        if !happened.is_empty() {
            let first = self.pending.as_ref().map_or(now, |pending| pending.first);
            self.pending = Some(Pending { first, last: now });
        }
    }

    fn next_reading(&self) -> Instant {
        let backstop = self.backstop;
        self.pending
            .as_ref()
            .map_or(backstop, |pending| backstop.min(pending.last + QUIET).min(pending.first + AT_MOST))
    }

    /// Takes in the folder as it is now; false when all of it has to be read again first.
    fn read(&mut self) -> bool {
        let watched = self.watch.renew();
        let names = list(&self.folder);
        let error =
            watched.err().map(|error| format!("cannot watch the folder: {error}; it is read from time to time"));
        let names = match names {
            Ok(names) => {
                self.folder_fault = error.map(|message| self.fault(&message));
                names
            }
            Err(error) => {
                let message = format!(
                    "cannot read the folder: {error}; the cluster as it was read before stays in force until the folder is back"
                );
                self.folder_fault = Some(self.fault(&message));
                return true;
            }
        };

        let mut present = HashSet::new();
        let mut contents = Vec::new();
        for name in names {
            if !self.watch.is_being_written(&name) {
                match content_of(&self.folder.join(&name)) {
                    Ok(Some(bytes)) => contents.push((name.clone(), Ok(bytes))),
                    Ok(None) => continue,
                    Err(error) => contents.push((name.clone(), Err(error))),
                }
            }
            present.insert(name);
        }

        // What changed while it was read may have been read in the middle of a write, or in part before and in part
        // after a change to all: it is left for the next reading, which these events start.
        let now = Instant::now();
        let meanwhile = self.watch.drain(now);
        self.note(&meanwhile, now);
        if meanwhile.everything {
            return false;
        }
        for (name, content) in contents {
            if !meanwhile.files.contains(&name) {
                self.files.take(&name, content);
            }
        }
        self.missed = present.iter().any(|name| !self.files.has(name));
        present.extend(meanwhile.files);
        self.files.keep_only(&present);
        true
    }

    /// What is to be delivered, if it is anything new.
    fn update(&mut self, received: Instant) -> Option<Update> {
        let (cluster, duplicates) = assemble(self.files.objects().cloned());
        let mut faults: Vec<Fault> = self.folder_fault.iter().chain(self.files.faults()).cloned().collect();
        faults.extend(duplicates.into_iter().map(Fault::from));
        faults.sort();
        let complete = self.folder_fault.is_none() && !self.missed && self.files.are_current();
        self.delivered.update(Some(&cluster), faults, complete, received)
    }

    fn fault(&self, message: &str) -> Fault {
        Fault::of_file(&self.folder.display().to_string(), message)
    }

    /// Waits until something is to be done; true when that is to stop.
    fn wait(&self, stop: &EventFd) -> bool {
        let next = self.next_reading();
        let next = self.watch.next_given_up().map_or(next, |given_up| next.min(given_up));
        // Rounded up, so that it does not spin through the last millisecond.
        let milliseconds = next.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        let mut descriptors =
            [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(self.watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, timeout) {
            Ok(_) => descriptors[0].any().unwrap_or(false),
            Err(Errno::EINTR) => false,
            Err(errno) => panic!("poll on open descriptors fails only for want of memory: {errno}"),
        }
    }
}

/// Whether a file of this name is read: hidden ones and the temporary ones of editors are not.
fn is_manifest(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    !name.as_encoded_bytes().starts_with(b".") && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The names of the manifests in a folder, in order.
fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| is_manifest(name));
    names.sort();
    Ok(names)
}

/// What is in a file; none if it is no file, or no longer there.
fn content_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
