//! What the kernel says about the agent's process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The time of a process on processors, in the kernel too, by the names of its threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    by_thread: BTreeMap<String, Duration>,
    /// For how long its threads could have run and had no processor: that of others.
    waited: Duration,
}

impl Cpu {
    /// Up to now, of the threads that there are: those of the agent live as long as it.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut cpu = Self::default();
        let tasks = folder(pid).join("task");
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot list {}", tasks.display()))? {
            let task = task?.path();
            // A thread may have ended since.
            let (Ok(name), Ok(times)) = (read(&task.join("comm")), read(&task.join("schedstat"))) else { continue };
            let mut times = times.split(' ').map(|time| time.parse().map(Duration::from_nanos));
            let mut next = || times.next().context("schedstat has three numbers")?.context("schedstat has numbers");
            *cpu.by_thread.entry(name.trim().to_owned()).or_default() += next()?;
            cpu.waited += next()?;
        }
        Ok(cpu)
    }

    pub(crate) fn total(&self) -> Duration {
        self.by_thread.values().sum()
    }

    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// What was added since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |name: &str| earlier.by_thread.get(name).copied().unwrap_or_default();
        let by_thread =
            self.by_thread.iter().map(|(name, time)| (name.clone(), time.saturating_sub(before(name)))).collect();
        Self { by_thread, waited: self.waited.saturating_sub(earlier.waited) }
    }

    /// Each thread's share of one processor over `time`, in per cent, the largest first; without those of less than 0.05.
    pub(crate) fn shares(&self, time: Duration) -> String {
        let mut shares: Vec<(&str, f64)> =
            self.by_thread.iter().map(|(name, cpu)| (name.as_str(), percent(*cpu, time))).collect();
        shares.sort_by(|one, other| other.1.total_cmp(&one.1));
        let shown = shares.iter().filter(|(_, share)| *share >= 0.05).map(|(name, share)| format!("{name} {share:.1}"));
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// A share of one processor.
pub(crate) fn percent(cpu: Duration, time: Duration) -> f64 {
    cpu.as_secs_f64() / time.as_secs_f64() * 1e2
}

fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
