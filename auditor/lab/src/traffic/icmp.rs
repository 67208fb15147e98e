//! Echo requests (ping), through the kernel's echo sockets: it fills in identifier and checksum, and hands over the
//! replies to this socket alone.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Protocol, SockAddr, Type};

use super::{Attempt, Outcome, local_address, outcome_of, probe_socket, time_left};
use crate::error::LabError;
use crate::netns::NetNs;

const V4_REQUEST: u8 = 8;
const V4_REPLY: u8 = 0;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;

impl NetNs {
    /// Sends one echo request and waits for the reply.
    pub fn ping(&self, remote: IpAddr, timeout: Duration) -> Result<Attempt, LabError> {
        let deadline = Instant::now() + timeout;
        let (protocol, request, reply) = match remote {
            IpAddr::V4(_) => (Protocol::ICMPV4, V4_REQUEST, V4_REPLY),
            IpAddr::V6(_) => (Protocol::ICMPV6, V6_REQUEST, V6_REPLY),
        };
        let remote = SocketAddr::new(remote, 0);
        let socket = probe_socket(self, remote, Type::DGRAM, protocol, 0)?;
        let connected = socket.connect(&SockAddr::from(remote));
        let mut local = local_address(&socket)?;
        // What the system calls the port of an echo socket is the identifier in its requests.
        local.set_port(0);
        let outcome = match connected {
            Ok(()) => echo(&socket.into(), request, reply, deadline),
            Err(error) => outcome_of(&error),
        };
        Ok(Attempt { local, remote, outcome })
    }
}

fn echo(socket: &UdpSocket, request: u8, reply: u8, deadline: Instant) -> Outcome {
    // Type, code, checksum, identifier, sequence number.
    let message = [request, 0, 0, 0, 0, 0, 0, 1];
    let mut said = [0; 64];
    let answered = socket.send(&message).and_then(|_| {
        loop {
            let Some(left) = time_left(deadline) else { return Ok(false) };
            socket.set_read_timeout(Some(left))?;
            if socket.recv(&mut said)? >= message.len() && said[0] == reply {
                return Ok(true);
            }
        }
    });
    match answered {
        Ok(true) => Outcome::Answered,
        Ok(false) => Outcome::TimedOut,
        Err(error) => outcome_of(&error),
    }
}
