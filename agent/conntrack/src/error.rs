//! Why connection tracking was not asked, or did not answer.

use std::io;

use netlink_packet_core::DecodeError;
use nix::errno::Errno;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no netfilter netlink, or nothing behind it that knows of tracked connections.
    #[error(
        "this kernel cannot be asked for tracked connections ({0}): load the module nf_conntrack_netlink, or use a kernel \
         built with CONFIG_NF_CT_NETLINK"
    )]
    Unsupported(#[source] io::Error),
    /// The process may not ask.
    #[error(
        "the kernel does not let this process ask for tracked connections: give it CAP_NET_ADMIN in the network namespace"
    )]
    Forbidden,
    /// The kernel answered with another error.
    #[error("the kernel refused to say what became of a tracked connection: {0}")]
    Refused(#[source] io::Error),
    /// No answer came in time.
    #[error("the kernel has not said in time what became of a tracked connection")]
    Silent,
    /// The socket failed.
    #[error("the netlink socket to connection tracking failed: {0}")]
    Socket(#[source] io::Error),
    /// The kernel's answer is none that this program knows.
    #[error("the kernel's answer on a tracked connection cannot be read: {0}")]
    Malformed(#[from] DecodeError),
}

impl Error {
    /// What a failed call on the socket means.
    pub(crate) fn of_socket(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN => Self::Silent,
            Errno::EPROTONOSUPPORT => Self::Unsupported(errno.into()),
            errno => Self::Socket(errno.into()),
        }
    }

    /// What an error means that the kernel answered with. It says `EINVAL` where no subsystem has registered for the message
    /// (`nfnetlink_rcv_msg`), and the questions asked here are no others.
    pub(crate) fn of_answer(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) => Self::Forbidden,
            Some(Errno::EINVAL | Errno::EOPNOTSUPP) => Self::Unsupported(error),
            _ => Self::Refused(error),
        }
    }
}
