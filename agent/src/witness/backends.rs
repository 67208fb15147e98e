//! Where connections to Services have gone that no backend's hook on this node has seen, by the kernel's connection
//! tracking.
//!
//! Only what is certain is believed: the tracked connection began with the same five values, and after it was looked up,
//! the entry in the connection table was still the one of the event. A hook sees the first packet of another connection of
//! the same five values before connection tracking does, so that the entry would have said so.

use std::{net::SocketAddr, thread, time::Duration};

use podwitness_conntrack::{Tracker, Tuple};
use podwitness_datapath::{Outlet, Position};
use podwitness_wire::{Address, Direction, Event, EventKind, Learnt, NatResolution, SCTP, TCP, UDP, ipv4_mapped};

use super::enrich::ip;
use crate::metrics::Metrics;

/// How long a first packet may take from the hook until connection tracking has entered it; before, there is no entry, or
/// that of the connection before it.
const ON_ITS_WAY: Duration = Duration::from_millis(2);

/// The outcomes of questions, as the metric has them.
mod outcome {
    pub(super) const FOUND: &str = "found";
    pub(super) const NOT_TRANSLATED: &str = "not-translated";
    pub(super) const OUTDATED: &str = "outdated";
    pub(super) const FAILED: &str = "failed";
}

/// Asks connection tracking, and tells the kernel's own connections.
pub(super) struct Backends {
    /// Absent where the kernel cannot be asked.
    tracker: Option<Tracker>,
    /// The last question was not answered.
    is_failing: bool,
    metrics: Metrics,
    /// The place in the ring of the events that were last asked about, and their backends. They are read again from there
    /// until the spool has taken them, and by then the answers may be gone.
    from: Position,
    answers: Vec<Option<SocketAddr>>,
}

impl Backends {
    /// Opens the way to connection tracking of the network namespace of the calling thread. Without one, events stay as
    /// the kernel has made them.
    pub(super) fn open(metrics: Metrics) -> Self {
        let tracker = Tracker::open().inspect_err(|error| {
            tracing::warn!(%error, "records do not name the backend of a Service where no pod of this node is it");
        });
        Self { tracker: tracker.ok(), is_failing: false, metrics, from: 0, answers: Vec::new() }
    }

    /// Completes events, read from this place in the ring on, by the backend where it was not known to the kernel and is
    /// now, and tells it to the connections.
    pub(super) fn complete(
        &mut self,
        outlet: &Outlet,
        from: Position,
        events: &mut [Event],
    ) -> Result<(), podwitness_datapath::Error> {
        if from != self.from {
            self.from = from;
            self.answers.clear();
        }
        if let Some(new) = events.get(self.answers.len()..) {
            let answers = self.ask(outlet, new)?;
            self.answers.extend(answers);
        }
        for (event, backend) in events.iter_mut().zip(&self.answers) {
            if let Some(backend) = backend {
                event.backend = address(backend);
                event.backend_port = backend.port();
                event.resolution = NatResolution::Exact.number();
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        outlet: &Outlet,
        events: &[Event],
    ) -> Result<Vec<Option<SocketAddr>>, podwitness_datapath::Error> {
        let mut answers = vec![None; events.len()];
        let asked =
            events.iter().zip(&mut answers).filter_map(|(event, answer)| Some((event, question(event)?, answer)));
        let (mut asked, mut tuples) = (asked.collect::<Vec<_>>(), Vec::new());
        if asked.is_empty() {
            return Ok(answers);
        }
        tuples.extend(asked.iter().map(|(_, tuple, _)| *tuple));
        let Some(found) = self.look_up(&tuples) else {
            self.metrics.backend_lookups(outcome::FAILED, tuples.len() as u64);
            return Ok(answers);
        };
        for ((event, _, answer), backend) in asked.iter_mut().zip(found) {
            let Some(backend) = backend else {
                self.metrics.backend_lookups(outcome::NOT_TRANSLATED, 1);
                continue;
            };
            let learnt = Learnt {
                key: event.key,
                backend: address(&backend),
                backend_port: backend.port(),
                opened_ns: event.opened_ns,
                ..Learnt::default()
            };
            if outlet.learn(&learnt)? {
                **answer = Some(backend);
                self.metrics.backend_lookups(outcome::FOUND, 1);
            } else {
                self.metrics.backend_lookups(outcome::OUTDATED, 1);
            }
        }
        drop(asked);
        Ok(answers)
    }

    fn look_up(&mut self, tuples: &[Tuple]) -> Option<Vec<Option<SocketAddr>>> {
        let tracker = self.tracker.as_mut()?;
        thread::sleep(ON_ITS_WAY);
        match tracker.backends(tuples) {
            Ok(backends) => {
                self.is_failing = false;
                Some(backends)
            }
            Err(error) => {
                if !self.is_failing {
                    tracing::warn!(%error, "records do not name the backends of Services now");
                }
                self.is_failing = true;
                None
            }
        }
    }
}

/// The connection of an event, as connection tracking knows it, where its Service's backend is to be asked for.
fn question(event: &Event) -> Option<Tuple> {
    let is_unknown = event.service != 0
        && event.resolution != NatResolution::Exact.number()
        && event.direction == Direction::Egress.number()
        // A deferred connection that nobody has opened went nowhere.
        && event.kind != EventKind::Deny.number()
        && matches!(event.key.protocol, TCP | UDP | SCTP);
    is_unknown.then(|| Tuple {
        protocol: event.key.protocol,
        source: SocketAddr::new(ip(&event.key.pod), event.key.pod_port),
        destination: SocketAddr::new(ip(&event.key.peer), event.key.peer_port),
    })
}

fn address(address: &SocketAddr) -> Address {
    match address {
        SocketAddr::V4(address) => ipv4_mapped(address.ip().octets()),
        SocketAddr::V6(address) => address.ip().octets(),
    }
}
