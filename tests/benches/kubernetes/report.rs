//! What was measured of each size, side by side.

use std::time::Duration;

use crate::times::{GOAL, Times, quantile, share};
use podwitness_tests::memory::Memory;

/// The agent shall take at most so much memory for a pod, and in all.
const GOAL_A_POD: f64 = 1024.0;
const GOAL_IN_ALL: u64 = 64 << 20;

/// What was measured in a cluster of one size.
pub(crate) struct Size {
    pub(crate) pods: usize,
    /// From the start of the program until packets were decided by the policies of the API server.
    pub(crate) to_in_force: Duration,
    /// Processor time until it was ready.
    pub(crate) cpu_of_start: Duration,
    /// When it had started.
    pub(crate) memory_at_first: Memory,
    /// When pods had come and gone.
    pub(crate) memory_at_last: Memory,
    /// Per cent of one processor, while nothing happens, and while pods come and go and policies are written.
    pub(crate) idle: f64,
    pub(crate) in_churn: f64,
    /// The same of its waiting for a processor, which others had.
    pub(crate) waited_in_churn: f64,
    pub(crate) quiet: Times,
    pub(crate) busy: Times,
}

/// A line of the table: what it is called, and how it is told of a size.
type Line<'a> = (String, &'a dyn Fn(&Size) -> String);

/// Prints the table, and what the goals say.
pub(crate) fn print(sizes: &[Size]) {
    println!("\n{}", row("pods", sizes, &|size| size.pods.to_string()));
    let memory: [Line<'_>; 5] = [
        ("memory: resident, started, MiB".to_owned(), &|size| mebibytes(size.memory_at_first.resident)),
        ("memory: heap and stacks, started, MiB".to_owned(), &|size| mebibytes(size.memory_at_first.anonymous)),
        ("memory: resident, after churn, MiB".to_owned(), &|size| mebibytes(size.memory_at_last.resident)),
        ("memory: heap and stacks, after churn, MiB".to_owned(), &|size| mebibytes(size.memory_at_last.anonymous)),
        ("memory: resident at the most, MiB".to_owned(), &|size| mebibytes(size.memory_at_last.peak)),
    ];
    let time: [Line<'_>; 5] = [
        ("start: to in force, s".to_owned(), &|size| format!("{:.2}", size.to_in_force.as_secs_f64())),
        ("start: processor time, s".to_owned(), &|size| format!("{:.2}", size.cpu_of_start.as_secs_f64())),
        ("processor: idle, % of one".to_owned(), &|size| format!("{:.2}", size.idle)),
        ("processor: in churn, % of one".to_owned(), &|size| format!("{:.1}", size.in_churn)),
        ("processor: waited for in churn, %".to_owned(), &|size| format!("{:.1}", size.waited_in_churn)),
    ];
    for (name, tell) in memory.iter().chain(&time) {
        println!("{}", row(name, sizes, tell));
    }
    for (situation, times) in [("quiet", (|size| &size.quiet) as fn(&Size) -> &Times), ("churn", |size| &size.busy)] {
        for (number, what) in ["the watch event", "the answer", "the request"].into_iter().enumerate() {
            for (name, of_all) in [("median", 0.5), ("99 %", 0.99), ("most", 1.0)] {
                let tell = |size: &Size| format!("{:.2}", quantile(times(size).from()[number], of_all));
                println!("{}", row(&format!("{situation}: from {what}, {name}, ms"), sizes, &tell));
            }
        }
    }
    goals(sizes);
}

fn goals(sizes: &[Size]) {
    println!();
    if let [first, .., last] = sizes {
        let grown = |of: fn(&Size) -> u64| (of(last) as f64 - of(first) as f64) / (last.pods - first.pods) as f64;
        let [started, churned] =
            [grown(|size| size.memory_at_first.anonymous), grown(|size| size.memory_at_last.anonymous)];
        println!(
            "bytes a pod, from {} to {} pods: {started:.0} started, {churned:.0} after churn; goal {GOAL_A_POD}: {}",
            first.pods,
            last.pods,
            met(started.max(churned) <= GOAL_A_POD)
        );
    }
    for size in sizes {
        let peak = size.memory_at_last.peak;
        println!("{} pods: at the most {} MiB; goal 64: {}", size.pods, mebibytes(peak), met(peak <= GOAL_IN_ALL));
        for (situation, times) in [("quiet", &size.quiet), ("churn", &size.busy)] {
            let within = times.watched.iter().filter(|time| **time <= GOAL).count();
            println!(
                "{} pods, {situation}: {:.1} % of {} policies in force within {GOAL:.0} ms of the watch event; goal 99: {}",
                size.pods,
                share(within, times.len()),
                times.len(),
                met(within * 100 >= times.len() * 99)
            );
        }
    }
}

fn row(name: &str, sizes: &[Size], tell: &dyn Fn(&Size) -> String) -> String {
    let told: Vec<String> = sizes.iter().map(|size| format!("{:>12}", tell(size))).collect();
    format!("{name:48}{}", told.concat())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
