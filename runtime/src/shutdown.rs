//! An orderly stop: the first SIGTERM or SIGINT asks for it, the second ends the process at once.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tokio::sync::Notify;

/// Whether a stop was requested; clones share it. It is never taken back.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    requested: Mutex<bool>,
    threads: Condvar,
    tasks: Notify,
}

impl Shutdown {
    /// A token that only [`Shutdown::request`] sets off.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that SIGTERM and SIGINT set off, from a thread of its own that lives as long as the process. A second
    /// signal ends the process at once with code 143 or 130, and says so on standard error. Call it once.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let requested = shutdown.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for (count, signal) in signals.forever().enumerate() {
                let name = low_level::signal_name(signal).unwrap_or("signal");
                if count > 0 {
                    eprintln!("error: {name} while stopping: ended at once, before everything was drained");
                    // Not `std::process::exit`, which would run exit handlers under threads that still work.
                    low_level::exit(128 + signal);
                }
                tracing::info!(signal = name, "stopping; a second signal ends the process at once");
                requested.request();
            }
        })?;
        Ok(shutdown)
    }

    /// Requests the stop, for example because a part of the program failed.
    pub fn request(&self) {
        *self.lock() = true;
        self.state.threads.notify_all();
        self.state.tasks.notify_waiters();
    }

    /// Whether the stop was requested.
    pub fn is_requested(&self) -> bool {
        *self.lock()
    }

    /// Blocks until the stop is requested.
    pub fn wait(&self) {
        let requested = self.lock();
        drop(self.state.threads.wait_while(requested, |requested| !*requested));
    }

    /// Blocks until the stop is requested, at most for `timeout`, and gives whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let requested = self.lock();
        match self.state.threads.wait_timeout_while(requested, timeout, |requested| !*requested) {
            Ok((requested, _)) => *requested,
            Err(poisoned) => *poisoned.into_inner().0,
        }
    }

    /// As [`Shutdown::wait_timeout`], until a moment rather than for a time.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        self.wait_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// Completes when the stop is requested.
    pub async fn requested(&self) {
        let notified = self.state.tasks.notified();
        // A `notified` counts from its creation for `notify_waiters`, so a request after this line is not missed, and
        // one before it shows in the flag.
        if !self.is_requested() {
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // A flag is whole even if whoever held it panicked.
        self.state.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
