//! Reads one namespace through its file, and lets go of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;

use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{FsType, fstatfs};

use crate::host::Host;
use crate::interfaces::{SortedOut, WayPast, sort_out};
use crate::netlink::{Client, NetlinkError};

/// The file system of mounted namespaces. (nix names it, but not for every C library.)
const NSFS: FsType = FsType(0x6e73_6673);

/// What a file in the folder turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// There is no such file any more.
    Gone,
    /// A folder, which is nobody's namespace.
    Folder,
    /// A file on which no namespace is mounted, or not yet.
    NotMounted,
    /// The agent's own namespace.
    Host,
    /// A pod's, or anybody else's.
    Pod(Pod),
}

/// A namespace that is not the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Identifies the namespace among those that live now.
    pub(crate) inode: u64,
    /// The id by which the agent's namespace knows it; events from inside carry it.
    pub(crate) id: Option<i32>,
    pub(crate) veths: Vec<HostVeth>,
    pub(crate) ways_past: Vec<WayPast>,
}

/// The host's side of a pod's veth, with the pod side's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostVeth {
    pub(crate) interface: u32,
    pub(crate) interface_name: String,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Why a namespace cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot open it: {0}")]
    Open(#[source] io::Error),
    #[error("cannot enter it: {0}; the agent needs CAP_SYS_ADMIN for that")]
    Enter(#[source] io::Error),
    #[error("cannot start a thread to read it: {0}")]
    Thread(#[source] io::Error),
    #[error("cannot read its interfaces: {0}")]
    Inside(#[source] NetlinkError),
    #[error("cannot read the host's side of its interfaces: {0}")]
    Outside(#[source] NetlinkError),
}

/// Reads what is at `path`. Nothing refers to the namespace when this returns.
pub(crate) fn read(path: &Path, host: &mut Host) -> Result<Reading, ReadError> {
    // Non-blocking, because a named pipe in the folder would wait for a writer.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Gone),
        Err(error) => return Err(ReadError::Open(error)),
    };
    let metadata = file.metadata().map_err(ReadError::Open)?;
    if metadata.is_dir() {
        return Ok(Reading::Folder);
    }
    if fstatfs(&file).map_err(|errno| ReadError::Open(errno.into()))?.filesystem_type() != NSFS {
        return Ok(Reading::NotMounted);
    }
    let inode = metadata.ino();
    if host.is(inode) {
        return Ok(Reading::Host);
    }

    let inside = read_inside(&file, host.descriptor())?;
    let client = &mut host.client;
    let mut veths = Vec::with_capacity(inside.veths.len());
    for veth in inside.veths {
        // Absent when the pair was deleted since: then it is no endpoint either.
        if let Some(link) = client.link(veth.host_interface).map_err(ReadError::Outside)? {
            veths.push(HostVeth { interface: link.index, interface_name: link.name, addresses: veth.addresses });
        }
    }
    let id = client.namespace_id(file.as_fd()).map_err(ReadError::Outside)?;
    Ok(Reading::Pod(Pod { inode, id, veths, ways_past: inside.ways_past }))
}

/// Enters the namespace on a thread of its own, which ends in there.
fn read_inside(namespace: &File, host: BorrowedFd<'_>) -> Result<SortedOut, ReadError> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("read-netns".to_owned())
            .spawn_scoped(scope, || {
                setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| ReadError::Enter(errno.into()))?;
                ask_inside(host).map_err(ReadError::Inside)
            })
            .map_err(ReadError::Thread)?
            .join()
            .expect("the thread reads and returns, and has nothing that panics")
    })
}

fn ask_inside(host: BorrowedFd<'_>) -> Result<SortedOut, NetlinkError> {
    let mut client = Client::open()?;
    let links = client.links()?;
    let addresses = client.addresses()?;
    // After the links: the kernel gives the host's namespace its id in here when it first has to name it.
    let host = client.namespace_id(host)?;
    Ok(sort_out(&links, &addresses, host))
}
