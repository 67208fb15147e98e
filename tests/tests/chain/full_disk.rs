//! The disk under the spool is full: reading stops, enforcing does not, and nothing is lost that the kernel's tables hold.

use anyhow::{Context as _, Result, ensure};
use podwitness_tests::scenario::{Scenario, wait};

use crate::field::{Field, OPEN, SHUT, openings, reconcile};
use crate::small_disk::SmallDisk;
use podwitness_tests::traffic::PROTOCOLS;

#[test]
fn a_full_disk_stops_the_reading_and_not_the_enforcing_and_loses_nothing() -> Result<()> {
    const NOT_READY: &str = "the spool takes verdicts";
    let mut scenario = Scenario::new()?.set("spool.maxBytes", "1GiB").set("spool.segmentBytes", "64KiB");
    let field = Field::make(&scenario)?;
    let disk = SmallDisk::at(&scenario.installation.spool_path())?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    disk.fill()?;
    let mut sent = Vec::new();
    let mut turn = 0;
    let mut send = |field: &Field| {
        turn += 1;
        field.send(turn % field.pods.len(), turn, PROTOCOLS[turn % 2], if turn % 5 == 0 { SHUT } else { OPEN })
    };
    wait("the agent says that the spool takes nothing", || {
        sent.push(send(&field)?);
        let (status, why) = scenario.agent()?.get("/readyz")?;
        Ok(status == 503 && why.contains(NOT_READY))
    })?;
    let told = scenario.agent()?.log_tail(usize::MAX);
    ensure!(told.contains("No space left on device") && told.contains("verdicts stay in the kernel"), "{told}");
    // Each probe says whether it was let through as policy has it.
    for _ in 0..100 {
        sent.push(send(&field)?);
    }
    // An agent that is killed in this state has the next one go on from what is on the disk.
    scenario.agent.take().context("it runs")?.kill()?;
    sent.push(send(&field)?);
    disk.free()?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    scenario.start_exporter()?;
    let evidence = scenario.stop(openings(&sent))?;
    reconcile(&evidence, &sent)
}
