//! When the datapath decides otherwise: a datagram each half of a millisecond from one pod to another.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use podwitness_lab::Pod;

use crate::processors;

/// Between two datagrams, where the machine has time for it.
const EVERY: Duration = Duration::from_micros(500);
/// A datagram that has not arrived when so many later ones were sent never does: the way is one of interfaces of this machine.
const LATE: usize = 4;
/// Datagrams that are remembered.
const REMEMBERED: usize = 20_000;

/// Sends datagrams, and knows which of them arrived. It stops on drop.
pub(crate) struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Default)]
struct Shared {
    shots: Mutex<Shots>,
    is_stopping: AtomicBool,
    is_paused: AtomicBool,
}

/// The last datagrams, by their numbers.
#[derive(Default)]
struct Shots {
    /// The number of the first that is remembered.
    first: usize,
    shots: VecDeque<Shot>,
}

#[derive(Clone, Copy)]
struct Shot {
    sent: Instant,
    arrived: bool,
}

/// When the datapath began to decide otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// The first datagram that met the new decision was sent.
    pub(crate) at: Instant,
    /// The one before it, which met the old decision, was sent so much earlier: the turn was in between.
    pub(crate) blur: Duration,
}

impl Shots {
    fn note_sent(&mut self, sent: Instant) -> usize {
        self.shots.push_back(Shot { sent, arrived: false });
        if self.shots.len() > REMEMBERED {
            self.shots.pop_front();
            self.first += 1;
        }
        self.first + self.shots.len() - 1
    }

    fn note_arrived(&mut self, number: usize) {
        let place = number.checked_sub(self.first);
        if let Some(shot) = place.and_then(|place| self.shots.get_mut(place)) {
            shot.arrived = true;
        }
    }

    /// The first turn to `open` since then, among the datagrams of which it is certain whether they arrived. A single one is
    /// none: the kernel may drop one.
    fn turn(&self, open: bool, since: Instant) -> Option<Turn> {
        let certain = self.shots.len().saturating_sub(LATE);
        let begin = self.shots.partition_point(|shot| shot.sent < since).max(1);
        (begin..certain.saturating_sub(1)).find_map(|place| {
            let shot = self.shots[place];
            let has_turned = shot.arrived == open && self.shots[place + 1].arrived == open;
            has_turned.then(|| Turn { at: shot.sent, blur: shot.sent - self.shots[place - 1].sent })
        })
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Shots) -> T) -> T {
        work(&mut self.shots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Probe {
    /// Sends from the `client` to a port of the `server`, which answers nothing.
    pub(crate) fn start(client: &Pod, server: &Pod, port: u16) -> Result<Self> {
        let address =
            server.addresses().into_iter().find(std::net::IpAddr::is_ipv4).context("the server has an address")?;
        let remote = SocketAddr::new(address, port);
        let receiver = server.run(|| UdpSocket::bind(remote))??;
        receiver.set_nonblocking(true)?;
        let sender = client.run(|| {
            let sender = UdpSocket::bind("0.0.0.0:0")?;
            sender.connect(remote)?;
            io::Result::Ok(sender)
        })??;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("probe".to_owned()).spawn(move || {
            processors::take_that_of_node().map_err(io::Error::other)?;
            shoot(&of_thread, &sender, &receiver)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sends nothing, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.is_paused.store(paused, Ordering::Relaxed);
    }

    /// Waits for the datapath to let datagrams pass or not, and says when, after the moment `since`, it began to.
    pub(crate) fn wait(&self, open: bool, since: Instant, limit: Duration) -> Result<Turn> {
        loop {
            if let Some(turn) = self.shared.with(|shots| shots.turn(open, since)) {
                return Ok(turn);
            }
            if since.elapsed() > limit {
                let state = if open { "open" } else { "closed" };
                bail!("the way between the pods is not {state} after {} s", limit.as_secs());
            }
            thread::sleep(EVERY);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("the probe failed: {error}"),
            Some(Err(_)) => eprintln!("the probe panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

fn shoot(shared: &Shared, sender: &UdpSocket, receiver: &UdpSocket) -> io::Result<()> {
    let mut due = Instant::now();
    while !shared.is_stopping.load(Ordering::Relaxed) {
        if !shared.is_paused.load(Ordering::Relaxed) {
            let number = shared.with(|shots| shots.note_sent(Instant::now()));
            sender.send(&number.to_be_bytes())?;
            receive(shared, receiver)?;
        }
        // One that is late does not have others follow at once.
        due = (due + EVERY).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn receive(shared: &Shared, receiver: &UdpSocket) -> io::Result<()> {
    let mut number = [0; size_of::<usize>()];
    loop {
        match receiver.recv(&mut number) {
            Ok(_) => shared.with(|shots| shots.note_arrived(usize::from_be_bytes(number))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
