//! A spool whose disk has lost bytes: what was in them is lost and said to be, and everything else is there.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use podwitness_tests::sealed_root::records;

use crate::bench::{Bench, now_us};

/// Connections in a commit, and commits: some segments of the bench's 64 KiB.
const CONNECTIONS: u16 = 100;
const COMMITS: u16 = 40;

fn segments(bench: &Bench) -> Vec<PathBuf> {
    let mut segments: Vec<_> =
        fs::read_dir(bench.path("spool/segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    segments
}

/// What happens to the segments, with whether records are lost by it.
fn after(damage: impl FnOnce(&[PathBuf]), is_lost: bool) {
    let bench = Bench::with_folder();
    let mut agent = bench.agent();
    for _ in 0..COMMITS {
        agent.witness(CONNECTIONS);
    }
    let agent = agent.pause();
    let segments = segments(&bench);
    assert!(segments.len() >= 3, "{segments:?}");
    damage(&segments);
    let mut agent = bench.take_up(agent);
    agent.write(vec![records::open("shop", now_us(), 1)]);
    agent.stop();
    let exporter = bench.start();
    exporter.stop(true);
    let (rows, admissions) = bench.ask();
    assert_eq!(admissions.contains("loss"), is_lost, "{admissions:?}");
    let lost = agent.records - rows;
    if is_lost {
        // A commit's mark tells where reading can go on: what is lost is a commit or two, and not a segment.
        let commits = u64::from(CONNECTIONS);
        assert!(
            lost > 0 && lost <= 2 * commits && lost.is_multiple_of(commits),
            "{lost} of {} are lost",
            agent.records
        );
    } else {
        assert_eq!(lost, 0);
    }
}

fn flip(path: &PathBuf, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn length(path: &PathBuf) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn in_the_middle_of_a_segment() {
    after(|segments| flip(&segments[0], length(&segments[0]) / 2), true);
}

#[test]
fn at_the_end_of_a_segment_that_others_follow() {
    after(|segments| flip(&segments[0], length(&segments[0]) - 60), true);
}

#[test]
fn behind_the_end_of_the_newest_segment() {
    after(
        |segments| {
            let newest = segments.last().unwrap();
            let file = OpenOptions::new().write(true).open(newest).unwrap();
            file.write_all_at(&[7; 1000], length(newest)).unwrap();
        },
        false,
    );
}
