//! The clock on the wall is set back and forth under the exporter.

use std::fs;
use std::path::Path;
use std::process::Command;

use podwitness_store_fixture::Gateway;
use podwitness_tests::sealed_root::records;

use crate::bench::{Agent, Bench, Exporter, gateway, now_us, wait_until};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A wall clock for the programs that are started from now on, which [`set`] sets.
fn hang_up(bench: &mut Bench) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outages/wall_clock.c");
    let library = bench.path("wall_clock.so");
    let compiler = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(compiler.expect("a C compiler is there, which the build needs too").success());
    set(bench, 0);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut environment = bench.environment().to_vec();
    environment.push(("LD_PRELOAD".to_owned(), text(&library)));
    environment.push(("WALL_CLOCK".to_owned(), text(&bench.path("wall_clock"))));
    bench.set_environment(environment);
}

/// Sets it so many seconds from what it should be.
fn set(bench: &Bench, off: i64) {
    let new = bench.path("wall_clock.new");
    fs::write(&new, off.to_string()).unwrap();
    fs::rename(new, bench.path("wall_clock")).unwrap();
}

/// What the agent witnesses at that time.
fn commit(agent: &mut Agent, off: i64, port: u16) {
    let now = now_us() + off * 1_000_000;
    agent.write(vec![records::open("shop", now, port), records::enforced("shop", now, "web-1")]);
}

/// Waits for two seals, of which the second began after this was called.
fn sealed(exporter: &Exporter) {
    let before: u64 = exporter.metric("seals_total");
    wait_until("it has sealed", || (exporter.metric::<u64>("seals_total") >= before + 2).then_some(()));
}

#[test]
fn a_clock_that_is_set_is_admitted_and_nothing_is_found() {
    let mut bench = Bench::with_folder();
    hang_up(&mut bench);
    let mut agent = bench.agent();
    let exporter = bench.start();
    for (off, port) in [(0, 1), (-HOUR, 2), (DAY, 3), (-DAY, 4), (0, 5)] {
        set(&bench, off);
        commit(&mut agent, off, port);
        exporter.wait_exported(agent.records);
        sealed(&exporter);
    }
    agent.stop();
    exporter.stop(true);
    let admissions = bench.verify(&agent);
    assert!(admissions.contains("clock"), "{admissions:?}");
    assert!(admissions.contains("silence"), "a day passed between two seals: {admissions:?}");
}

#[test]
fn a_store_that_refuses_what_another_time_has_signed_is_told_and_taken_up_again() {
    let gateway: Gateway = gateway();
    let mut bench = Bench::new(&gateway, "clock");
    hang_up(&mut bench);
    let mut agent = bench.agent();
    let exporter = bench.start();
    commit(&mut agent, 0, 1);
    exporter.wait_exported(agent.records);
    set(&bench, DAY);
    commit(&mut agent, DAY, 2);
    exporter.wait_for(&["clock", "set this machine's clock by a time server"]);
    assert_eq!(exporter.page("/readyz").0, 503);
    set(&bench, 0);
    exporter.wait_exported(agent.records);
    agent.stop();
    exporter.stop(true);
    bench.verify(&agent);
}
