//! From the kernel's clock to UTC.

use nix::time::{ClockId, clock_gettime};

/// The difference between `CLOCK_BOOTTIME`, which programs read, and UTC, at one moment. It is read anew for each batch
/// of records, so that a step of the wall clock holds for what came after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    boot_to_utc_ns: i64,
}

impl Clock {
    /// Reads both clocks.
    ///
    /// # Errors
    ///
    /// Where the kernel lacks one of them, which no supported one does.
    pub(crate) fn now() -> nix::Result<Self> {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
        let utc = clock_gettime(ClockId::CLOCK_REALTIME)?;
        let nanoseconds = |time: nix::sys::time::TimeSpec| time.tv_sec() * 1_000_000_000 + time.tv_nsec();
        Ok(Self { boot_to_utc_ns: nanoseconds(utc) - nanoseconds(boot) })
    }

    /// Microseconds since 1970 in UTC of a time in nanoseconds since the boot.
    pub(crate) fn utc_us(self, boot_ns: u64) -> i64 {
        (self.boot_to_utc_ns + boot_ns.cast_signed()).div_euclid(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_since_the_boot_become_microseconds_of_utc_rounded_down() {
        let clock = Clock { boot_to_utc_ns: 1_000_000_000_500 };
        assert_eq!(clock.utc_us(0), 1_000_000_000);
        assert_eq!(clock.utc_us(499), 1_000_000_000);
        assert_eq!(clock.utc_us(500), 1_000_000_001);
    }
}
