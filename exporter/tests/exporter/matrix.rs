//! Each fault at each step of the protocol: every record is in the store once, and every file in one seal.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podwitness_exporter::step::Step;
use podwitness_spool::words::CoverageEvent;
use podwitness_spool::{Record, Writer};
use podwitness_store_fixture::SmallDisk;

use crate::seals::check;
use crate::support::{Bench, Dictionary, attached, checkpoint, effective, open, origin, rows_of, wait_until};

/// What happens at a step.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// kill -9.
    Kill,
    /// The store takes nothing for a while.
    StoreRefuses,
    /// The disk of the spool has no room for a while.
    DiskFull,
}

/// Long enough for a put that fails to be tried again.
const FAULT_LASTS: Duration = Duration::from_millis(700);

#[test]
fn a_kill_at_any_step_loses_and_doubles_nothing() {
    everywhere(Fault::Kill);
}

#[test]
fn a_store_that_refuses_at_any_step_costs_nothing() {
    everywhere(Fault::StoreRefuses);
}

#[test]
fn a_disk_that_is_full_at_any_step_costs_nothing() {
    everywhere(Fault::DiskFull);
}

fn everywhere(fault: Fault) {
    for &step in Step::ALL {
        // The second time is not like the first: then there are a chain, a cursor and a key.
        for time in [1, 2] {
            println!("{}, {time}. time: {fault:?}", step.name());
            attempt(step, time, fault);
        }
    }
}

fn attempt(step: Step, time: u32, fault: Fault) {
    let disk = SmallDisk::new();
    let bench = Bench::on(disk.path());
    let mut agent = Agent { writer: bench.writer(origin()), commits: 0 };
    agent.commit();
    let exporter = bench.start_with(("PODWITNESS_STOP_AT", &format!("{}:{time}", step.name())));
    wait_until(&format!("it stops at {} for the {time}. time", step.name()), || {
        agent.commit();
        std::thread::sleep(Duration::from_millis(60));
        exporter.is_stopped().then_some(())
    });
    match fault {
        Fault::Kill => {}
        Fault::StoreRefuses => {
            let away = bench.take_store_away();
            exporter.go_on();
            std::thread::sleep(FAULT_LASTS);
            bench.bring_store_back(&away);
        }
        Fault::DiskFull => {
            disk.fill();
            exporter.go_on();
            std::thread::sleep(FAULT_LASTS);
        }
    }
    exporter.kill();
    disk.free();
    agent.stop();
    bench.start().stop();

    let mut found: BTreeMap<String, Vec<(i64, i32)>> = BTreeMap::new();
    for object in bench.objects() {
        for (sequence, seq, number) in rows_of(&object) {
            found.entry(sequence).or_default().push((seq, number));
        }
    }
    let written = i32::from(agent.commits);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["/coverage", "/policies", "bank", "shop"]);
    for (sequence, rows) in &mut found {
        rows.sort_unstable();
        let expected: Vec<(i64, i32)> = (1..=written).map(|number| (number.into(), number)).collect();
        assert_eq!(*rows, expected, "{sequence} after {fault:?} at {}, {time}. time", step.name());
    }
    let seals = check(&bench);
    assert!(seals.last().unwrap().last, "a clean stop");
    assert!(seals.iter().all(|seal| seal.gaps.is_empty()));
}

/// One record of each sequence a commit.
struct Agent {
    writer: Writer,
    commits: u16,
}

impl Agent {
    fn commit(&mut self) {
        self.commits += 1;
        let number = self.commits;
        self.write(vec![open("shop", number), open("bank", number), attached(number), effective(number)]);
    }

    /// Its stop, in place of the last coverage record.
    fn stop(&mut self) {
        self.commits += 1;
        let number = self.commits;
        let mut stop = attached(number);
        if let Record::Coverage(coverage) = &mut stop {
            coverage.event = CoverageEvent::AgentStopped.number().into();
        }
        self.write(vec![open("shop", number), open("bank", number), effective(number), stop]);
    }

    fn write(&mut self, records: Vec<Record>) {
        self.writer.commit(records, &Dictionary, &checkpoint(self.commits.into())).unwrap();
    }
}

impl Bench {
    /// A bench whose folders are on a disk.
    fn on(disk: &Path) -> Self {
        let folder = tempfile::tempdir_in(disk).unwrap();
        let store = tempfile::tempdir_in(folder.path()).unwrap().keep();
        Self::with_store(store, folder)
    }

    fn take_store_away(&self) -> PathBuf {
        let away = self.store().with_extension("away");
        fs::rename(self.store(), &away).unwrap();
        fs::write(self.store(), "").unwrap();
        away
    }

    fn bring_store_back(&self, away: &Path) {
        fs::remove_file(self.store()).unwrap();
        fs::rename(away, self.store()).unwrap();
    }
}
