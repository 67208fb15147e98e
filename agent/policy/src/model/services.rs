//! Services, and who answers for them.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::{NodeName, ObjectName, Protocol, Uid};

/// A Service. One that is headless or of type `ExternalName` has no addresses and no node ports: its name alone is
/// resolved, to addresses that packets then carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its namespace and name.
    pub name: ObjectName,
    /// Its uid; empty where the source has none.
    pub uid: Uid,
    /// `spec.clusterIPs`, one a family at most.
    pub cluster_addresses: Vec<IpAddr>,
    /// `spec.externalIPs`, and the addresses of `status.loadBalancer.ingress` that the node itself translates (whose
    /// `ipMode` is not `Proxy`).
    pub external_addresses: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Arc<[ServicePort]>,
    /// Whether `spec.internalTrafficPolicy` is `Local`: connections to a cluster address go to backends on the client's
    /// own node alone.
    ///
    /// Neither this nor `externalTrafficPolicy` holds for a pod's connections to the other addresses and to node ports: these
    /// go to all backends (`kube-proxy` treats what local pods send there as if it had gone out and come in again).
    pub internal_traffic_local: bool,
}

impl Service {
    /// Whether nodes translate connections of the address's family to the Service: they do where the Service has a cluster
    /// address of that family.
    pub(crate) fn serves_family_of(&self, address: IpAddr) -> bool {
        self.cluster_addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4())
    }
}

/// An entry of `spec.ports` of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// The name, which the backends' ports refer to; empty where there is one port and it has none.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on the Service's addresses.
    pub port: NonZeroU16,
    /// The port on each node's addresses, where there is one.
    pub node_port: Option<NonZeroU16>,
}

/// An `EndpointSlice`: some of a Service's backends, of one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Its namespace and name.
    pub name: ObjectName,
    /// The Service of the same namespace that it belongs to (the label `kubernetes.io/service-name`).
    pub service: Option<Arc<str>>,
    /// The ports that each of its endpoints has.
    pub ports: Arc<[SlicePort]>,
    /// The addresses of its endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// An entry of `ports` of an `EndpointSlice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlicePort {
    /// The name of the Service's port that it stands for.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The number on the endpoints' own addresses.
    pub port: NonZeroU16,
}

/// An address of an entry of `endpoints` of an `EndpointSlice`. `kube-proxy` uses the first of an entry alone; others are
/// taken as backends too, because somebody may use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// The address.
    pub address: IpAddr,
    /// Whether it takes new connections.
    pub ready: bool,
    /// Whether it still answers, be it terminating or not.
    pub serving: bool,
    /// Whether it is being shut down.
    pub terminating: bool,
    /// The node it is on, where it is on one.
    pub node: Option<NodeName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_a_slice_takes_32_bytes() {
        // There are two for each pod.
        assert_eq!(size_of::<SliceEndpoint>(), 32);
    }
}
