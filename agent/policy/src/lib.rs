//! NetworkPolicy (`networking.k8s.io/v1`): our own model of it, a slow evaluator that says what it means, and the compiler
//! that turns it into the tables by which the kernel decides.
//!
//! The crate knows nothing of Kubernetes clients, of BPF maps or of evidence files: objects come in as [`Cluster`], and
//! [`Tables`] go out, in which identities and rule sets are still names. [`evaluate`] is written for reading, from
//! the API's text; [`compile`] is written for the kernel; a property test holds the one against the other.
//!
//! What holds everywhere:
//!
//! - A policy that cannot be understood never makes a pod more open: it isolates, and what is unusable in it allows nothing.
//! - Every answer names all the rules that gave it, or all the policies whose isolation did.
//! - The same input gives the same output, byte for byte, whatever the order of insertion.
#![forbid(unsafe_code)]

mod compile;
mod evaluate;
#[cfg(any(test, feature = "generate"))]
pub mod generate;
mod model;
mod revision;
mod rule_set;
mod tables;

pub use compile::{Changed, Compiler, Endpoint, Input, compile};
pub use evaluate::{
    Evaluation, Resolution, ServiceEvaluation, ServiceOutcome, ServiceVerdict, Subject, evaluate, evaluate_service,
};
pub use model::{
    AuditTrail, Cluster, EndpointSlice, ExternalAddresses, IpBlock, LabelSelector, Labels, Named, NamedPort, Namespace,
    NetworkPolicy, Node, NodeName, ObjectName, Objects, Operator, Peer, Peers, Phase, Pod, PodAddresses, PodTemplate,
    PodsOfNode, PolicyText, PortMatch, PortRange, Ports, Protocol, Requirement, Rule, Service, ServicePort, Sharing,
    SliceEndpoint, SlicePort, Uid, Values, WitnessMode,
};
pub use podwitness_wire::Direction;
pub use revision::policy_sha256;
pub use rule_set::{PolicyRule, RuleSet};
pub use tables::{
    Address, Backend, Decision, EndpointTable, Frontend, IdentityRef, MOST_FRONTENDS, PortEntry, PortOutcome,
    ServiceKind, ServiceTarget, Side, Tables,
};

#[cfg(test)]
mod api_rules;
#[cfg(test)]
mod compiled_equals_evaluated;
#[cfg(test)]
mod followed_equals_compiled;
