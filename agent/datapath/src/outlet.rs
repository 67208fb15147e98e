//! The half that brings out what happened.

use std::{ptr, slice, sync::Arc};

use aya::{
    maps::{MapData, PerCpuArray},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use podwitness_wire::{Event, Learnt, names};

use crate::{
    Counters, DenialRecord, Error, LossRecord, Position, denials::Counted, load::Grace, ring::Ring,
    shared_state::SharedState,
};

/// How a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Every connection was visited.
    Done,
    /// The ring had no room: read it, and sweep again.
    RingFull,
}

/// Reads events, denials, losses and counters.
///
/// Nothing is given back to the kernel by reading. A caller makes what it read durable together with the position and
/// the epoch up to which it read, and only then acknowledges both.
pub struct Outlet {
    pub(crate) ring: Ring,
    pub(crate) ring_id: u32,
    pub(crate) sweep: SchedClassifier,
    pub(crate) learn: SchedClassifier,
    pub(crate) counted: Counted,
    pub(crate) counters: PerCpuArray<MapData, u64>,
    pub(crate) state: Arc<SharedState>,
    pub(crate) grace: Arc<Grace>,
}

impl Outlet {
    /// Which ring positions are of: the map's id, which the kernel gives once in a boot.
    pub fn ring_id(&self) -> u32 {
        self.ring_id
    }

    /// Up to where events were acknowledged.
    pub fn acknowledged(&self) -> Position {
        self.ring.acknowledged()
    }

    /// How many bytes of the ring are waiting to be read from `position` on.
    pub fn waiting_bytes(&self, position: Position) -> u64 {
        self.ring.reserved().saturating_sub(position)
    }

    /// Reads at most `most` events from `position` on, and returns where the next one begins.
    pub fn read_events(&self, position: Position, most: usize, events: &mut Vec<Event>) -> Position {
        self.ring.read(position, most, events)
    }

    /// Gives the room of the events before `position` back to the kernel. They must be durable.
    pub fn acknowledge_events(&self, position: Position) {
        self.ring.acknowledge(position);
    }

    /// Has the kernel offer owed records again, and report and delete what ended.
    pub fn sweep(&self) -> Result<Sweep, Error> {
        /// The kernel wants an Ethernet header at the least; the program does not read it.
        const PACKET: [u8; 64] = [0; 64];
        let options = TestRunOptions { data_in: Some(&PACKET), ..TestRunOptions::default() };
        let result =
            self.sweep.test_run(options).map_err(|source| Error::Program { program: names::PROGRAM_SWEEP, source })?;
        Ok(if result.return_value == 0 { Sweep::Done } else { Sweep::RingFull })
    }

    /// Tells a connection to a Service its backend, by which it is decided from its next packet on, unless the kernel has
    /// seen for itself which one it is. Returns whether it is still there: false where the connection that was meant has
    /// left the table, or another one of the same key has taken its place.
    pub fn learn(&self, learnt: &Learnt) -> Result<bool, Error> {
        // SAFETY: the value has no padding (its layout is asserted where it is declared), and outlives the slice.
        let bytes = unsafe { slice::from_raw_parts(ptr::from_ref(learnt).cast::<u8>(), size_of::<Learnt>()) };
        let options = TestRunOptions { data_in: Some(bytes), ..TestRunOptions::default() };
        let result =
            self.learn.test_run(options).map_err(|source| Error::Program { program: names::PROGRAM_LEARN, source })?;
        Ok(result.return_value == 0)
    }

    /// Has denials counted in a new epoch from now on, waits until no program counts in an older one, and returns the
    /// last older epoch with all that was counted up to it and not yet removed.
    pub fn turn_epoch(&self) -> Result<(u64, Vec<DenialRecord>, Vec<LossRecord>), Error> {
        let epoch = self.state.turn_epoch();
        self.grace.wait()?;
        let (denials, losses) = self.counted.before(epoch)?;
        Ok((epoch - 1, denials, losses))
    }

    /// Removes what was counted up to and with `epoch`. It must be durable.
    pub fn remove_counted(&mut self, epoch: u64) -> Result<(), Error> {
        self.counted.remove_through(epoch)
    }

    /// The epoch in which denials are counted now.
    pub fn epoch(&self) -> u64 {
        self.state.epoch()
    }

    /// The kernel's counters.
    pub fn counters(&self) -> Result<Counters, Error> {
        Counters::read(&self.counters)
    }
}
