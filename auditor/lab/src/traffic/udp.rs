//! Probes over UDP.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Protocol, SockAddr, Type};

use super::{ANSWER, Attempt, Outcome, QUESTION, local_address, outcome_of, probe_socket, time_left};
use crate::error::LabError;
use crate::netns::NetNs;

impl NetNs {
    /// Sends one datagram and waits for the answer.
    pub fn request_udp(&self, remote: SocketAddr, timeout: Duration) -> Result<Attempt, LabError> {
        self.request_udp_from(0, remote, timeout)
    }

    /// The same from a chosen source port; 0 is any.
    pub fn request_udp_from(&self, port: u16, remote: SocketAddr, timeout: Duration) -> Result<Attempt, LabError> {
        let deadline = Instant::now() + timeout;
        let socket = probe_socket(self, remote, Type::DGRAM, Protocol::UDP, port)?;
        let connected = socket.connect(&SockAddr::from(remote));
        let local = local_address(&socket)?;
        let outcome = match connected {
            Ok(()) => ask(&socket.into(), deadline),
            Err(error) => outcome_of(&error),
        };
        Ok(Attempt { local, remote, outcome })
    }
}

fn ask(socket: &UdpSocket, deadline: Instant) -> Outcome {
    let mut said = [0; 64];
    let answered = socket.send(QUESTION).and_then(|_| {
        loop {
            let Some(left) = time_left(deadline) else { return Ok(false) };
            socket.set_read_timeout(Some(left))?;
            let length = socket.recv(&mut said)?;
            if said.get(..length) == Some(ANSWER) {
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
