//! `podwitness verify` beside `sha256sum` on the same files in the same run, on a root of so many MB and on one of a
//! quarter of it: how fast, and in how much memory. `make bench-verify` runs it.
//!
//! Both read from the page cache, which a first pass fills where the root fits into it.

#![expect(clippy::cast_precision_loss, reason = "rates are told with two digits")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use podwitness_spool::Record;
use podwitness_tests::sealed_root::{Cluster, Node, SealedRoot, micros, records};

/// Rows that go into one file of each namespace at once: as many as the made node's spool can hold.
const ROWS: u64 = 8_000;
const NAMESPACES: [&str; 4] = ["bank", "ops", "shop", "web"];
const HASH: &str = "find . -name '*.parquet' -print0 | xargs -0 -n 64 -P \"$0\" sha256sum > /dev/null";

fn main() {
    let megabytes = std::env::var("PODWITNESS_BENCH_MB").map_or(5000, |text| text.parse().expect("a number of MB"));
    let processors = thread::available_parallelism().expect("the number of processors").get();
    for megabytes in [megabytes / 4, megabytes] {
        let folder = tempfile::tempdir().expect("a temporary folder (TMPDIR says where)");
        let bytes = make(folder.path(), megabytes * 1_000_000);
        let rate = |time: Duration| bytes as f64 / 1e9 / time.as_secs_f64();
        hash(folder.path(), processors);
        println!("{:.2} GB", bytes as f64 / 1e9);
        for threads in [1, processors] {
            let hashed = hash(folder.path(), threads);
            let (verified, peak) = verify(folder.path(), threads);
            println!(
                "  {threads} at once: sha256sum {:.2} GB/s, verify {:.2} GB/s, ratio {:.2}, VmHWM {:.1} MB",
                rate(hashed),
                rate(verified),
                rate(verified) / rate(hashed),
                peak as f64 / 1e3,
            );
        }
    }
}

/// A root of at least `bytes`, sealed every so often by one node. Gives its bytes.
fn make(folder: &Path, bytes: u64) -> u64 {
    let mut root = SealedRoot::new();
    let mut random = Random(1);
    let begin = micros(0, 0, 0);
    let mut node = Node::begin(&mut root, Cluster::named("lab"), "node-a", 1, "boot-1", begin).expect("a node");
    let (mut written, mut seconds) = (0, 0);
    while written < bytes {
        for namespace in NAMESPACES {
            let rows = (0..ROWS).map(|_| verdict(namespace, begin + seconds * 1_000_000, &mut random)).collect();
            node.witness(&mut root, rows).expect("a spool in a temporary folder");
        }
        seconds += 300;
        node.seal(&mut root, begin + seconds * 1_000_000);
        written += root
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with("verdicts/"))
            .map(|(_, b)| b.len() as u64)
            .sum::<u64>();
        root.write(folder).expect("room for the root");
        root.objects.clear();
        // Another boot has another spool, and this one is full.
        node.reboot(&format!("boot-{seconds}"), begin + seconds * 1_000_000).expect("a spool in a temporary folder");
    }
    node.seal_last(&mut root, begin + (seconds + 300) * 1_000_000);
    root.write(folder).expect("room for the root");
    written
}

/// A connection such as there are many: few pods, any port, any totals.
fn verdict(namespace: &str, time: i64, random: &mut Random) -> Record {
    let Record::Verdict(mut verdict) = records::open(namespace, time, 0) else { unreachable!("it is a verdict") };
    verdict.time_us += i64::try_from(random.below(299_000_000)).expect("it is small");
    verdict.last_time_us = Some(verdict.time_us + 1);
    verdict.src_ip = vec![10, 0, u8::try_from(random.below(4)).expect("it is small"), random.0.to_be_bytes()[3]];
    verdict.src_port = Some(u32::try_from(random.below(65_536)).expect("it is small"));
    let mut total = || Some(i64::try_from(random.below(1 << 20)).expect("it is small"));
    (verdict.packets_out, verdict.bytes_out, verdict.packets_in, verdict.bytes_in) =
        (total(), total(), total(), total());
    Record::Verdict(verdict)
}

/// Marsaglia's xorshift64: always the same root.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

fn hash(folder: &Path, at_once: usize) -> Duration {
    let start = Instant::now();
    let status = Command::new("sh").args(["-c", HASH, &at_once.to_string()]).current_dir(folder).status();
    assert!(status.expect("sh, find, xargs and sha256sum").success());
    start.elapsed()
}

/// How long it took, and the most memory in kB.
fn verify(folder: &Path, threads: usize) -> (Duration, u64) {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_podwitness"))
        .args(["verify", "-o", "json"])
        .arg(folder)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("the command");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // It only grows until the process is gone.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let told =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = peak.max(told.unwrap_or(0));
        if let Some(status) = child.try_wait().expect("it is our child") {
            assert!(status.success(), "the root is good");
            return (start.elapsed(), peak);
        }
        thread::sleep(Duration::from_millis(2));
    }
}
