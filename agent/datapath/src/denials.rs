//! Denied attempts and losses, drained by epoch.

use aya::maps::{HashMap, MapData};
use podwitness_wire::{Denial, DenialKey, Loss, LossKey, names};

use crate::Error;

/// Denied attempts that are alike in all but source port, of one epoch.
pub type DenialRecord = (DenialKey, Denial);
/// Records that could not be kept, of one epoch.
pub type LossRecord = (LossKey, Loss);

/// The two tables that are drained by epoch; `K` is the key of denied attempts.
pub(crate) struct Counted<K> {
    pub(crate) denials: HashMap<MapData, K, Denial>,
    pub(crate) losses: HashMap<MapData, LossKey, Loss>,
}

impl<K: aya::Pod + Into<DenialKey>> Counted<K> {
    /// What was counted before `epoch`. No program may still be counting there.
    pub(crate) fn before(&self, epoch: u64) -> Result<(Vec<DenialRecord>, Vec<LossRecord>), Error> {
        let mut denials = Vec::new();
        for entry in &self.denials {
            let (key, denial) = entry.map_err(Error::map("read", names::DENIALS))?;
            let key = key.into();
            if u64::from(key.epoch) < epoch {
                denials.push((key, denial));
            }
        }
        let mut losses = Vec::new();
        for entry in &self.losses {
            let (key, loss) = entry.map_err(Error::map("read", names::LOSSES))?;
            if u64::from(key.epoch) < epoch {
                losses.push((key, loss));
            }
        }
        Ok((denials, losses))
    }

    /// Removes what was counted in epochs up to and with `epoch`.
    pub(crate) fn remove_through(&mut self, epoch: u64) -> Result<(), Error> {
        let mut denials = Vec::new();
        for entry in self.denials.keys() {
            let key = entry.map_err(Error::map("read", names::DENIALS))?;
            if u64::from(Into::<DenialKey>::into(key).epoch) <= epoch {
                denials.push(key);
            }
        }
        for key in denials {
            self.denials.remove(&key).map_err(Error::map("empty", names::DENIALS))?;
        }
        let (_, losses) = self.before(epoch + 1)?;
        for (key, _) in losses {
            self.losses.remove(&key).map_err(Error::map("empty", names::LOSSES))?;
        }
        Ok(())
    }

    /// Whether nothing is counted in any epoch.
    pub(crate) fn is_empty(&self) -> bool {
        self.denials.keys().next().is_none() && self.losses.keys().next().is_none()
    }
}
