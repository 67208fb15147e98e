//! Where the cluster's objects come from.
//!
//! A source follows the objects wherever they are kept, and delivers an [`Update`] with the complete cluster
//! whenever it changed. What uses the cluster sees nothing of where it came from: an API server ([`KubernetesSource`])
//! or a folder of manifests ([`DirectorySource`]).
//!
//! Invariants:
//!
//! - An update is the whole cluster as it was at one moment, never a difference.
//! - What cannot be read or used is named in the update's faults and nothing else suffers from it.
//! - Objects go when their source says so (a file is deleted), and never because it failed.
#![forbid(unsafe_code)]

mod delivered;
mod directory;
mod kubernetes;
mod update;

pub use directory::{DirectorySource, Error};
pub use kubernetes::{ApiServer, ConnectError, KubernetesSource};
pub use podwitness_manifests::Effect;
pub use update::{Fault, Update};
