//! Puts hooks on interfaces, on a thread of its own: that takes tens of milliseconds for each pod that comes, in which a
//! change of policy must not wait.

use std::{
    collections::BTreeMap,
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use podwitness_datapath::{Error, HookFault, Hooking, Interface};

use crate::changes::{Change, Teller};

/// How long it is waited until what could not be hooked is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How long until it is looked whether what was hooked is so still: others may take hooks away.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What has become of the interfaces that should have hooks.
#[derive(Debug, Default)]
pub(crate) struct Hooked {
    /// The request that this answers; 0 before the first. One that was overtaken by a newer one has no answer.
    pub(crate) request: u64,
    /// Those that have them, and whether they had them from an agent before.
    pub(crate) interfaces: BTreeMap<Interface, bool>,
    /// The others.
    pub(crate) faults: Vec<HookFault>,
}

/// Interfaces that should have hooks, by the number of the request.
struct Request {
    number: u64,
    interfaces: Vec<Interface>,
}

/// Sees to it that the interfaces that were named last have hooks, and no others.
pub(crate) struct Hooker {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    asked: u64,
}

impl Hooker {
    /// Starts the thread, which tells what it has done each time, tries again what it could not do, and looks from time to time
    /// whether what it has done is so still.
    pub(crate) fn start(mut hooking: Hooking, changes: &Sender<Change>) -> io::Result<Self> {
        let teller = Teller::new(changes, "what puts hooks on interfaces");
        let tell = move |outcome| teller.tell(Change::Hooked(outcome));
        Self::with(move |request| hook(&mut hooking, request), tell, LOOK_AGAIN)
    }

    fn with(
        mut hook: impl FnMut(&Request) -> Result<Hooked, Error> + Send + 'static,
        tell: impl Fn(Result<Hooked, Error>) + Send + 'static,
        look_again: Duration,
    ) -> io::Result<Self> {
        let (requests, told) = mpsc::channel();
        let thread = thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            let mut last = None;
            while let Some(request) = newest(&told, last.take()) {
                let outcome = hook(&request);
                let is_done = outcome.as_ref().is_ok_and(|hooked| hooked.faults.is_empty());
                tell(outcome);
                last = Some((request, if is_done { look_again } else { TRY_AGAIN }));
            }
        })?;
        Ok(Self { requests: Some(requests), thread: Some(thread), asked: 0 })
    }

    /// The number of the request that was made last; 0 before the first.
    pub(crate) fn last_request(&self) -> u64 {
        self.asked
    }

    /// Names the interfaces that are to have hooks. The tables in force should know their endpoints.
    pub(crate) fn want(&mut self, interfaces: Vec<Interface>) {
        self.asked += 1;
        if let Some(requests) = &self.requests {
            // Where nobody listens the thread has panicked, and who is told has seen it end.
            let _ = requests.send(Request { number: self.asked, interfaces });
        }
    }

    /// Ends the thread, when it has done and told what it was asked.
    pub(crate) fn stop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told already.
            let _ = thread.join();
        }
    }
}

impl Drop for Hooker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The request that was made last; waits for one, and no longer than until the one before is to be looked at again.
fn newest(told: &Receiver<Request>, last: Option<(Request, Duration)>) -> Option<Request> {
    let next = match last {
        None => told.recv().ok()?,
        Some((last, again_after)) => match told.recv_timeout(again_after) {
            Ok(request) => request,
            Err(RecvTimeoutError::Timeout) => last,
            Err(RecvTimeoutError::Disconnected) => return None,
        },
    };
    Some(told.try_iter().last().unwrap_or(next))
}

