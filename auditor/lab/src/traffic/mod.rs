//! Real traffic between network namespaces: servers that answer, and probes that say what became of them.

mod frame;
mod icmp;
mod server;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub use server::Server;
pub use tcp::Conversation;

use crate::error::LabError;
use crate::netns::NetNs;

/// What the network did to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer came.
    Answered,
    /// The other side is there and wants nothing on this port (TCP reset, ICMP port unreachable).
    Refused,
    /// Nothing came back in time.
    TimedOut,
    /// The network said that there is no way, or ended the connection.
    Unreachable(io::ErrorKind),
}

/// One probe and what became of it. With the protocol, the two addresses find its record in the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where it was sent from; the port is 0 for echo requests, and otherwise the one that was used.
    pub local: SocketAddr,
    /// Where it was sent to; the port is 0 for echo requests.
    pub remote: SocketAddr,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a probe says, and what it is told.
const QUESTION: &[u8] = b"who is there?\n";
const ANSWER: &[u8] = b"podwitness\n";

/// A probe's socket, made in `netns` and bound to a port there; 0 lets the system choose one.
fn probe_socket(
    netns: &NetNs,
    remote: SocketAddr,
    kind: Type,
    protocol: Protocol,
    port: u16,
) -> Result<Socket, LabError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(remote), kind, Some(protocol))?;
        // A test may use a source port again that an earlier connection left in TIME-WAIT.
        socket.set_reuse_address(true)?;
        // Otherwise "no route" and "host unreachable" are kept from UDP and echo sockets.
        if remote.is_ipv4() {
            setsockopt(&socket, Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&socket, Ipv6RecvErr, &true)?;
        }
        socket.bind(&SockAddr::from(unspecified_like(remote, port)))?;
        Ok(socket)
    };
    netns.run(open)?.map_err(LabError::system::<io::Error>(format!("open a socket with source port {port}")))
}

fn unspecified_like(remote: SocketAddr, port: u16) -> SocketAddr {
    let address =
        if remote.is_ipv4() { std::net::Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(address, port)
}

/// The socket's own address.
fn local_address(socket: &Socket) -> Result<SocketAddr, LabError> {
    socket
        .local_addr()
        .and_then(|address| address.as_socket().ok_or_else(|| io::Error::other("it has no IP address")))
        .map_err(LabError::system("read a socket's address"))
}

/// What an error of a socket call means for a probe.
fn outcome_of(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        // What a read or a connect with a time limit ends with.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Outcome::TimedOut,
        kind => Outcome::Unreachable(kind),
    }
}

/// The time until `deadline`, as sockets take it: zero would mean for ever.
fn time_left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}
