//! A store that is away: what waits, waits on the disk; the program is idle, and says what is wrong.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use podwitness_store_fixture::{Fault, Operation};
use podwitness_tests::memory::Memory;

use crate::bench::{Bench, gateway, wait_until};

/// How much of the processor an exporter may take that has nothing to do but wait.
const IDLE: f64 = 0.2;
const OBSERVED: Duration = Duration::from_secs(4);

/// What the exporter may grow by while the spool grows by [`SPOOLED`].
const GROWTH: u64 = 4 << 20;
const SPOOLED: u64 = 12 << 20;

/// The processor's time that the process has had.
fn processor_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // `USER_HZ`, which every architecture of Linux has at 100.
    Duration::from_millis(ticks * 10)
}

/// The share of the processor that it takes for a while.
fn share(id: u32) -> f64 {
    let (begun, before) = (Instant::now(), processor_time(id));
    thread::sleep(OBSERVED);
    processor_time(id).saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64()
}

#[test]
fn while_the_store_is_away_evidence_waits_on_the_disk_and_the_program_is_idle() {
    let gateway = gateway();
    let bench = Bench::new(&gateway, "away");
    let mut agent = bench.agent();
    agent.commit();
    let exporter = bench.start();
    exporter.wait_exported(agent.records);
    let idle = share(exporter.id());
    assert!(idle < IDLE, "an idle exporter takes {idle} of a processor");

    // It goes away while a file is put, so that records are under way that grow older.
    bench.proxy().hurt(Operation::PutFile, Fault::Dropped);
    agent.commit();
    wait_until("a file is put", || (bench.proxy().hurts(Operation::PutFile) > 0).then_some(()));
    bench.proxy().set_away(true);
    bench.proxy().heal();
    let line = exporter.wait_for(&["unavailable", "see whether the store is up and the network leads to it"]);
    assert!(line.contains("cannot write s3://away/"), "{line}");
    let (before, spooled) = (Memory::of(exporter.id()).unwrap().peak, agent.spool_bytes());
    while agent.spool_bytes() < spooled + SPOOLED {
        agent.witness(200);
    }
    let away = share(exporter.id());
    assert!(away < IDLE, "an exporter without a store takes {away} of a processor");
    wait_until("what waits shows in the metrics", || {
        let waits = exporter.metric::<u64>("spool_bytes") >= agent.spool_bytes();
        (waits && exporter.metric::<f64>("oldest_unexported_age_seconds") >= OBSERVED.as_secs_f64()).then_some(())
    });
    let grown = Memory::of(exporter.id()).unwrap().peak.saturating_sub(before);
    assert!(grown < GROWTH, "it has grown by {grown} bytes");
    let (status, why) = exporter.page("/readyz");
    assert_eq!(status, 503);
    assert!(why.contains("see whether the store is up and the network leads to it"), "{why}");
    assert_eq!(exporter.page("/healthz").0, 200, "a restart would not help");

    bench.proxy().set_away(false);
    exporter.wait_exported(agent.records);
    wait_until("nothing is old any more", || {
        (exporter.metric::<f64>("oldest_unexported_age_seconds") < OBSERVED.as_secs_f64()).then_some(())
    });
    agent.stop();
    exporter.stop(true);
    bench.verify(&agent);
}
