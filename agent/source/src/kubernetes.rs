//! The API server of a Kubernetes cluster, watched.
//!
//! Each kind is followed on its own ([`follow`]), and what is said about it becomes a cluster in one place ([`index`]). The
//! first update with a cluster comes when every kind was listed to the end: until then there is none, so that the policy
//! that an agent before has left stays in force, and is replaced in one step. While the server is away, or does not permit
//! to read something, the cluster stays what it was.

mod backoff;
mod connect;
mod failure;
mod follow;
mod index;
mod kind;

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::Update;
use crate::delivered::Delivered;
use follow::{Follower, Told};
use index::Index;
use kind::Kind;

pub use connect::{ApiServer, ConnectError};

/// News that may wait to be taken in. When it is full the connections wait, and so does the server.
const WAITING: usize = 256;
/// Updates have at least this time between them: in a storm of changes many become one, and a single change waits for
/// nothing.
const SPACING: Duration = Duration::from_millis(5);

/// The source that follows an API server. It ends when this is dropped.
#[derive(Debug)]
pub struct KubernetesSource {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl KubernetesSource {
    /// Follows what the API server has, on a thread of its own.
    ///
    /// `deliver` is called on that thread, each time the objects or the faults changed. Should the thread ever die, `deliver` is
    /// dropped with all that it holds, a channel's sender for example.
    pub fn start(server: &ApiServer, deliver: impl FnMut(Update) + Send + 'static) -> Result<Self, ConnectError> {
        Self::follow(server, &Kind::ALL, deliver)
    }

    /// The same of Namespaces and `AuditTrail`s alone, for somebody who need not, and so may not, read anything else.
    pub fn start_for_trails(
        server: &ApiServer,
        deliver: impl FnMut(Update) + Send + 'static,
    ) -> Result<Self, ConnectError> {
        Self::follow(server, &[Kind::Namespace, Kind::AuditTrail], deliver)
    }

    fn follow(
        server: &ApiServer,
        kinds: &[Kind],
        deliver: impl FnMut(Update) + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ConnectError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel(WAITING);
        let mut followers = JoinSet::new();
        {
            let _within = runtime.enter();
            let client = server.client()?;
            for kind in kinds {
                followers.spawn(Follower::new(client.clone(), *kind, tell.clone()).run());
            }
        }
        let index = Index::new(server.url(), kinds);
        let thread = thread::Builder::new()
            .name("source".to_owned())
            .spawn(move || run(&runtime, stopped, told, index, followers, deliver))
            .map_err(ConnectError::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for KubernetesSource {
    fn drop(&mut self) {
        // Whoever does not listen any more has ended.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            // Its panic was already reported; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

fn run(
    runtime: &Runtime,
    mut stopped: oneshot::Receiver<()>,
    mut told: mpsc::Receiver<Told>,
    mut index: Index,
    mut followers: JoinSet<follow::Deaf>,
    mut deliver: impl FnMut(Update),
) {
    runtime.block_on(async {
        let mut delivered = Delivered::default();
        let mut first_change: Option<Instant> = None;
        let mut next_delivery = Instant::now();
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = tokio::time::sleep_until(next_delivery.into()), if first_change.is_some() => {
                    let received = first_change.take().unwrap_or_else(Instant::now);
                    if let Some(update) = update(&index, &mut delivered, received) {
                        deliver(update);
                    }
                    next_delivery = Instant::now() + SPACING;
                }
                Some((at, kind, news)) = told.recv() => {
                    if index.take(kind, news) {
                        first_change.get_or_insert(at);
                    }
                }
                // A follower ends when nobody listens, or by a panic, which nothing outlives.
                Some(ended) = followers.join_next() => {
                    if ended.is_err() {
                        break;
                    }
                }
            }
        }
    });
}

/// What is to be delivered, if it is anything new.
fn update(index: &Index, delivered: &mut Delivered, received: Instant) -> Option<Update> {
    let faults = index.faults();
    let cluster = index.cluster();
    if cluster.is_none() && faults.is_empty() {
        return None;
    }
    delivered.update(cluster, faults, index.is_complete(), received)
}
