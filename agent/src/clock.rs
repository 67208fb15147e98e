//! From the kernel's clock to UTC.

use nix::time::{ClockId, clock_gettime};

/// The difference between `CLOCK_BOOTTIME`, which programs read, and UTC.
///
/// Both clocks run at the same rate (the kernel slews them together), so that the difference changes only when
/// somebody steps the wall clock. Smaller differences between two readings are the readings' own, and are not
/// followed: the records of one connection would otherwise be out of order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    boot_to_utc_ns: i64,
}

/// A difference from here on is a step of the wall clock.
const STEP_NS: u64 = 1_000_000;

/// How often the clocks are read; the reading that took least time counts. One that is interrupted between the two
/// clocks is wrong by as long as that took.
const READINGS: usize = 5;

impl Clock {
    /// Reads both clocks.
    ///
    /// # Errors
    ///
    /// Where the kernel lacks one of them, which no supported one does.
    pub(crate) fn read() -> nix::Result<Self> {
        let mut best: Option<(i64, i64)> = None;
        for _ in 0..READINGS {
            let before = nanoseconds(ClockId::CLOCK_BOOTTIME)?;
            let utc = nanoseconds(ClockId::CLOCK_REALTIME)?;
            let after = nanoseconds(ClockId::CLOCK_BOOTTIME)?;
            let took = after - before;
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, utc - (before + took / 2)));
            }
        }
        let (_, boot_to_utc_ns) = best.expect("the clocks were read at least once");
        Ok(Self { boot_to_utc_ns })
    }

    /// Reads both clocks again, to follow a step.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn follow(&mut self) -> nix::Result<()> {
        *self = self.unless_stepped(Self::read()?);
        Ok(())
    }

    const fn unless_stepped(self, now: Self) -> Self {
        if now.boot_to_utc_ns.abs_diff(self.boot_to_utc_ns) < STEP_NS { self } else { now }
    }

    /// Microseconds since 1970 in UTC of a time in nanoseconds since the boot.
    pub(crate) const fn utc_us(self, boot_ns: u64) -> i64 {
        (self.boot_to_utc_ns + boot_ns.cast_signed()).div_euclid(1000)
    }
}

fn nanoseconds(clock: ClockId) -> nix::Result<i64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
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

    #[test]
    fn only_a_step_is_followed() {
        let clock = Clock { boot_to_utc_ns: 5_000_000 };
        assert_eq!(clock.unless_stepped(Clock { boot_to_utc_ns: 5_999_999 }).boot_to_utc_ns, 5_000_000);
        assert_eq!(clock.unless_stepped(Clock { boot_to_utc_ns: 6_000_000 }).boot_to_utc_ns, 6_000_000);
        assert_eq!(clock.unless_stepped(Clock { boot_to_utc_ns: -5_000_000 }).boot_to_utc_ns, -5_000_000);
    }
}
