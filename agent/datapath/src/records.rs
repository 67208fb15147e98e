//! What waits in one layout's maps to be brought out, spoken of in the words of this one.

use std::sync::Arc;

use podwitness_wire::{DenialKey, Event};

use crate::{DenialRecord, Error, LossRecord, Position, denials::Counted, ring::Ring, shared_state::SharedState};

/// The ring and the counted tables of one layout.
pub(crate) trait Records: Send {
    fn ring_id(&self) -> u32;
    fn acknowledged(&self) -> Position;
    fn reserved(&self) -> Position;
    fn read_events(&self, position: Position, most: usize, events: &mut Vec<Event>) -> Position;
    fn acknowledge_events(&self, position: Position);
    fn epoch(&self) -> u64;
    fn turn_epoch(&self) -> u64;
    fn counted_before(&self, epoch: u64) -> Result<(Vec<DenialRecord>, Vec<LossRecord>), Error>;
    fn remove_through(&mut self, epoch: u64) -> Result<(), Error>;
    /// Whether everything was acknowledged and removed.
    fn is_drained(&self) -> bool;
}

/// The maps of a layout with these events and keys of denied attempts.
pub(crate) struct Kept<E, K> {
    pub(crate) ring: Ring<E>,
    pub(crate) ring_id: u32,
    pub(crate) counted: Counted<K>,
    pub(crate) state: Arc<SharedState>,
}

impl<E, K> Records for Kept<E, K>
where
    E: aya::Pod + Into<Event> + Send,
    K: aya::Pod + Into<DenialKey> + Send,
{
    fn ring_id(&self) -> u32 {
        self.ring_id
    }

    fn acknowledged(&self) -> Position {
        self.ring.acknowledged()
    }

    fn reserved(&self) -> Position {
        self.ring.reserved()
    }

    fn read_events(&self, position: Position, most: usize, events: &mut Vec<Event>) -> Position {
        self.ring.read(position, most, events)
    }

    fn acknowledge_events(&self, position: Position) {
        self.ring.acknowledge(position);
    }

    fn epoch(&self) -> u64 {
        self.state.epoch()
    }

    fn turn_epoch(&self) -> u64 {
        self.state.turn_epoch()
    }

    fn counted_before(&self, epoch: u64) -> Result<(Vec<DenialRecord>, Vec<LossRecord>), Error> {
        self.counted.before(epoch)
    }

    fn remove_through(&mut self, epoch: u64) -> Result<(), Error> {
        self.counted.remove_through(epoch)
    }

    fn is_drained(&self) -> bool {
        self.ring.acknowledged() == self.ring.reserved() && self.counted.is_empty()
    }
}
