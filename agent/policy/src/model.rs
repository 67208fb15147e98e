//! The objects of a cluster that a policy decision depends on, already validated.

mod claims;
mod collection;
mod name;
mod objects;
mod policy;
mod selector;
mod services;
mod sharing;
mod text;
mod trail;

pub use claims::PodsOfNode;
pub(crate) use claims::newest;
pub use collection::{Named, Objects};
pub use name::ObjectName;
pub use objects::{Cluster, Labels, NamedPort, Namespace, Node, Phase, Pod};
pub use policy::{IpBlock, NetworkPolicy, Peer, Peers, PortMatch, PortRange, Ports, Protocol, Rule};
pub use selector::{LabelSelector, Operator, Requirement, Values};
pub use services::{EndpointSlice, Service, ServicePort, SliceEndpoint, SlicePort};
pub use sharing::Sharing;
pub use text::PolicyText;
pub use trail::{AuditTrail, ExternalAddresses, WitnessMode};
