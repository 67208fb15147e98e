//! What is freed goes back to the kernel. Of glibc alone can that be said.
#![cfg(target_env = "gnu")]

use std::fs;
use std::sync::{Mutex, PoisonError};

use podwitness_runtime::memory::{give_back, keep_little};

/// Kilobytes of the process that are in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel says it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Both look at the whole process.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn small_blocks_go_back_when_that_is_asked_whatever_lies_behind_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    keep_little();
    let before = resident();
    let mut blocks: Vec<Vec<u8>> = (0..300_000).map(|_| vec![1; 100]).collect();
    let last = blocks.pop();
    drop(blocks);
    let full = resident();
    assert!(full - before > 25_000, "{before} kB, and then {full}");
    give_back();
    let after = resident();
    assert!(after < before + 5_000, "{before} kB, then {full}, and {after} at last");
    drop(last);
}

#[test]
fn large_blocks_go_back_whatever_was_freed_before_and_lies_behind_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    keep_little();
    drop(vec![1_u8; 16 << 20]);
    let before = resident();
    let mut blocks: Vec<Vec<u8>> = (0..200).map(|_| vec![1; 200_000]).collect();
    let full = resident();
    assert!(full - before > 30_000, "{before} kB, and then {full}");
    let last = blocks.pop();
    drop(blocks);
    let after = resident();
    assert!(after < before + 5_000, "{before} kB, then {full}, and {after} at last");
    drop(last);
}
