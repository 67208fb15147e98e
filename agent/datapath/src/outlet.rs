//! The part that brings out what happened.

use std::{ptr, slice, sync::Arc};

use aya::{
    maps::{MapData, PerCpuArray},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use podwitness_wire::{Event, Learnt, names};

use crate::{Counters, DenialRecord, Error, LossRecord, Position, grace::Grace, older::HandOver, records::Records};

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
///
/// Where an older version has left maps of another layout, these are brought out to their end first, and then
/// [`hand_over`](Self::hand_over) goes on to those of this one.
pub struct Outlet {
    pub(crate) records: Box<dyn Records>,
    /// What comes after the maps of an older layout.
    pub(crate) hand_over: Option<HandOver>,
    pub(crate) sweep: SchedClassifier,
    pub(crate) learn: SchedClassifier,
    /// Those of this layout first.
    pub(crate) counters: Vec<PerCpuArray<MapData, u64>>,
    pub(crate) connection_capacity: u32,
    pub(crate) grace: Arc<Grace>,
}

impl Outlet {
    /// Which ring positions are of: the map's id, which the kernel gives once in a boot.
    pub fn ring_id(&self) -> u32 {
        self.records.ring_id()
    }

    /// Up to where events were acknowledged.
    pub fn acknowledged(&self) -> Position {
        self.records.acknowledged()
    }

    /// How many bytes of the ring are waiting to be read from `position` on.
    pub fn waiting_bytes(&self, position: Position) -> u64 {
        self.records.reserved().saturating_sub(position)
    }

    /// Reads at most `most` events from `position` on, and returns where the next one begins.
    pub fn read_events(&self, position: Position, most: usize, events: &mut Vec<Event>) -> Position {
        self.records.read_events(position, most, events)
    }

    /// Gives the room of the events before `position` back to the kernel. They must be durable.
    pub fn acknowledge_events(&self, position: Position) {
        self.records.acknowledge_events(position);
    }

    /// Goes on from the maps of an older layout to those of this one, where nothing uses the older ones any more and all
    /// that was in them is acknowledged. Returns true when it did so: ring, position and epoch are others then.
    pub fn hand_over(&mut self) -> Result<bool, Error> {
        let Some(hand_over) = &self.hand_over else { return Ok(false) };
        if !hand_over.is_due() || !self.records.is_drained() {
            return Ok(false);
        }
        hand_over.remove_older()?;
        self.records = self.hand_over.take().expect("it is there").newer;
        Ok(true)
    }

    /// Has the kernel offer owed records again, and report and delete what ended. Nothing is swept before
    /// [`hand_over`](Self::hand_over): until then connections are still being carried over.
    pub fn sweep(&self) -> Result<Sweep, Error> {
        /// The kernel wants an Ethernet header at the least; the program does not read it.
        const PACKET: [u8; 64] = [0; 64];
        if self.hand_over.is_some() {
            return Ok(Sweep::Done);
        }
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
    /// last older epoch.
    pub fn turn_epoch(&self) -> Result<u64, Error> {
        let epoch = self.records.turn_epoch();
        self.grace.wait()?;
        Ok(epoch - 1)
    }

    /// All that was counted up to and with an `epoch` that [`turn_epoch`](Self::turn_epoch) has ended, and not yet removed.
    pub fn counted_through(&self, epoch: u64) -> Result<(Vec<DenialRecord>, Vec<LossRecord>), Error> {
        self.records.counted_before(epoch + 1)
    }

    /// Removes what was counted up to and with `epoch`. It must be durable.
    pub fn remove_counted(&mut self, epoch: u64) -> Result<(), Error> {
        self.records.remove_through(epoch)
    }

    /// The epoch in which denials are counted now.
    pub fn epoch(&self) -> u64 {
        self.records.epoch()
    }

    /// Whether the maps of an older layout were here before those of this one, or are here still: rings of before are theirs.
    pub fn follows_older(&self) -> bool {
        self.counters.len() > 1
    }

    /// How many connections the table has room for.
    pub fn connection_capacity(&self) -> u32 {
        self.connection_capacity
    }

    /// What the kernel has counted since the maps that [`ring_id`](Self::ring_id) names were made. `None` before
    /// [`hand_over`](Self::hand_over): the programs count for the newer maps then, and the older are being brought out.
    pub fn counted_for_ring(&self) -> Result<Option<Counters>, Error> {
        if self.hand_over.is_some() {
            return Ok(None);
        }
        Counters::read(&self.counters[..1]).map(Some)
    }

    /// The kernel's counters, those of an older layout included.
    pub fn counters(&self) -> Result<Counters, Error> {
        Counters::read(&self.counters)
    }
}
