//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// The longest wait after the first failure; it doubles with each that follows.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that grow, each of a random length, so that the agents of a cluster whose API server was away do not all come
/// back at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Something failed: how long to wait now, between a half and all of the longest wait for so many failures.
    pub(super) fn next(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        most.mul_f64(random(0.5, 1.0))
    }
}

/// A random number of these bounds.
pub(super) fn random(least: f64, most: f64) -> f64 {
    // Without random bytes all wait for the same time.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    least + (most - least) * f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        for failures in 0..40 {
            let most = FIRST.saturating_mul(1 << failures.min(20)).min(LONGEST);
            let wait = backoff.next();
            assert!(wait >= most / 2 && wait <= most, "{wait:?} after {failures}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn waits_differ() {
        let waits: Vec<Duration> = (0..8).map(|_| Backoff::default().next()).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
