//! The memory of the process.

/// A block of so many bytes has pages of its own, which the kernel has back when it is freed.
const OWN_PAGES: i32 = 128 << 10;

/// Has the allocator keep little of what is freed. To be called before there are other threads.
///
/// glibc keeps memory for each thread apart, so that what one has freed is of no use to another; and it takes a large
/// block that was freed for a sign that such blocks belong among the small ones, where what lies behind them holds them
/// in the process. A program that reads a large list and then waits for changes to it has half of its memory for nothing
/// by that. Where the C library is another one nothing is changed.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and no other thread allocates yet. Where it refuses one, more is kept.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES);
    }
}

/// Has the kernel have back the pages of what was freed and is kept. It takes some milliseconds for some ten megabytes, and so
/// much longer takes who needs pages next.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and holds the allocator's locks meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}
