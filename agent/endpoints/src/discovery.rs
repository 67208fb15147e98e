//! The thread that watches, reads and delivers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::Error;
use crate::folder::{Folder, FolderError, FolderEvent};
use crate::host::Host;
use crate::monitor::{Change, Monitor};
use crate::namespace;
use crate::snapshot::{Fault, Snapshot};
use crate::table::Table;

/// How often the folder is listed although nothing said that it changed.
const RELIST: Duration = Duration::from_secs(10);
/// The same while something about it is wrong.
const RELIST_FAULTY: Duration = Duration::from_secs(1);

/// Where to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder in which the container runtime mounts network namespaces (`endpoints.netns`).
    pub netns: PathBuf,
}

/// Endpoint discovery, running. It ends when this is dropped.
#[derive(Debug)]
pub struct Discovery {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Discovery {
    /// Starts discovery in the calling thread's network namespace, on a thread of its own.
    ///
    /// `deliver` is called on that thread: once with what is there at the start, be it nothing, and from then on
    /// each time something changed. It should be quick, since nothing is discovered meanwhile. Should the thread
    /// ever die, `deliver` is dropped with all that it holds, a channel's sender for example.
    pub fn start(options: Options, deliver: impl FnMut(Snapshot) + Send + 'static) -> Result<Self, Error> {
        let host = Host::open()?;
        let monitor = Monitor::open().map_err(Error::Netlink)?;
        let folder = Folder::open(options.netns.clone()).map_err(Error::Inotify)?;
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| Error::Thread(errno.into()))?;
        let stop = Arc::new(stop);
        let worker = Worker {
            host,
            monitor,
            folder,
            table: Table::new(options.netns.clone()),
            path: options.netns,
            relist_at: Instant::now(),
            folder_fault: None,
            host_addresses: Vec::new(),
            host_addresses_stale: true,
            host_fault: None,
            delivered: None,
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("endpoints".to_owned())
            .spawn(move || worker.run(&stopped, deliver))
            .map_err(Error::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop.write(1).expect("an eventfd takes a one while its count is below 2^64 - 2");
        if let Some(thread) = self.thread.take() {
            // Its panic was already reported; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

struct Worker {
    host: Host,
    monitor: Monitor,
    folder: Folder,
    table: Table,
    path: PathBuf,
    relist_at: Instant,
    folder_fault: Option<Fault>,
    host_addresses: Vec<IpAddr>,
    host_addresses_stale: bool,
    host_fault: Option<Fault>,
    delivered: Option<Snapshot>,
}

impl Worker {
    fn run(mut self, stop: &EventFd, mut deliver: impl FnMut(Snapshot)) {
        loop {
            let now = Instant::now();
            if self.relist_at <= now {
                self.relist(now);
            }
            if self.host_addresses_stale {
                self.read_host_addresses();
            }
            let host = &mut self.host;
            self.table.read_due(now, |path| namespace::read(path, host));

            let faults = self.folder_fault.iter().chain(&self.host_fault).cloned().collect();
            let snapshot = self.table.snapshot(self.host_addresses.clone(), faults, now);
            if self.delivered.as_ref() != Some(&snapshot) {
                self.delivered = Some(snapshot.clone());
                deliver(snapshot);
            }

            if self.wait(stop) {
                return;
            }
            self.take_events();
        }
    }

    fn relist(&mut self, now: Instant) {
        // Watched before it is listed: what comes in between is then seen twice, not never. One that cannot be
        // watched is listed all the same.
        let watched = self.folder.watch();
        let listed = self.folder.list();
        let fault = match listed {
            Ok(names) => {
                self.table.listed(names, now);
                watched.err()
            }
            Err(error) => {
                if matches!(error, FolderError::Missing) {
                    self.table.listed(BTreeSet::new(), now);
                }
                Some(error)
            }
        };
        self.folder_fault = fault.map(|error| Fault { path: self.path.clone(), message: error.to_string() });
        self.relist_at = now + if self.folder_fault.is_some() { RELIST_FAULTY } else { RELIST };
    }

    fn read_host_addresses(&mut self) {
        match self.host.addresses() {
            Ok(addresses) => {
                self.host_addresses = addresses;
                self.host_addresses_stale = false;
                self.host_fault = None;
            }
            Err(error) => {
                self.host_fault = Some(Fault {
                    path: PathBuf::from("/proc/self/ns/net"),
                    message: format!("cannot read the node's own addresses: {error}; those read before are kept"),
                });
            }
        }
    }

    /// Waits until something is to be done; true when that is to stop.
    fn wait(&self, stop: &EventFd) -> bool {
        let next = self.table.next_due().map_or(self.relist_at, |due| due.min(self.relist_at));
        let mut pause = next.saturating_duration_since(Instant::now());
        if self.host_addresses_stale {
            pause = pause.min(RELIST_FAULTY);
        }
        // Rounded up, so that it does not spin through the last millisecond.
        let milliseconds = pause.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.folder.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut descriptors, timeout) {
            Ok(_) => descriptors[0].any().unwrap_or(false),
            Err(Errno::EINTR) => false,
            Err(errno) => panic!("poll on open descriptors fails only for want of memory: {errno}"),
        }
    }

    fn take_events(&mut self) {
        let now = Instant::now();
        for event in self.folder.drain() {
            match event {
                FolderEvent::Appeared(name) => self.table.appeared(name, now),
                FolderEvent::Disappeared(name) => self.table.disappeared(&name),
                FolderEvent::Relist => self.relist_at = now,
            }
        }
        for change in self.monitor.drain() {
            self.host_addresses_stale |= matches!(change, Change::Address | Change::Lost);
            self.table.changed(change, now);
        }
    }
}
