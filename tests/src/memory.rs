//! What the kernel says about the memory of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All that is in memory of it.
    pub resident: u64,
    /// The part that is its alone: heap and stacks.
    pub anonymous: u64,
    /// The most that was ever in memory of it.
    pub peak: u64,
}

impl Memory {
    /// As it is now. An error where the process has ended.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kilobytes.map(|kilobytes| kilobytes * 1024).with_context(|| format!("no {name} in kB in:\n{status}"))
        };
        Ok(Self { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")?, peak: bytes("VmHWM")? })
    }
}
