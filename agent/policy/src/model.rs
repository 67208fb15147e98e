//! The objects of a cluster that a policy decision depends on, already validated.

mod claims;
mod collection;
mod labels;
mod name;
mod objects;
mod pod_addresses;
mod policy;
mod selector;
mod services;
mod sharing;
mod text;
mod trail;
mod uid;

pub use claims::PodsOfNode;
pub(crate) use claims::{claims, newest};
pub use collection::{Named, Objects};
pub use labels::Labels;
pub use name::{NodeName, ObjectName};
pub use objects::{Cluster, NamedPort, Namespace, Node, Phase, Pod, PodTemplate};
pub use pod_addresses::PodAddresses;
pub use policy::{IpBlock, NetworkPolicy, Peer, Peers, PortMatch, PortRange, Ports, Protocol, Rule};
pub use selector::{LabelSelector, Operator, Requirement, Values};
pub use services::{EndpointSlice, Service, ServicePort, SliceEndpoint, SlicePort};
pub use sharing::Sharing;
pub use text::PolicyText;
pub use trail::{AuditTrail, ExternalAddresses, WitnessMode};
pub use uid::Uid;
