//! Waits for programs to end.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering, fence},
    },
    thread,
    time::Duration,
};

use aya::maps::{Array, ArrayOfMaps, Map, MapData, PerCpuArray};
use podwitness_wire::names;

use crate::Error;

/// How often it is looked for readers, and how long between, before the kernel is asked to wait for them. A program takes
/// some microseconds, unless its CPU is taken away from the whole machine.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_micros(50);

/// Waits for programs to end.
///
/// Those that read tables say so, by CPU (`ebpf/programs/src/readers.rs`): to see that none of them still reads takes
/// microseconds. The kernel waits for all that run, which takes it some ten milliseconds.
pub(crate) struct Grace {
    outer: Mutex<ArrayOfMaps<MapData, Array<MapData, u32>>>,
    inner: Array<MapData, u32>,
    readers: PerCpuArray<MapData, u64>,
    /// Every hook has been given a program that says that it reads.
    hooks_tell: AtomicBool,
    /// And no program of before runs any more.
    all_tell: AtomicBool,
}

impl Grace {
    pub(crate) fn new(mut take: impl FnMut(&'static str) -> Result<Map, Error>) -> Result<Self, Error> {
        let outer = ArrayOfMaps::try_from(take(names::GRACE)?).map_err(Error::map("use", names::GRACE))?;
        let inner = Array::create(1, 0).map_err(Error::map("make", names::GRACE))?;
        let readers = take(names::READERS)?.try_into().map_err(Error::map("use", names::READERS))?;
        let [hooks_tell, all_tell] = [const { AtomicBool::new(false) }; 2];
        Ok(Self { outer: Mutex::new(outer), inner, readers, hooks_tell, all_tell })
    }

    /// Says that no hook has another program than those of this agent, now and from now on. An agent of before may have
    /// left some that do not say when they read.
    pub(crate) fn set_hooks_tell(&self) {
        self.hooks_tell.store(true, Ordering::SeqCst);
    }

    /// Returns when every program that was running at the call has ended: the kernel waits for them when a map of maps
    /// is updated (commit 1ae80cf31938, Linux 4.18).
    pub(crate) fn wait(&self) -> Result<(), Error> {
        let hooks_tell = self.hooks_tell.load(Ordering::SeqCst);
        // Nothing can panic while the lock is held, and the map would be whole if something did.
        let mut outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner);
        outer.set(0, &self.inner, 0).map_err(Error::map("update", names::GRACE))?;
        if hooks_tell {
            self.all_tell.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Returns when no program reads tables by a generation that was out of force at the call.
    pub(crate) fn wait_for_readers(&self) -> Result<(), Error> {
        if self.all_tell.load(Ordering::SeqCst) {
            let mut readers = Readers::default();
            for _ in 0..LOOKS {
                if readers.are_gone(self)? {
                    return Ok(());
                }
                thread::sleep(BETWEEN_LOOKS);
            }
        }
        self.wait()
    }

    /// Whether it is seen at once that none does.
    pub(crate) fn has_no_readers(&self) -> Result<bool, Error> {
        Ok(self.all_tell.load(Ordering::SeqCst) && Readers::default().are_gone(self)?)
    }
}

/// Which CPUs may still be reading: those that were not once seen to do nothing of the kind.
#[derive(Default)]
struct Readers(Option<Vec<bool>>);

impl Readers {
    fn are_gone(&mut self, grace: &Grace) -> Result<bool, Error> {
        // The generation was stored before, and by it decides who is not seen now.
        fence(Ordering::SeqCst);
        let now = grace.readers.get(&0, 0).map_err(Error::map("read", names::READERS))?;
        let may_read = self.0.get_or_insert_with(|| vec![true; now.len()]);
        for (may_read, readers) in may_read.iter_mut().zip(now.iter()) {
            *may_read &= *readers != 0;
        }
        // What they have read was read before the slot is changed.
        fence(Ordering::SeqCst);
        Ok(!may_read.contains(&true))
    }
}
