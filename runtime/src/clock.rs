//! What the kernel says of the clock on the wall.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// What the kernel's clock discipline says of itself (`adjtimex(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discipline {
    /// Whether something keeps the clock in step with UTC.
    pub is_synchronised: bool,
    /// What is still to be corrected, in microseconds; negative where the clock is ahead.
    pub offset_us: i64,
    /// By how much the clock is off as estimated.
    pub estimated_error: Duration,
    /// By how much the clock is off at the most.
    pub greatest_error: Duration,
}

/// Asks the kernel; no privilege is needed.
pub fn discipline() -> io::Result<Discipline> {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is to a whole `timex`; with `modes` at 0 the call only writes to it.
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is integers throughout, zeroed, and filled in by the kernel.
    let timex = unsafe { timex.assume_init() };
    let is_in_nanoseconds = timex.status & libc::STA_NANO != 0;
    Ok(Discipline {
        is_synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        offset_us: if is_in_nanoseconds { timex.offset / 1000 } else { timex.offset },
        estimated_error: Duration::from_micros(timex.esterror.unsigned_abs()),
        greatest_error: Duration::from_micros(timex.maxerror.unsigned_abs()),
    })
}
