//! Pods as network namespaces, on one machine: for the demo, and for the tests.
//!
//! A [`Lab`] is one node of a cluster. The node is a network namespace that routes; each [`Pod`] is a network namespace
//! wired to it with a veth pair, as the CNI plugin `ptp` does it, and bind-mounted in a folder where an agent discovers
//! it; an [`Outsider`] is a host beyond the cluster. [`Cluster`] writes the same pods as Kubernetes objects,
//! [`Services`] translates Services' addresses on the node as kube-proxy does it, and [`Installation`] runs the two node programs on the node as a cluster would. [`NetNs`] has the traffic: servers, and
//! probes that say what became of them.
//!
//! # What is touched, and what is not
//!
//! - The process and its threads stay in the network namespace that they are in. What acts on the node or in a pod runs
//!   on a thread made for it ([`Node::run`], [`NetNs::run`]), or as a command that enters before it is executed
//!   ([`Node::command`], [`NetNs::command`]). So several labs live in one process, in parallel tests.
//! - A lab mounts things: a tmpfs that holds its whole folder, a BPF file system, and the network namespaces. It refuses
//!   to do so where the machine would see it. A program calls [`isolate`] first thing in `main`; tests are run under
//!   `unshare --net --mount`.
//! - Everything goes on drop. A process that is killed leaves an empty temporary folder: its namespaces and mounts end
//!   with it, and the kernel kills the programs that it started.

mod cluster;
mod error;
mod installation;
mod ip;
mod isolate;
mod lab;
mod netns;
mod nft;
mod node;
mod pod;
mod program;
mod services;
mod settle;
mod station;
mod traffic;

pub use cluster::{Backend, Cluster, Group};
pub use error::LabError;
pub use installation::{Installation, Programs};
pub use isolate::{isolate, require_root};
pub use lab::{Lab, NodeSpec, Outsider, Pod};
pub use netns::NetNs;
pub use node::Node;
pub use pod::{NamedPort, PodSpec};
pub use program::Program;
pub use services::Services;
pub use station::{HostInterface, Station};
pub use traffic::{Attempt, Conversation, Outcome, Server};
