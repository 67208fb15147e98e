//! Namespaces, pods and nodes.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use ipnet::IpNet;

use super::{
    AuditTrail, EndpointSlice, Labels, NetworkPolicy, NodeName, ObjectName, Objects, PodAddresses, Protocol, Service,
    Uid,
};

/// Everything about a cluster that a policy decision or the identity of an address depends on. A clone costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The namespaces by name. A pod's namespace that is missing here has no labels that could be known, so that no
    /// namespace selector matches it, not even an empty one.
    pub namespaces: Objects<Namespace>,
    /// The pods of all nodes, those that have ended too.
    pub pods: Objects<Pod>,
    /// The policies of all namespaces.
    pub policies: Objects<NetworkPolicy>,
    /// The nodes by name.
    pub nodes: Objects<Node>,
    /// The Services of all namespaces.
    pub services: Objects<Service>,
    /// The `EndpointSlice`s of all namespaces.
    pub endpoint_slices: Objects<EndpointSlice>,
    /// The `AuditTrail` called `default` of each namespace that has one, by namespace.
    pub trails: Objects<AuditTrail>,
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, `kubernetes.io/metadata.name` among them, which the API server sets on every namespace.
    pub labels: Labels,
    /// Its uid; empty where the source has none.
    pub uid: Uid,
}

/// A Pod. What many pods have in common a source shares between them ([`Sharing`](super::Sharing)).
///
/// There are ten thousand of them in a large cluster, and little else that there are so many of: each field is as small as
/// it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace and name, which the tables share with it.
    pub name: ObjectName,
    /// Its uid; empty where the source has none.
    pub uid: Uid,
    /// What it has in common with those that were made alike.
    pub template: Arc<PodTemplate>,
    /// `status.podIPs`: none until the pod's network is set up, one a family after that. For a pod on the host's network
    /// these are the node's.
    pub addresses: PodAddresses,
    /// `spec.nodeName`, once it is scheduled.
    pub node: Option<NodeName>,
    /// Whether the pod uses the network of its node. Such a pod is selected by nothing: it is a peer by its node's address.
    pub host_network: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether it is being deleted (`metadata.deletionTimestamp` is set): its address may be another's already.
    pub is_being_deleted: bool,
    /// `metadata.creationTimestamp` in seconds since 1970 (UTC), or the nearest that there can be (from 1970 to 2106);
    /// `None` where the source has none.
    pub created: Option<NonZeroU32>,
}

/// What the replicas of a workload have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodTemplate {
    /// `metadata.labels`.
    pub labels: Labels,
    /// The ports of the containers that have a name.
    pub ports: Box<[NamedPort]>,
    /// `spec.serviceAccountName`; empty where the source has none.
    pub service_account: Arc<str>,
    /// The kind of what made the pod, for example `Deployment`; `None` for a pod that nothing made.
    pub workload_kind: Option<Arc<str>>,
    /// The name of what made the pod.
    pub workload: Option<Arc<str>>,
}

impl Pod {
    /// Whether the pod has an address of its own now: policies select it, and selectors of peers match it. Pods on the
    /// host's network do not, and neither do pods that have ended, whose addresses may be another's already.
    pub fn is_on_pod_network(&self) -> bool {
        !self.host_network && !self.phase.is_terminated()
    }
}

/// The phase of a pod's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Accepted, but not all containers run yet.
    Pending,
    /// At least one container runs, starts or restarts.
    Running,
    /// All containers ended well, and will not be restarted.
    Succeeded,
    /// All containers ended, at least one of them badly.
    Failed,
    /// The state could not be obtained, or none was given.
    Unknown,
}

impl Phase {
    /// Whether the pod has ended for good.
    pub fn is_terminated(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A container's port that has a name, to which a policy may refer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// The protocol; `TCP` where the container says none.
    pub protocol: Protocol,
    /// The number on the pod's own address.
    pub port: NonZeroU16,
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The addresses in `status.addresses` (host names left out).
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`: the ranges that its pods get addresses from; empty where the CNI does not use them.
    pub pod_cidrs: Vec<IpNet>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_a_block_of_96_bytes() {
        // With two counts and a word of the allocator before it, which the allocator rounds up to a multiple of 16.
        assert_eq!(size_of::<Pod>(), 72);
    }
}
