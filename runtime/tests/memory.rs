//! What is freed goes back to the kernel. Of glibc alone can that be said.
#![cfg(target_env = "gnu")]

use std::fs;

use podwitness_runtime::memory::keep_little;

/// Kilobytes of the process that are in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel says it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn large_blocks_go_back_whatever_was_freed_before_and_lies_behind_them() {
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
