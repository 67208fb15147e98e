//! Asks the kernel's connection tracking (ctnetlink) where a connection has gone whose destination was translated: what
//! kube-proxy's rules made of a Service's address.
//!
//! It takes `CAP_NET_ADMIN` in the network namespace that the answer is about. Asking makes the kernel load the module
//! `nf_conntrack_netlink` where it is one; it adds no rule and tracks nothing that is not tracked already.

#![forbid(unsafe_code)]

mod error;
mod message;
#[cfg(test)]
mod tests;

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_NETFILTER};
use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, recv, setsockopt, sockopt::ReceiveTimeout},
        time::TimeVal,
    },
};

pub use error::Error;
use message::{Answer, Entry};

/// How many questions are asked in one datagram. The kernel has put the answers into the socket when the call returns that
/// sends them, in buffers of about 4 KiB: so many fit into a socket of the default size (208 KiB).
const WINDOW: usize = 32;

/// An entry with all that it can have; the kernel makes none larger than `NLMSG_GOODSIZE`.
const LARGEST_ANSWER: usize = 16 * 1024;

/// The answers are there when they are read; this only keeps a defect from stopping the caller.
const ANSWER_TIMEOUT_MICROSECONDS: i64 = 50_000;

/// One direction of a connection. Both addresses are of one family, or there is no such connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The protocol of the IP header: one that has ports.
    pub protocol: u8,
    /// Who sends.
    pub source: SocketAddr,
    /// Who is sent to.
    pub destination: SocketAddr,
}

/// A way to ask.
pub struct Tracker {
    socket: Socket,
    /// The number of the last question.
    sequence: u32,
    buffer: Vec<u8>,
}

impl Tracker {
    /// Opens a socket in the network namespace of the calling thread, with which it stays, and asks once whether there will
    /// be answers.
    pub fn open() -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::of_socket(Errno::try_from(error).unwrap_or(Errno::EIO));
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        // A connected socket takes nothing from anybody but the kernel.
        socket.connect(&NetlinkAddress::new(0, 0)).map_err(failed)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, ANSWER_TIMEOUT_MICROSECONDS)).map_err(Error::of_socket)?;
        let mut tracker = Self { socket, sequence: 0, buffer: vec![0; LARGEST_ANSWER] };
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        tracker.backends(&[Tuple { protocol: 17, source: nobody, destination: nobody }])?;
        Ok(tracker)
    }

    /// To where each of these connections was translated, by the first packet's source and destination: the address that
    /// answers it. `None` where no such connection is tracked (any more, or yet: the kernel enters it when its first packet
    /// has left the node), or where its destination was not translated.
    ///
    /// Of connections that had the same five values one after another, it is the last one's. A TCP connection that has ended
    /// is tracked for a while, but the SYN of the next one takes its entry away (`nf_conntrack_tcp_packet`, "attempt to
    /// reopen a closed/aborted connection"). Whether the last one is the one in question, the caller must know.
    ///
    /// After an error all may be asked again.
    pub fn backends(&mut self, tuples: &[Tuple]) -> Result<Vec<Option<SocketAddr>>, Error> {
        let mut backends = vec![None; tuples.len()];
        let mut questions: Vec<(&Tuple, &mut Option<SocketAddr>)> = tuples.iter().zip(&mut backends).collect();
        questions.retain(|(tuple, _)| tuple.source.is_ipv4() == tuple.destination.is_ipv4());
        for window in questions.chunks_mut(WINDOW) {
            self.ask(window)?;
        }
        Ok(backends)
    }

    /// Asks all at once, then reads as many answers.
    fn ask(&mut self, window: &mut [(&Tuple, &mut Option<SocketAddr>)]) -> Result<(), Error> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for (tuple, _) in &*window {
            self.sequence = self.sequence.wrapping_add(1);
            datagram.extend(message::question(tuple, self.sequence));
        }
        let sent = self.socket.send(&datagram, 0);
        sent.map_err(|error| Error::of_socket(Errno::try_from(error).unwrap_or(Errno::EIO)))?;
        let mut is_answered = vec![false; window.len()];
        while is_answered.contains(&false) {
            let length = match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                result => result.map_err(Error::of_socket)?,
            };
            let (sequence, answer) = message::answer(&self.buffer[..length])?;
            let place = sequence.wrapping_sub(first) as usize;
            // Others answer questions that were given up after an error.
            let Some((tuple, backend)) = window.get_mut(place) else { continue };
            is_answered[place] = true;
            match answer {
                Answer::Entry(entry) => **backend = entry.and_then(|entry| backend_of(tuple, &entry)),
                Answer::Error(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
                Answer::Error(error) => return Err(Error::of_answer(error)),
            }
        }
        Ok(())
    }
}

/// To where the entry says that the destination was translated.
///
/// The kernel finds an entry by either of its tuples, so that it may have answered with a connection of which this is the
/// way back.
fn backend_of(asked: &Tuple, entry: &Entry) -> Option<SocketAddr> {
    let answers = entry.reply.source;
    (entry.original == *asked && entry.reply.protocol == asked.protocol && answers != asked.destination)
        .then_some(answers)
}
