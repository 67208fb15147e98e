//! Atomic operations on map values. The compiler's own are not offered for this target (it has no compare-and-swap by
//! its description), so they are written as the instructions that they are (kernel commit 5ca419f2864a, Linux 5.12).

use core::arch::asm;

/// Adds to a word, without asking for its value.
///
/// # Safety
///
/// `word` must point to an aligned word of a map's value.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: the caller's; the instruction touches nothing else.
    unsafe { asm!("lock *(u64 *)({word} + 0) += {amount}", word = in(reg) word, amount = in(reg) amount) }
}

/// Adds to a word as a full barrier: every CPU sees what comes before in the program before it sees what comes behind. So
/// it is with each operation that asks for the value (the kernel's `Documentation/atomic_t.txt`, "fully ordered").
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn add_in_order(word: *mut u64, amount: u64) {
    // SAFETY: the caller's; the instruction touches nothing else.
    unsafe {
        asm!("{add} = atomic_fetch_add((u64 *)({word} + 0), {add})", word = in(reg) word, add = inout(reg) amount => _);
    }
}

/// Sets bits and returns the word as it was before.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn set_bits(word: *mut u64, bits: u64) -> u64 {
    let mut before = bits;
    // SAFETY: the caller's; the instruction touches nothing else.
    unsafe {
        asm!("{before} = atomic_fetch_or((u64 *)({word} + 0), {before})", word = in(reg) word, before = inout(reg) before);
    }
    before
}

/// Clears bits and returns the word as it was before.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn clear_bits(word: *mut u64, bits: u64) -> u64 {
    let mut before = !bits;
    // SAFETY: the caller's; the instruction touches nothing else.
    unsafe {
        asm!("{before} = atomic_fetch_and((u64 *)({word} + 0), {before})", word = in(reg) word, before = inout(reg) before);
    }
    before
}

/// Puts another word in its place and returns the word as it was before.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub(crate) unsafe fn swap(word: *mut u64, value: u64) -> u64 {
    let mut before = value;
    // SAFETY: the caller's; the instruction touches nothing else.
    unsafe {
        asm!("{before} = xchg_64({word} + 0, {before})", word = in(reg) word, before = inout(reg) before);
    }
    before
}
