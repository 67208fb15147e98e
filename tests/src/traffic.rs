//! Probes, each from a source port of its own, so that each can be found in the evidence.

use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use podwitness_lab::{Attempt, NetNs, Outcome, Server};
use podwitness_policy::Protocol;

/// How long a probe may take that is to be answered: only a machine that is very busy comes near it.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a probe waits that is to be denied: less than a second, after which TCP would try again.
pub const DENIAL_LIMIT: Duration = Duration::from_millis(250);

/// After this time the system sends a SYN again that nobody has answered (RFC 6298, section 2).
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// The protocols of the probes.
pub const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Source ports, none twice.
#[derive(Debug)]
pub struct SourcePorts(AtomicU16);

/// One probe: what was sent and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it was sent from.
    pub local: SocketAddr,
    /// Where it was sent to.
    pub remote: SocketAddr,
    /// What became of it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
}

impl Sent {
    /// Whether the system may have sent it more than once. A probe gives up long before, unless this machine had no time for it;
    /// where it is denied, each attempt counts.
    pub fn may_be_repeated(&self) -> bool {
        self.protocol == Protocol::Tcp && self.took >= SYN_AGAIN
    }
}

impl Default for SourcePorts {
    fn default() -> Self {
        Self(AtomicU16::new(20_000))
    }
}

impl SourcePorts {
    /// The next one.
    pub fn next(&self) -> Result<u16> {
        let port = self.0.fetch_add(1, Ordering::Relaxed);
        (port >= 20_000).then_some(port).context("a test has used up all its source ports")
    }
}

/// Sends one probe and waits for what becomes of it.
pub fn probe(from: &NetNs, protocol: Protocol, source_port: u16, remote: SocketAddr, limit: Duration) -> Result<Sent> {
    let started = Instant::now();
    let Attempt { local, remote, outcome } = match protocol {
        Protocol::Udp => from.request_udp_from(source_port, remote, limit)?,
        _ => from.connect_tcp_from(source_port, remote, limit)?,
    };
    Ok(Sent { protocol, local, remote, outcome, took: started.elapsed() })
}

/// Serves TCP and UDP on each of these ports.
pub fn serve(at: &NetNs, ports: &[u16]) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for port in ports {
        servers.push(at.serve_tcp(*port)?);
        servers.push(at.serve_udp(*port)?);
    }
    Ok(servers)
}

/// Does something with each of the items, so many at a time; results come in any order.
pub fn in_parallel<T: Send, R: Send>(
    at_a_time: usize,
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().ok().and_then(|mut items| items.next());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time)
            .map(|_| scope.spawn(|| std::iter::from_fn(next).map(&work).collect::<Result<Vec<R>>>()))
            .collect();
        let mut results = Vec::new();
        for worker in workers {
            results.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(results)
    })
}

/// The address in the same family as `like`, where there is one.
pub fn address_like(addresses: &[IpAddr], like: IpAddr) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| address.is_ipv4() == like.is_ipv4())
}
