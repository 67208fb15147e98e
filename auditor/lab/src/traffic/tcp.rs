//! Probes over TCP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Protocol, SockAddr, Type};

use super::{ANSWER, Attempt, Outcome, QUESTION, local_address, outcome_of, probe_socket, time_left};
use crate::error::LabError;
use crate::netns::NetNs;

/// A TCP connection that is established and stays so until it is closed.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
}

impl NetNs {
    /// Connects, asks, reads the answer, and closes cleanly. Within `timeout` of less than a second the system sends
    /// one SYN only.
    pub fn connect_tcp(&self, remote: SocketAddr, timeout: Duration) -> Result<Attempt, LabError> {
        self.connect_tcp_from(0, remote, timeout)
    }

    /// The same from a chosen source port; 0 is any.
    pub fn connect_tcp_from(&self, port: u16, remote: SocketAddr, timeout: Duration) -> Result<Attempt, LabError> {
        let deadline = Instant::now() + timeout;
        match self.open_tcp_from(port, remote, timeout)? {
            Err(attempt) => Ok(attempt),
            Ok(mut conversation) => {
                let outcome = conversation.exchange(time_left(deadline).unwrap_or(Duration::from_millis(1)));
                let Conversation { local, remote, .. } = conversation;
                conversation.close(timeout);
                Ok(Attempt { local, remote, outcome })
            }
        }
    }

    /// Connects and stays connected; the attempt is given back when that did not come about.
    pub fn open_tcp(&self, remote: SocketAddr, timeout: Duration) -> Result<Result<Conversation, Attempt>, LabError> {
        self.open_tcp_from(0, remote, timeout)
    }

    /// The same from a chosen source port; 0 is any.
    pub fn open_tcp_from(
        &self,
        port: u16,
        remote: SocketAddr,
        timeout: Duration,
    ) -> Result<Result<Conversation, Attempt>, LabError> {
        let socket = probe_socket(self, remote, Type::STREAM, Protocol::TCP, port)?;
        let connected = socket.connect_timeout(&SockAddr::from(remote), timeout);
        let local = local_address(&socket)?;
        Ok(match connected {
            Ok(()) => Ok(Conversation { stream: socket.into(), local, remote }),
            Err(error) => {
                // Closing alone would not end the attempt while a process that is just being started has a copy of the
                // socket, and the system would send the SYN again. What was refused is ended already.
                let _ = socket.shutdown(Shutdown::Both);
                Err(Attempt { local, remote, outcome: outcome_of(&error) })
            }
        })
    }
}

impl Conversation {
    /// This side's address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The other side's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Asks and reads the answer. Late answers to what was asked before do not count.
    pub fn exchange(&mut self, timeout: Duration) -> Outcome {
        if let Err(error) = self.discard() {
            return outcome_of(&error);
        }
        let mut said = [0; ANSWER.len()];
        let result = self
            .stream
            .set_read_timeout(Some(timeout))
            .and_then(|()| self.stream.write_all(QUESTION))
            .and_then(|()| self.stream.read_exact(&mut said));
        match result {
            Ok(()) if said == ANSWER => Outcome::Answered,
            Ok(()) => Outcome::Unreachable(io::ErrorKind::InvalidData),
            Err(error) => outcome_of(&error),
        }
    }

    /// Reads away what is there.
    fn discard(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let found = loop {
            match self.stream.read(&mut [0; 256]) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.stream.set_nonblocking(false)?;
        found
    }

    /// Says that there is no more to say, and waits no longer than `timeout` for the other side to agree, so that both
    /// have closed when this returns.
    pub fn close(mut self, timeout: Duration) {
        // A connection that is broken already needs no closing.
        let _ = self
            .stream
            .shutdown(Shutdown::Write)
            .and_then(|()| self.stream.set_read_timeout(Some(timeout)))
            .and_then(|()| self.stream.read_to_end(&mut Vec::new()));
    }
}
