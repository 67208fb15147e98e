//! What a text holds.

use std::fmt;

use podwitness_policy::{AuditTrail, EndpointSlice, Namespace, NetworkPolicy, Node, ObjectName, Pod, Service};
use serde_json::Value;

use crate::fault::{Fault, Place};

/// What was read from a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// The objects that can be used, in the order of the text; the items of a `List` each on its own.
    pub objects: Vec<Document>,
    /// What is wrong with these and with others, in the order of the text.
    pub faults: Vec<Fault>,
}

/// One object and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it was read.
    pub place: Place,
    /// The object.
    pub object: Object,
}

/// An object of a kind that the node programs read.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `v1` `Namespace`.
    Namespace(Namespace),
    /// `v1` `Pod`.
    Pod(Pod),
    /// `networking.k8s.io/v1` `NetworkPolicy`.
    NetworkPolicy(NetworkPolicy),
    /// `v1` `Node`.
    Node(Node),
    /// `v1` `Service`.
    Service(Service),
    /// `discovery.k8s.io/v1` `EndpointSlice`.
    EndpointSlice(EndpointSlice),
    /// `podwitness.io/v1alpha1` `AuditTrail`.
    AuditTrail(AuditTrail),
}

/// What tells one object from another; shown as `Kind namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`; `None` for a kind that is in no namespace, or where it is not known.
    pub namespace: Option<String>,
    /// `metadata.name`; empty where it is not known.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace.iter().flat_map(|namespace| [namespace.as_str(), "/"]).collect::<String>();
        let name = if self.name.is_empty() { "without a name" } else { &self.name };
        write!(formatter, "{} {namespace}{name}", self.kind)
    }
}

impl ObjectKey {
    pub(crate) fn namespaced(kind: &str, name: &ObjectName) -> Self {
        Self { kind: kind.to_owned(), namespace: Some(name.namespace().to_owned()), name: name.name().to_owned() }
    }

    pub(crate) fn cluster_wide(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: None, name: name.to_owned() }
    }

    /// The key of an object as it was written, as far as it has one.
    pub(crate) fn of_value(kind: &str, value: &Value) -> Self {
        let field = |name: &str| value["metadata"][name].as_str();
        Self {
            kind: kind.to_owned(),
            namespace: field("namespace").map(str::to_owned),
            name: field("name").unwrap_or_default().to_owned(),
        }
    }
}

impl Object {
    /// What tells it from others.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Namespace(namespace) => ObjectKey::cluster_wide("Namespace", &namespace.name),
            Self::Pod(pod) => ObjectKey::namespaced("Pod", &pod.name),
            Self::NetworkPolicy(policy) => ObjectKey::namespaced("NetworkPolicy", &policy.name),
            Self::Node(node) => ObjectKey::cluster_wide("Node", &node.name),
            Self::Service(service) => ObjectKey::namespaced("Service", &service.name),
            Self::EndpointSlice(slice) => ObjectKey::namespaced("EndpointSlice", &slice.name),
            Self::AuditTrail(trail) => ObjectKey::namespaced("AuditTrail", &trail.name),
        }
    }
}
