//! Puts hooks on interfaces, on a thread of its own: that takes tens of milliseconds for each pod that comes, in which a
//! change of policy must not wait.

use std::{
    collections::BTreeSet,
    io,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use podwitness_datapath::{Error, HookFault, Hooking, Interface};

/// What has become of the interfaces that should have hooks.
#[derive(Debug, Default)]
pub(crate) struct Hooked {
    /// Those that have them.
    pub(crate) interfaces: BTreeSet<Interface>,
    /// The others.
    pub(crate) faults: Vec<HookFault>,
    /// The indices of those that had them from an agent before.
    pub(crate) had_hooks: BTreeSet<u32>,
}

/// Sees to it that the interfaces that were named last have hooks, and no others.
pub(crate) struct Hooker {
    wanted: Option<Sender<Vec<Interface>>>,
    thread: Option<JoinHandle<()>>,
}

impl Hooker {
    /// Starts the thread, which tells what it has done each time. It ends when this is dropped, and not in the middle.
    pub(crate) fn start(
        mut hooking: Hooking,
        tell: impl Fn(Result<Hooked, Error>) + Send + 'static,
    ) -> io::Result<Self> {
        let (wanted, told) = mpsc::channel();
        let thread = thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            while let Some(interfaces) = newest(&told) {
                tell(tracing::debug_span!("hook").in_scope(|| hook(&mut hooking, interfaces)));
            }
        })?;
        Ok(Self { wanted: Some(wanted), thread: Some(thread) })
    }

    /// Names the interfaces that are to have hooks. The tables in force should know their endpoints.
    pub(crate) fn want(&self, interfaces: Vec<Interface>) {
        if let Some(wanted) = &self.wanted {
            // Where nobody listens the thread has panicked, and who is told has seen it end.
            let _ = wanted.send(interfaces);
        }
    }
}

impl Drop for Hooker {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told already.
            let _ = thread.join();
        }
    }
}

/// What was named last; waits for the first.
fn newest(told: &Receiver<Vec<Interface>>) -> Option<Vec<Interface>> {
    let first = told.recv().ok()?;
    Some(told.try_iter().last().unwrap_or(first))
}

fn hook(hooking: &mut Hooking, interfaces: Vec<Interface>) -> Result<Hooked, Error> {
    let faults = hooking.set(&interfaces)?;
    let had_hooks = interfaces.iter().map(|interface| interface.index).filter(|index| hooking.had_hooks(*index));
    let had_hooks = had_hooks.collect();
    let is_hooked = |interface: &Interface| faults.iter().all(|fault| fault.interface != *interface);
    Ok(Hooked { interfaces: interfaces.into_iter().filter(is_hooked).collect(), faults, had_hooks })
}
