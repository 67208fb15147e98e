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
    /// The sum over maps, of which those of older layouts may lack the newer counters.
    pub(crate) fn read(maps: &[PerCpuArray<MapData, u64>]) -> Result<Self, Error> {
        let mut values = [0; Counter::COUNT];
        for map in maps {
            for (index, value) in (0..map.len()).zip(&mut values) {
                let by_cpu = map.get(&index, 0).map_err(Error::map("read", names::COUNTERS))?;
                *value += by_cpu.iter().sum::<u64>();
            }
        }
        Ok(Self { values })
    }

    /// These values, and 0 for every other counter.
    pub fn of(values: &[(Counter, u64)]) -> Self {
        let mut counters = Self { values: [0; Counter::COUNT] };
        for (counter, value) in values {
            counters.values[usize::from(counter.number())] = *value;
        }
        counters
    }

    /// One counter's value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[usize::from(counter.number())]
    }
}
