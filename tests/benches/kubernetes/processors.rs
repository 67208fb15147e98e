//! Which processors are whose.

use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The node's.
static NODE: OnceLock<usize> = OnceLock::new();

/// Leaves this thread, and those that it will start, all processors but the last one, which is the node's from now on.
pub(crate) fn take_those_of_control_plane() -> Result<()> {
    let all = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the processors")?;
    let last = *NODE.get_or_init(|| last(&all));
    let mut others = CpuSet::new();
    for processor in (0..last).filter(|processor| all.is_set(*processor).unwrap_or(false)) {
        others.set(processor)?;
    }
    // Where there is but one, all share it.
    let is_alone = others == CpuSet::new();
    take(if is_alone { &all } else { &others })
}

/// Leaves this thread, and those that it will start, the node's processor.
pub(crate) fn take_that_of_node() -> Result<()> {
    let mut node = CpuSet::new();
    node.set(*NODE.get().context("it was not said which is the node's")?)?;
    take(&node)
}

/// Does something on a thread of the node's processor.
pub(crate) fn on_that_of_node<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            take_that_of_node()?;
            work()
        });
        there.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn take(processors: &CpuSet) -> Result<()> {
    sched_setaffinity(Pid::from_raw(0), processors).context("cannot choose processors")
}

fn last(processors: &CpuSet) -> usize {
    let mut all = (0..CpuSet::count()).rev();
    all.find(|processor| processors.is_set(*processor).unwrap_or(false)).expect("this thread runs on one")
}
