//! kill -9 at any moment loses nothing and doubles nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Bench, Dictionary, attached, checkpoint, effective, files_below, open, origin, rows_of};
use podwitness_spool::Reader;

/// Namespaces of verdicts, and the two tables that have none, by the names of `rows_of`.
const SEQUENCES: [&str; 5] = ["shop", "bank", "_unknown", COVERAGE, POLICIES];
const COVERAGE: &str = "/coverage";
const POLICIES: &str = "/policies";

/// How many kills must have met which state, so that the test has tried something.
const KILLS: usize = 40;
const KILLS_WITH_A_PLAN: usize = 5;
const KILLS_BEFORE_THE_PLAN: usize = 1;
const LONGEST: Duration = Duration::from_secs(150);

/// Says on drop that it is finished.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn every_record_is_in_the_store_once_however_often_the_exporter_is_killed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    fastrand::seed(seed);
    let bench = Bench::new();
    let finished = AtomicBool::new(false);
    let mut written: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    let (mut kills, mut with_plan, mut before_plan) = (0, 0, 0);
    let start = Instant::now();

    std::thread::scope(|scope| {
        let agent = scope.spawn(|| {
            fastrand::seed(seed + 1);
            let mut written: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            let mut writer = bench.writer(origin());
            let mut position = 0;
            while !finished.load(Ordering::Relaxed) {
                let records: Vec<_> = (0..fastrand::usize(0..60))
                    .map(|_| {
                        let sequence = SEQUENCES[fastrand::usize(..SEQUENCES.len())];
                        let number = fastrand::u16(1..);
                        written.entry(sequence).or_default().push(number.into());
                        match sequence {
                            COVERAGE => attached(number),
                            POLICIES => effective(number),
                            namespace => open(namespace, number),
                        }
                    })
                    .collect();
                position += 1;
                writer.commit(records, &Dictionary, &checkpoint(position)).unwrap();
                std::thread::sleep(Duration::from_millis(fastrand::u64(0..20)));
            }
            written
        });
        // Also when an assertion fails, so that the scope ends.
        let finish = Finish(&finished);
        while kills < KILLS || with_plan < KILLS_WITH_A_PLAN || before_plan < KILLS_BEFORE_THE_PLAN {
            assert!(start.elapsed() < LONGEST, "{kills} kills, {with_plan} with a plan, {before_plan} before it");
            let exporter = bench.start();
            // Between 1 ms and 1 s, short and long alike often: a start alone takes some 30 ms, a batch some 200 ms.
            let order = fastrand::u32(0..10);
            std::thread::sleep(Duration::from_millis(fastrand::u64(1 << order..=2 << order)));
            exporter.kill();
            kills += 1;
            let staged = files_below(&bench.staging());
            let planned = staged.iter().any(|path| path.ends_with("plan.json"));
            with_plan += usize::from(planned);
            before_plan += usize::from(!planned && !staged.is_empty());
        }
        drop(finish);
        written = agent.join().unwrap();
    });
    bench.start().stop();
    println!("{kills} kills, {with_plan} with a plan, {before_plan} before it, {} files", bench.objects().len());

    let mut found: BTreeMap<String, Vec<(i64, i32)>> = BTreeMap::new();
    for path in bench.objects() {
        let rows = rows_of(&path);
        assert!(rows.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1), "{} is in seq order", path.display());
        for (sequence, seq, number) in rows {
            found.entry(sequence).or_default().push((seq, number));
        }
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (sequence, numbers) in written {
        let rows = found.get_mut(sequence).unwrap();
        rows.sort_unstable();
        let expected: Vec<_> = (1_i64..).zip(numbers).collect();
        assert_eq!(rows.len(), expected.len(), "{sequence}: {} rows of {} records", rows.len(), expected.len());
        assert!(*rows == expected, "{sequence}: another record, twice or at another place");
    }
    assert_eq!(files_below(&bench.staging()), Vec::<std::path::PathBuf>::new());
    let strays: Vec<_> =
        files_below(&bench.store()).into_iter().filter(|path| path.to_string_lossy().contains('#')).collect();
    assert_eq!(strays, Vec::<std::path::PathBuf>::new(), "unfinished objects are left in the folder");
    assert!(Reader::open(&bench.spool()).unwrap().next().unwrap().is_none(), "the spool is done");
}
