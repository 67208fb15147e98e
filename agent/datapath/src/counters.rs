//! The kernel's counters, summed over the CPUs.

use aya::maps::{MapData, PerCpuArray};
use podwitness_wire::{Counter, names};

use crate::Error;

/// What the kernel has counted since the maps were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    values: [u64; Counter::COUNT],
}

impl Counters {
    pub(crate) fn read(map: &PerCpuArray<MapData, u64>) -> Result<Self, Error> {
        let mut values = [0; Counter::COUNT];
        for counter in Counter::ALL {
            let index = counter.number();
            let by_cpu = map.get(&u32::from(index), 0).map_err(Error::map("read", names::COUNTERS))?;
            values[usize::from(index)] = by_cpu.iter().sum();
        }
        Ok(Self { values })
    }

    /// One counter's value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[usize::from(counter.number())]
    }
}
