//! What discovery delivers.

use std::net::IpAddr;
use std::path::PathBuf;

/// A pod's network interface, seen from the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The namespace's file name in the watched folder. Where one namespace is mounted under several names, the
    /// first in order.
    pub name: String,
    /// The index of the veth's host side, in the agent's own namespace.
    pub interface: u32,
    /// The name of the veth's host side.
    pub interface_name: String,
    /// The addresses on the pod's side, link-local ones too, sorted. Empty while none is assigned yet.
    pub addresses: Vec<IpAddr>,
}

/// A pod's interface that has no host side to which a hook could be attached: its traffic is not enforced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unhooked {
    /// The namespace's file name in the watched folder.
    pub name: String,
    /// The interface's name inside the namespace.
    pub interface: String,
    /// The kernel's word for the kind of interface (`ipvlan`, `netkit`), or `device` for one that has none.
    pub kind: String,
    /// Why no hook can be attached, as one clause.
    pub reason: String,
}

/// Something that keeps discovery from seeing a namespace, or the folder as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The folder, or the file in it.
    pub path: PathBuf,
    /// What is wrong, and what to do where something can be done.
    pub message: String,
}

/// All that is known at one moment. Every list is sorted, so that equal states compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The interfaces that can be hooked.
    pub endpoints: Vec<Endpoint>,
    /// The interfaces that cannot.
    pub unhooked: Vec<Unhooked>,
    /// The addresses of the agent's own namespace, as [`host_addresses`](crate::host_addresses) gives them.
    pub host_addresses: Vec<IpAddr>,
    /// What could not be read. A namespace that was read before keeps what was last seen of it.
    pub faults: Vec<Fault>,
}