fn hook(hooking: &mut Hooking, request: &Request) -> Result<Hooked, Error> {
    let _span = tracing::debug_span!("hook").entered();
    let faults = hooking.set(&request.interfaces)?;
    let is_hooked = |interface: &&Interface| faults.iter().all(|fault| fault.interface != **interface);
    let hooked = request.interfaces.iter().filter(is_hooked);
    let interfaces = hooked.map(|interface| (interface.clone(), hooking.had_hooks(interface.index))).collect();
    Ok(Hooked { request: request.number, interfaces, faults })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use podwitness_datapath::HookError;

    use super::*;

    fn interface(index: u32) -> Interface {
        Interface { index, name: format!("veth{index}") }
    }

    fn all(request: &Request) -> Hooked {
        let interfaces = request.interfaces.iter().map(|interface| (interface.clone(), false)).collect();
        Hooked { request: request.number, interfaces, faults: Vec::new() }
    }

    #[test]
    fn of_requests_that_wait_the_newest_is_done_and_none_is_left_at_the_end() {
        let (begun, begins) = channel();
        let (go_on, goes_on) = channel();
        let (tell, told) = channel();
        let hook = move |request: &Request| {
            begun.send(request.interfaces.clone()).unwrap();
            goes_on.recv().unwrap();
            Ok(all(request))
        };
        let tell = move |outcome: Result<Hooked, Error>| tell.send(outcome.unwrap()).unwrap();
        let mut hooker = Hooker::with(hook, tell, LOOK_AGAIN).unwrap();
        assert_eq!(hooker.last_request(), 0);
        hooker.want(vec![interface(1)]);
        assert_eq!(begins.recv().unwrap(), [interface(1)]);
        for index in 2..=4 {
            hooker.want(vec![interface(index)]);
        }
        go_on.send(()).unwrap();
        go_on.send(()).unwrap();
        hooker.stop();
        let told: Vec<(u64, Vec<Interface>)> =
            told.iter().map(|hooked| (hooked.request, hooked.interfaces.into_keys().collect())).collect();
        assert_eq!(told, [(1, vec![interface(1)]), (4, vec![interface(4)])]);
        assert_eq!(begins.iter().count(), 1, "what was overtaken was not tried");
    }

    #[test]
    fn what_could_not_be_hooked_is_tried_again_until_it_can() {
        let (tell, told) = channel();
        let mut tries = 0;
        let hook = move |request: &Request| {
            tries += 1;
            match tries {
                1 => Err(Error::Missing { name: "PW_STATE" }),
                2 => {
                    let fault = HookFault { interface: request.interfaces[0].clone(), cause: HookError::NoPriority };
                    Ok(Hooked { request: request.number, interfaces: BTreeMap::new(), faults: vec![fault] })
                }
                _ => Ok(all(request)),
            }
        };
        let mut hooker = Hooker::with(hook, move |outcome| tell.send(outcome).unwrap(), LOOK_AGAIN).unwrap();
        hooker.want(vec![interface(1)]);
        assert!(told.recv().unwrap().is_err());
        let faulty = told.recv().unwrap().unwrap();
        assert_eq!((faulty.request, faulty.faults.len(), faulty.interfaces.len()), (1, 1, 0));
        let whole = told.recv().unwrap().unwrap();
        assert_eq!((whole.request, whole.faults.len(), whole.interfaces.len()), (1, 0, 1));
        hooker.stop();
        assert!(told.recv().is_err(), "there is nothing to try again");
    }

    #[test]
    fn what_is_hooked_is_looked_at_again() {
        let (tell, told) = channel();
        let tell = move |outcome: Result<Hooked, Error>| tell.send(outcome.unwrap().request).unwrap();
        let mut hooker = Hooker::with(|request| Ok(all(request)), tell, Duration::from_millis(1)).unwrap();
        hooker.want(vec![interface(1)]);
        assert_eq!([told.recv(), told.recv(), told.recv()], [Ok(1), Ok(1), Ok(1)]);
        hooker.want(vec![]);
        while told.recv().unwrap() != 2 {}
        hooker.stop();
        assert!(told.iter().all(|request| request == 2));
    }
}
