//! Whether the times of records can be trusted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use podwitness_runtime::clock::{Discipline, discipline};

use super::check::{Check, sentence};

/// Offsets of this process's time namespace (`time_namespaces(7)`); absent where the kernel has none.
const NAMESPACE: &str = "/proc/self/timens_offsets";

/// 2025-01-01 in seconds since 1970: before this program was written.
const BEFORE_THIS_PROGRAM: Duration = Duration::from_secs(1_735_689_600);

/// The error from which a record may seem to be older than its cause on another node.
const LARGE_ERROR: Duration = Duration::from_secs(1);

const SYNCHRONISE: &str = "run chrony, systemd-timesyncd or another NTP client on the node: records carry its time";

pub(super) fn checks() -> Vec<Check> {
    vec![synchronised(), sane()]
}

fn synchronised() -> Check {
    match discipline() {
        Ok(discipline) => judge_discipline(discipline),
        Err(error) => Check::unknown("clock.synchronised", format!("the kernel does not say: {error}"), SYNCHRONISE),
    }
}

fn judge_discipline(discipline: Discipline) -> Check {
    let Discipline { is_synchronised, offset_us, estimated_error, .. } = discipline;
    let offset = Duration::from_micros(offset_us.unsigned_abs());
    let name = "clock.synchronised";
    if !is_synchronised {
        return Check::warning(name, "nothing keeps the clock in step with UTC", SYNCHRONISE);
    }
    let found = format!(
        "kept in step with UTC: {} to correct, estimated error {}",
        milliseconds(offset),
        milliseconds(estimated_error)
    );
    if offset.max(estimated_error) < LARGE_ERROR {
        Check::ok(name, found)
    } else {
        Check::warning(name, found, "see what the NTP client says of its servers")
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn sane() -> Check {
    let name = "clock.time";
    let read = |clock| clock_gettime(clock).map(Duration::from);
    let (utc, since_boot) = match (read(ClockId::CLOCK_REALTIME), read(ClockId::CLOCK_BOOTTIME)) {
        (Ok(utc), Ok(since_boot)) => (utc, since_boot),
        (Err(error), _) | (_, Err(error)) => {
            return Check::failed(
                name,
                sentence(&error),
                "run a kernel with CLOCK_BOOTTIME, as all supported ones have",
            );
        }
    };
    judge_time(utc, since_boot, shift(Path::new(NAMESPACE)))
}

fn judge_time(utc: Duration, since_boot: Duration, shift: Option<String>) -> Check {
    let name = "clock.time";
    if let Some(shift) = shift {
        return Check::failed(
            name,
            format!("this process is in a time namespace ({shift}), and the kernel's programs are not"),
            "run the agent in the node's own time namespace: its records would be off by as much",
        );
    }
    let at = |time: Duration| {
        let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
        time.map_or_else(|| "beyond all dates".to_owned(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    let found = format!("the clock says {}, {} s after the boot", at(utc), since_boot.as_secs());
    if utc < BEFORE_THIS_PROGRAM.max(since_boot) {
        Check::failed(name, found, "set the clock: records would carry this time")
    } else {
        Check::ok(name, found)
    }
}

/// What the time namespace adds to the time since the boot, where it is another one than the kernel's.
fn shift(offsets: &Path) -> Option<String> {
    let text = fs::read_to_string(offsets).ok()?;
    let line = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&"boottime"))?;
    let is_shifted = line.iter().skip(1).any(|number| *number != "0");
    is_shifted.then(|| line.join(" "))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::{BEFORE_THIS_PROGRAM, Discipline, discipline, judge_discipline, judge_time, shift};
    use crate::doctor::check::State;

    #[test]
    fn a_clock_that_nothing_corrects_or_that_is_far_off_is_a_warning() {
        let good = Discipline {
            is_synchronised: true,
            offset_us: -12,
            estimated_error: Duration::from_millis(3),
            greatest_error: Duration::from_millis(9),
        };
        let check = judge_discipline(good);
        assert_eq!((check.state, check.advice), (State::Ok, None));
        assert!(check.found.contains("0.012 ms") && check.found.contains("3.000 ms"), "{}", check.found);
        let far = Duration::from_secs(2);
        for bad in [
            Discipline { is_synchronised: false, ..good },
            Discipline { offset_us: -2_000_000, ..good },
            Discipline { estimated_error: far, ..good },
        ] {
            assert_eq!(judge_discipline(bad).state, State::Warning, "{bad:?}");
        }
    }

    #[test]
    fn the_kernel_says_how_its_clock_is_kept() {
        discipline().unwrap();
    }

    #[test]
    fn a_clock_that_was_never_set_fails_and_so_does_a_time_namespace() {
        let up = Duration::from_secs(100);
        let now = BEFORE_THIS_PROGRAM + Duration::from_secs(86_400);
        assert_eq!(judge_time(now, up, None).state, State::Ok);
        assert_eq!(judge_time(now, up, None).found, "the clock says 2025-01-02T00:00:00Z, 100 s after the boot");
        assert_eq!(judge_time(up, up, None).state, State::Failed);
        assert_eq!(judge_time(now, up, Some("boottime 1 0".to_owned())).state, State::Failed);
    }

    #[test]
    fn the_offsets_of_a_time_namespace_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("offsets");
        let shift_of = |text: &str| {
            fs::write(&file, text).unwrap();
            shift(&file)
        };
        assert_eq!(shift_of("monotonic           0         0\nboottime            0         0\n"), None);
        assert_eq!(shift_of("monotonic 0 0\nboottime     -60      5\n").as_deref(), Some("boottime -60 5"));
        assert_eq!(shift(&folder.path().join("nothing")), None);
    }
}
