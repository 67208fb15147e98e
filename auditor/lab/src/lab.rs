//! One lab: a node, its pods, and a folder for everything that a node has on disk.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::LabError;
use crate::isolate::{require_private_mounts, require_root};
use crate::netns::NetNs;
use crate::node::Node;
use crate::pod::PodSpec;
use crate::station::Station;

/// The name and the addresses of a lab's node.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// As in `spec.nodeName` of its pods.
    pub name: String,
    /// At most one of each family.
    pub addresses: Vec<IpAddr>,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            name: "node-a".into(),
            addresses: vec![
                Ipv4Addr::new(172, 30, 0, 2).into(),
                Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, 2).into(),
            ],
        }
    }
}

/// A node and a place for its pods. Whatever is made in it keeps it alive; with the last of them everything goes:
/// namespaces, interfaces, mounts and the folder.
#[derive(Debug)]
pub struct Lab {
    pub(crate) inner: Arc<Inner>,
}

/// A pod: a [`Station`] whose network namespace is where a container runtime would have put it.
#[derive(Debug)]
pub struct Pod {
    spec: PodSpec,
    station: Station,
    // Last, so that the folder outlives the namespace's mount in it.
    _lab: Arc<Inner>,
}

/// A host outside the cluster: a [`Station`] that no agent discovers.
#[derive(Debug)]
pub struct Outsider {
    station: Station,
    _lab: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) node: Arc<Node>,
    // After the node, whose namespace is bound in it.
    pub(crate) folder: Folder,
}

impl Lab {
    /// Makes a node with the default name and addresses.
    pub fn new() -> Result<Self, LabError> {
        Self::with_node(&NodeSpec::default())
    }

    /// Makes a node. Nothing of it is seen outside this process's mount namespace, which must not be the machine's.
    pub fn with_node(spec: &NodeSpec) -> Result<Self, LabError> {
        require_root()?;
        require_private_mounts()?;
        let folder = Folder::create()?;
        let node = Arc::new(Node::create(&spec.name, &spec.addresses, folder.path().join("node"))?);
        Ok(Self { inner: Arc::new(Inner { node, folder }) })
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.inner.node
    }

    /// Runs `work` on the node and waits for it: short for `node().run(..)`.
    pub fn on_node<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.inner.node.run(work)
    }

    /// The lab's folder: a tmpfs that only this process and its children see.
    pub fn path(&self) -> &Path {
        self.inner.folder.path()
    }

    /// Where the pods' network namespaces are bind-mounted, as under `/var/run/netns`.
    pub fn netns_path(&self) -> PathBuf {
        self.path().join(NETNS)
    }

    /// A BPF file system of the lab's own.
    pub fn bpffs_path(&self) -> PathBuf {
        self.path().join(BPFFS)
    }

    /// Where the Kubernetes objects of the lab's cluster are written.
    pub fn cluster_path(&self) -> PathBuf {
        self.inner.folder.cluster_path()
    }

    /// Makes a pod and wires it, in the order of a container runtime: first its network namespace, then the interface.
    pub fn pod(&self, spec: PodSpec) -> Result<Pod, LabError> {
        let at = self.netns_path().join(format!("{}_{}", spec.namespace, spec.name));
        let station = self.station(at, &spec.addresses)?;
        Ok(Pod { spec, station, _lab: Arc::clone(&self.inner) })
    }

    /// Makes a host outside the cluster, that the node routes to.
    pub fn outsider(&self, name: &str, addresses: &[IpAddr]) -> Result<Outsider, LabError> {
        let station = self.station(self.path().join(OUTSIDE).join(name), addresses)?;
        Ok(Outsider { station, _lab: Arc::clone(&self.inner) })
    }

    /// Takes the pod away: what its drop does, by name.
    pub fn remove(&self, pod: Pod) {
        drop(pod);
    }

    fn station(&self, at: PathBuf, addresses: &[IpAddr]) -> Result<Station, LabError> {
        Station::wire(Arc::clone(&self.inner.node), NetNs::create(at)?, addresses)
    }
}

impl Pod {
    /// What it was made from.
    pub fn spec(&self) -> &PodSpec {
        &self.spec
    }
}

impl Deref for Pod {
    type Target = Station;

    fn deref(&self) -> &Station {
        &self.station
    }
}

impl Deref for Outsider {
    type Target = Station;

    fn deref(&self) -> &Station {
        &self.station
    }
}

const NETNS: &str = "netns";
const OUTSIDE: &str = "outside";
const BPFFS: &str = "bpffs";
const CLUSTER: &str = "cluster";

/// The lab's folder: an empty temporary folder of the machine, with a tmpfs on it that holds everything. A process that
/// is killed leaves no more behind than that empty folder, because the kernel ends its mounts with it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    fn create() -> Result<Self, LabError> {
        let under = tempfile::Builder::new()
            .prefix("podwitness-lab-")
            .tempdir()
            .map_err(LabError::system("make a temporary folder"))?;
        // Kept, and removed by our own drop: `TempDir` would delete what is in it, and what is bound into a lab (the
        // programs, the evidence) is not the lab's to delete.
        let folder = Self { path: under.keep() };
        // Open to the exporter, which is another user; what lies under the mount is not.
        mount(Some("podwitness-lab"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .map_err(LabError::path_errno("mount a tmpfs on", folder.path()))?;
        for name in [NETNS, OUTSIDE, BPFFS, CLUSTER] {
            let path = folder.path().join(name);
            fs::create_dir(&path).map_err(LabError::path("create", &path))?;
        }
        let bpffs = folder.path().join(BPFFS);
        mount(Some("bpffs"), &bpffs, Some("bpf"), MsFlags::empty(), None::<&str>)
            .map_err(LabError::path_errno("mount a BPF file system on", &bpffs))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn cluster_path(&self) -> PathBuf {
        self.path.join(CLUSTER)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // With all that is mounted below it.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}
