//! Why discovery cannot start.

use std::io;

/// Why discovery cannot start, or the host's addresses cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused an inotify instance.
    #[error("cannot watch folders: {0}; raise fs.inotify.max_user_instances if it is used up")]
    Inotify(#[source] io::Error),
    /// The agent's own network namespace cannot be opened.
    #[error("cannot open the agent's own network namespace /proc/thread-self/ns/net: {0}; is /proc mounted?")]
    OwnNamespace(#[source] io::Error),
    /// The kernel refused a netlink socket, or a question over it.
    #[error("cannot ask the kernel for the network interfaces of the node: {0}")]
    Netlink(#[source] io::Error),
    /// The thread, or the means to stop it, could not be made.
    #[error("cannot start the thread that discovers endpoints: {0}")]
    Thread(#[source] io::Error),
}
