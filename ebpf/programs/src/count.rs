//! The counters.

use podwitness_wire::Counter;

use crate::maps::COUNTERS;

/// Adds one.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(u32::from(counter.number())) {
        // SAFETY: the element is this CPU's own, and a classifier is not interrupted by another one.
        unsafe { *value += 1 }
    }
}
