//! Says which CPUs are reading the tables of a generation, so that user space knows when a slot that went out of force is
//! read no more: that takes it microseconds, where the kernel's own way of telling (see
//! [`GRACE`](crate::maps::GRACE)) takes some ten milliseconds.
//!
//! User space stores the generation and then looks at the readers; a program makes itself a reader and then reads the
//! generation. Neither passes the other by: both have a full barrier between the two. So a program that user space has not
//! seen reads by the new generation, and whoever reads by an older one is seen until it ends.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};

use crate::atomic;

/// How many programs of this CPU are reading. One may be interrupted by another: the sweep runs on a thread.
#[btf_map(name = "PW_READERS")]
static READERS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Begins to read tables, the generation before all; false where nobody could know of it. Who begins also [ends](end).
#[inline(always)]
pub(crate) fn begin() -> bool {
    add(1)
}

/// Ends to read tables.
#[inline(always)]
pub(crate) fn end() {
    const MINUS_ONE: u64 = u64::MAX;
    add(MINUS_ONE);
}

/// Asked for each time, because a pointer that is kept takes room on a stack that has none left.
#[inline(always)]
fn add(number: u64) -> bool {
    let Some(readers) = READERS.get_ptr_mut(0) else { return false };
    // SAFETY: the element exists as long as the map.
    unsafe { atomic::add_in_order(readers, number) };
    true
}
