//! Finds the network interfaces of the pods on this node, with any CNI and container runtime that follow the
//! standards.
//!
//! A runtime bind-mounts the network namespace of each pod under a folder (`/var/run/netns`). [`Discovery`] watches
//! that folder, enters each namespace for as long as it takes to read its interfaces, and delivers a complete
//! [`Snapshot`] whenever something changed.
//!
//! Invariants:
//!
//! - Nothing that is kept refers to a pod's namespace: no descriptor and no socket outlives one reading, so a
//!   namespace ends when its runtime ends it.
//! - The thread that delivers stays in the namespace it was started in; a namespace is entered only by a thread
//!   that ends with the reading.
//! - What triggers a reading (inotify, netlink events, timers) never decides what is reported: a reading always
//!   reads everything, so an event that is lost costs time and never truth.
#![forbid(unsafe_code)]

mod discovery;
mod error;
mod folder;
mod host;
mod interfaces;
mod monitor;
mod namespace;
mod netlink;
mod snapshot;
mod table;

pub use discovery::{Discovery, Options};
pub use error::Error;
pub use host::host_addresses;
pub use snapshot::{Endpoint, Fault, Snapshot, Unhooked};
