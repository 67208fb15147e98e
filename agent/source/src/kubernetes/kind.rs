//! The kinds of objects that are followed.

use podwitness_policy::{Cluster, Objects};

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Namespace,
    Pod,
    NetworkPolicy,
    Service,
    EndpointSlice,
    Node,
    AuditTrail,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Namespace,
        Self::Pod,
        Self::NetworkPolicy,
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
        Self::AuditTrail,
    ];

    /// `kind`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
            Self::AuditTrail => "AuditTrail",
        }
    }

    /// The API group, which is empty for the core one.
    pub(crate) fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// `apiVersion`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::Pod | Self::Service | Self::Node => "v1",
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::AuditTrail => "podwitness.io/v1alpha1",
        }
    }

    /// What it is called in paths and in RBAC rules.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Pod => "pods",
            Self::NetworkPolicy => "networkpolicies",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Node => "nodes",
            Self::AuditTrail => "audittrails",
        }
    }

    /// The path of all its objects, those of all namespaces.
    pub(crate) fn path(self) -> String {
        let api = if self.group().is_empty() { "api" } else { "apis" };
        format!("/{api}/{}/{}", self.api_version(), self.resource())
    }

    /// Where objects of this kind stand in a cluster, exchanged between two of them.
    pub(crate) fn exchange(self, one: &mut Cluster, other: &mut Cluster) {
        fn swap<T>(one: &mut Objects<T>, other: &mut Objects<T>) {
            std::mem::swap(one, other);
        }
        match self {
            Self::Namespace => swap(&mut one.namespaces, &mut other.namespaces),
            Self::Pod => swap(&mut one.pods, &mut other.pods),
            Self::NetworkPolicy => swap(&mut one.policies, &mut other.policies),
            Self::Service => swap(&mut one.services, &mut other.services),
            Self::EndpointSlice => swap(&mut one.endpoint_slices, &mut other.endpoint_slices),
            Self::Node => swap(&mut one.nodes, &mut other.nodes),
            Self::AuditTrail => swap(&mut one.trails, &mut other.trails),
        }
    }
}
