//! What can be said of the clock that stands in every record: whether something keeps it, how far it is off, and when
//! somebody has set it.

use std::time::{Duration, Instant};

use podwitness_runtime::clock::{Discipline, discipline};
use podwitness_spool::{ClockState, Coverage, words::CoverageEvent};

use crate::{clock::Clock, coverage::now_us};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A difference to the kernel's clock since the boot that grew by more than this was set, in microseconds.
const STEP_US: u64 = 100_000;

/// Looks at the clock from time to time.
#[derive(Debug)]
pub(crate) struct WallClock {
    interval: Duration,
    next_look: Instant,
    next_row: Instant,
    told: Option<Look>,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// UTC at the boot, in microseconds since 1970.
    boot_us: i64,
    is_synchronised: bool,
}

impl WallClock {
    /// Says how it is at the first look, and then once an interval at least.
    pub(crate) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self { interval, next_look: now, next_row: now, told: None }
    }

    /// The record of it, where there is something to say now.
    pub(crate) fn look(&mut self, read: impl FnOnce() -> nix::Result<Clock>) -> Option<Coverage> {
        let now = Instant::now();
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_EVERY;
        let seen = read().map_err(std::io::Error::from).and_then(|clock| Ok((clock, discipline()?)));
        match seen {
            Ok((clock, discipline)) => self.say(now, clock.utc_us(0), discipline),
            Err(error) => {
                tracing::warn!(%error, "cannot ask the kernel about the clock");
                None
            }
        }
    }

    fn say(&mut self, now: Instant, boot_us: i64, discipline: Discipline) -> Option<Coverage> {
        let Discipline { is_synchronised, offset_us, greatest_error, .. } = discipline;
        let step_us = self.told.map_or(0, |told| boot_us - told.boot_us);
        let is_set = step_us.unsigned_abs() > STEP_US;
        let is_other = self.told.is_none_or(|told| told.is_synchronised != is_synchronised);
        if !is_set && !is_other && now < self.next_row {
            return None;
        }
        self.next_row = now + self.interval;
        self.told = Some(Look { boot_us, is_synchronised });
        if is_set {
            tracing::warn!(step_us, "somebody has set the clock: times of records before and after differ by that");
        }
        Some(Coverage {
            time_us: now_us(),
            event: CoverageEvent::Clock.number().into(),
            clock: Some(ClockState {
                synchronised: is_synchronised,
                offset_us,
                error_us: i64::try_from(greatest_error.as_micros()).unwrap_or(i64::MAX),
                step_us: if is_set { step_us } else { 0 },
            }),
            ..Coverage::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_told_at_the_start_once_an_interval_and_when_it_was_set_or_let_go() {
        let interval = Duration::from_secs(300);
        let mut clock = WallClock::new(interval);
        let start = Instant::now();
        let mut told = |seconds: u64, boot_us: i64, is_synchronised: bool| {
            let discipline = Discipline {
                is_synchronised,
                offset_us: -12,
                estimated_error: Duration::ZERO,
                greatest_error: Duration::from_millis(9),
            };
            let row = clock.say(start + Duration::from_secs(seconds), boot_us, discipline)?;
            let state = row.clock.unwrap();
            assert_eq!((state.offset_us, state.error_us), (-12, 9000));
            Some((state.synchronised, state.step_us))
        };
        assert_eq!(told(0, 1_000_000, true), Some((true, 0)));
        assert_eq!(told(1, 1_000_000, true), None);
        assert_eq!(told(2, 1_100_000, true), None, "a tenth of a second is no step yet");
        assert_eq!(told(3, 1_100_001, true), Some((true, 100_001)));
        assert_eq!(told(4, 1_100_001, false), Some((false, 0)));
        assert_eq!(told(5, -8_899_999, false), Some((false, -10_000_000)));
        assert_eq!(told(304, -8_899_999, false), None);
        assert_eq!(told(305, -8_899_999, false), Some((false, 0)));
    }
}
