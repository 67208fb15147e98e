//! The agent's own namespace: its descriptor, its interfaces and addresses.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use crate::Error;
use crate::netlink::{Client, NetlinkError};

/// The interface on which kube-proxy in IPVS mode puts every Service's address. Those are not the node's: a packet to
/// one goes on to a pod, and to treat it as traffic with the node would let it past policy.
const IPVS_SERVICES: &str = "kube-ipvs0";

/// The agent's own network namespace, and a client in it.
pub(crate) struct Host {
    namespace: File,
    inode: u64,
    pub(crate) client: Client,
}

impl Host {
    /// The calling thread's namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        let namespace = File::open("/proc/thread-self/ns/net").map_err(Error::OwnNamespace)?;
        let inode = namespace.metadata().map_err(Error::OwnNamespace)?.ino();
        let client = Client::open().map_err(|error| Error::Netlink(error.into()))?;
        Ok(Self { namespace, inode, client })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    pub(crate) fn is(&self, inode: u64) -> bool {
        self.inode == inode
    }

    pub(crate) fn addresses(&mut self) -> Result<Vec<IpAddr>, NetlinkError> {
        addresses(&mut self.client)
    }
}

/// The addresses of the interfaces in the caller's network namespace, sorted: all but those of loopback
/// interfaces, and those of Services that kube-proxy's IPVS mode keeps on an interface of the node.
pub fn host_addresses() -> Result<Vec<IpAddr>, Error> {
    let mut client = Client::open().map_err(|error| Error::Netlink(error.into()))?;
    addresses(&mut client).map_err(|error| Error::Netlink(error.into()))
}

fn addresses(client: &mut Client) -> Result<Vec<IpAddr>, NetlinkError> {
    // Addresses first: one that comes in between is then left out until the next reading, which its event starts,
    // while an interface that is not known yet could be one of those to leave out.
    let addresses = client.addresses()?;
    let links = client.links()?;
    let mut kept: Vec<IpAddr> = addresses
        .into_iter()
        .filter(|address| {
            links.iter().any(|link| link.index == address.interface && !link.loopback && link.name != IPVS_SERVICES)
        })
        .map(|address| address.ip)
        .collect();
    kept.sort_unstable();
    kept.dedup();
    Ok(kept)
}
