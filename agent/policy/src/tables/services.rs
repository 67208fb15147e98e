//! Services in the tables: what the hook of a client's pod sees before a Service's address is translated.

use std::net::IpAddr;

use crate::model::{ObjectName, Protocol};

/// Through how many frontends a backend may be reached, at most, for its own hook to tell which of them a packet came
/// through. A backend with more has no entry in [`Tables::backends`](super::Tables::backends).
pub const MOST_FRONTENDS: usize = 8;

/// An address and port at which this node translates connections to a Service's backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// A Service's own address, or one of this node's where it is a node port.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port, not 0.
    pub port: u16,
}

/// An address and port that answers for a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// Its own address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The target port, not 0.
    pub port: u16,
}

/// What is behind a frontend, as far as the decision depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTarget {
    /// The Service.
    pub service: ObjectName,
    /// The class under which its entries stand; 0 where [`kind`](Self::kind) says that there are none.
    pub class: u32,
    /// The port under which its entries stand.
    pub port: u16,
    /// How to decide.
    pub kind: ServiceKind,
}

/// How connections of an isolated pod to a frontend are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// All backends have one class and one target port: the entries of that class and port decide, and then those for everybody, as
    /// for a connection without a Service.
    Alike,
    /// The backends differ: the class is the Service's own, which no address has, and its entries alone decide. Without one, no
    /// backend is allowed.
    Own,
    /// Every backend is an address of this node: always allowed, also for a pod that is not isolated.
    Node,
    /// There is no backend: denied.
    Empty,
}

/// What becomes of a connection that a [`PortEntry`](super::PortEntry) is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortOutcome {
    /// It is allowed.
    Allowed,
    /// Some backends of a Service are allowed and others are not, and each of the others is an endpoint of this node
    /// that is in [`Tables::backends`](super::Tables::backends): the packet passes, and the hook of the backend that it
    /// gets to decides.
    Deferred,
    /// Some backends of a Service are allowed and others are not, and nobody could decide where the backend and the client are
    /// both known: it is denied.
    MixedDenied,
}
