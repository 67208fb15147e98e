//! `podwitness verify` beside `sha256sum` on the same files in the same run, on a root of so many MB and on one of a
//! quarter of it: how fast, and in how much memory. `make bench-verify` runs it.
//!
//! Both read from the page cache, which a first pass fills where the root fits into it. What a core does is bytes by the
//! processor time that a program took, which others that work at the same time change little.

#![expect(clippy::cast_precision_loss, reason = "rates are told with two digits")]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use podwitness_spool::Record;
use podwitness_tests::memory::Memory;
use podwitness_tests::sealed_root::recurring::Recurring;
use podwitness_tests::sealed_root::{Cluster, Node, SealedRoot, micros, records};
use podwitness_wire::EventKind;

/// Rows of a file: about as many as `batch.maxBytes` makes one of.
const ROWS: i64 = 500_000;
/// Time that a file covers.
const WINDOW_US: i64 = 300_000_000;
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
            println!("  {threads} at once, VmHWM of verify {:.1} MB", peak as f64 / 1e6);
            for (what, hashed, verified) in
                [("in all", hashed.wall, verified.wall), ("a core", hashed.processor, verified.processor)]
            {
                let (hashed, verified) = (rate(hashed), rate(verified));
                println!(
                    "    {what}: sha256sum {hashed:.2} GB/s, verify {verified:.2} GB/s, ratio {:.2}",
                    verified / hashed
                );
            }
        }
    }
}

/// A root of at least `bytes`, sealed every so often by one node: rows of one window, which come again in each later one.
/// Gives its bytes.
fn make(folder: &Path, bytes: u64) -> u64 {
    let mut root = SealedRoot::new();
    let mut random = Random(1);
    let begin = micros(0, 0, 0);
    let cluster = Cluster::named("lab");
    let mut node = Node::begin(&mut root, cluster.clone(), "node-a", 1, "boot-1", begin).expect("a node");
    let mut recurring = Vec::new();
    for namespace in NAMESPACES {
        let rows = (0..ROWS).map(|row| verdict(namespace, begin, row, &mut random)).collect();
        node.witness(&mut root, rows).expect("a spool in a temporary folder");
        root.write(folder).expect("room for the root");
        let ours = format!("/namespace={namespace}/");
        let path = root.objects.keys().find(|path| path.contains(&ours)).expect("it was put");
        let file = File::open(folder.join(path)).expect("it was written");
        recurring.push(Recurring::read(namespace, file).expect("a file of verdicts"));
    }
    let origin = node.origin();
    let mut written = 0;
    for number in 1.. {
        node.seal(&mut root, begin + number * WINDOW_US);
        let verdicts = root.objects.iter().filter(|(path, _)| path.starts_with("verdicts/"));
        written += verdicts.map(|(_, object)| object.len() as u64).sum::<u64>();
        root.write(folder).expect("room for the root");
        root.objects.clear();
        if written >= bytes {
            node.seal_last(&mut root, begin + (number + 1) * WINDOW_US);
            break;
        }
        let files = thread::scope(|scope| {
            let (origin, cluster) = (&origin, &cluster);
            let again = |rows| scope.spawn(move || Recurring::again(rows, origin, cluster, number, WINDOW_US));
            let threads: Vec<_> = recurring.iter().map(again).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic").expect("a file")).collect()
        });
        node.put_files(&mut root, files);
    }
    root.write(folder).expect("room for the root");
    written
}

/// Every other row opens a connection and closes one, of few pods and from any port, a little out of order, as they come out of
/// the kernel's tables.
fn verdict(namespace: &str, begin: i64, row: i64, random: &mut Random) -> Record {
    let Record::Verdict(mut verdict) = records::open(namespace, begin, 0) else { unreachable!("it is a verdict") };
    verdict.time_us += row * (WINDOW_US / ROWS) + random.below(100_000);
    let host = u8::try_from(random.below(250)).expect("it is small");
    verdict.src_ip = vec![10, 0, host % 4, host];
    verdict.src_port = Some(u32::try_from(32_768 + random.below(28_232)).expect("it is small"));
    if row % 2 == 1 {
        verdict.event = EventKind::Close.number().into();
        verdict.last_time_us = Some(verdict.time_us);
        verdict.time_us -= random.below(100_000);
        let mut total = |bound| Some(random.below(bound));
        (verdict.packets_out, verdict.bytes_out) = (total(60), total(10_000));
        (verdict.packets_in, verdict.bytes_in) = (total(60), total(100_000));
    }
    Record::Verdict(verdict)
}

/// Marsaglia's xorshift64: always the same root.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 11).expect("53 bits") % bound
    }
}

/// What something took.
struct Took {
    wall: Duration,
    /// Of all processors.
    processor: Duration,
}

/// A measurement that has begun.
struct Watch {
    start: Instant,
    processor: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { start: Instant::now(), processor: processor_time() }
    }

    /// What it took until now; of processor time, that of children which have ended.
    fn stop(&self) -> Took {
        Took { wall: self.start.elapsed(), processor: processor_time().saturating_sub(self.processor) }
    }
}

/// What all children that have ended took, and theirs.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it needs nothing");
    let of = |time: TimeVal| Duration::from_micros(u64::try_from(time.num_microseconds()).expect("it only grows"));
    of(usage.user_time()) + of(usage.system_time())
}

fn hash(folder: &Path, at_once: usize) -> Took {
    let watch = Watch::start();
    let status = Command::new("sh").args(["-c", HASH, &at_once.to_string()]).current_dir(folder).status();
    assert!(status.expect("sh, find, xargs and sha256sum").success());
    watch.stop()
}

/// What it took, and the most memory in bytes.
fn verify(folder: &Path, threads: usize) -> (Took, u64) {
    let watch = Watch::start();
    let mut child = Command::new(env!("CARGO_BIN_EXE_podwitness"))
        .args(["verify", "-o", "json"])
        .arg(folder)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("the command");
    let mut peak = 0;
    loop {
        // It only grows until the process is gone.
        peak = Memory::of(child.id()).map_or(peak, |memory| memory.peak);
        if let Some(status) = child.try_wait().expect("it is our child") {
            assert!(status.success(), "the root is good");
            return (watch.stop(), peak);
        }
        thread::sleep(Duration::from_millis(2));
    }
}
