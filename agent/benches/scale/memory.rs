//! Counts what is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, with a count of the bytes that are in use.
pub(crate) struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// What glibc takes for a block: a word of its own, in multiples of 16 bytes, 32 at the least.
fn block(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

// SAFETY: it is the system's allocator; the count has no part in what it gives.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(block(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(block(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes of the blocks that are in use now.
pub(crate) fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// A line of `/proc/self/status`, in bytes.
pub(crate) fn of_process(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel says it");
    let kilobytes =
        status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.expect("a line in kB") * 1024
}
