//! More than the ways out can take: nothing is lost that the kernel's tables can hold, and what is lost is a record.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use podwitness_lab::{Outcome, Pod};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::Evidence;
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, PROTOCOLS, Sent, in_parallel, probe};
use podwitness_wire::Counter;

use crate::field::{Field, OPEN, SHUT, account, openings, reconcile};

/// A port that is allowed and on which nobody listens.
const NOBODY: u16 = 4321;

fn burst(field: &Field, probes: usize) -> Result<Vec<Sent>> {
    let errands = (0..probes).map(|turn| (turn % field.pods.len(), turn, if turn % 20 == 0 { SHUT } else { OPEN }));
    in_parallel(8, errands, |(from, turn, port)| field.send(from, turn, PROTOCOLS[turn / 4 % 2], port))
}

/// All that the kernel has counted.
fn counters(scenario: &Scenario) -> Result<BTreeMap<Counter, u64>> {
    Counter::ALL.iter().map(|counter| Ok((*counter, scenario.kernel(*counter)?))).collect()
}

/// How many rows came by way of the ring.
fn rows(evidence: &Evidence) -> u64 {
    evidence.rows().filter(|row| ["open", "change", "progress", "close"].contains(&&*row.event)).count() as u64
}

#[test]
fn a_ring_of_one_page_and_a_held_agent_lose_nothing_that_the_table_holds() -> Result<()> {
    let mut scenario = Scenario::new()?.set("events.ringBytes", "4KiB");
    let field = Field::make(&scenario)?;
    scenario.start()?;
    scenario.hold_agent(true)?;
    let sent = burst(&field, 600)?;
    scenario.hold_agent(false)?;
    scenario.wait_settled(openings(&sent))?;
    let kernel = counters(&scenario)?;
    ensure!(kernel[&Counter::EventsRefused] >= 400, "the ring was not full: {kernel:?}");
    ensure!(kernel[&Counter::RecordsLost] == 0, "{kernel:?}");
    ensure!(kernel[&Counter::EventsOffered] == kernel[&Counter::EventsAccepted] + kernel[&Counter::EventsRefused]);
    let evidence = scenario.stop_now()?;
    ensure!(rows(&evidence) == kernel[&Counter::EventsAccepted], "{} rows, {kernel:?}", rows(&evidence));
    reconcile(&evidence, &sent)
}

/// A connection that is refused has ended, and the next of the same five values takes its entry: what the entry owed, and the
/// ring has no room for, is lost.
fn repeat_refused(pod: &Pod, to: &Pod, source_port: u16, times: usize) -> Result<()> {
    let remote = SocketAddr::new(to.addresses()[0], NOBODY);
    for _ in 0..times {
        let sent = probe(pod, Protocol::Tcp, source_port, remote, ANSWER_LIMIT)?;
        ensure!(sent.outcome == Outcome::Refused, "nobody listens there: {sent:?}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_kept_is_a_loss_record_with_its_count() -> Result<()> {
    const TIMES: u64 = 50;
    let mut scenario = Scenario::new()?.set("events.ringBytes", "4KiB");
    let field = Field::make(&scenario)?;
    for namespace in ["shop", "ops"] {
        scenario.cluster.policy(
            namespace,
            "nobody",
            &format!("{{podSelector: {{}}, ingress: [{{ports: [{{port: {NOBODY}}}]}}]}}"),
        )?;
    }
    scenario.start()?;
    scenario.hold_agent(true)?;
    let sent = burst(&field, 200)?;
    // From one namespace to the other: each side loses its own.
    repeat_refused(&field.pods[0], &field.pods[2], field.ports.next()?, usize::try_from(TIMES)?)?;
    scenario.hold_agent(false)?;
    let repeated = 2 * usize::try_from(TIMES)?;
    scenario.wait_settled(openings(&sent) + repeated)?;
    let kernel = counters(&scenario)?;
    let mut evidence = scenario.stop_now()?;

    let (owed, lost) = (kernel[&Counter::RecordsOwed], kernel[&Counter::RecordsLost]);
    ensure!(lost > 0 && check::lost(&evidence) == lost, "the rows say {}, {kernel:?}", check::lost(&evidence));
    ensure!(rows(&evidence) == kernel[&Counter::EventsAccepted], "{} rows, {kernel:?}", rows(&evidence));
    ensure!(rows(&evidence) + lost == owed, "{} rows, {kernel:?}", rows(&evidence));
    ensure!(kernel[&Counter::LossesUnattributed] == 0, "{kernel:?}");

    // Each side of the repeated connection owed an opening and a close a time.
    for namespace in ["shop", "ops"] {
        let of_namespace = || evidence.rows().filter(|row| row.namespace == namespace);
        let kept = of_namespace().filter(|row| row.dst.port == Some(NOBODY)).count() as u64;
        let losses: Vec<_> = of_namespace().filter(|row| row.event == "loss").collect();
        let lost: u64 = losses.iter().map(|row| row.count.cast_unsigned()).sum();
        ensure!(kept + lost == 2 * TIMES, "{namespace}: {kept} were kept and {lost} lost of {}", 2 * TIMES);
        for row in losses {
            ensure!(row.reason.as_deref() == Some("ring-full") && row.verdict.is_none(), "{row:?}");
            ensure!(row.last_time.is_some_and(|last| last >= row.time), "{row:?}");
        }
    }

    check::sequences(&evidence)?;
    // All others are there as if nothing had been.
    for file in &mut evidence.files {
        file.rows.retain(|row| row.event != "loss" && row.dst.port != Some(NOBODY));
    }
    account(&evidence, &sent)
}

#[test]
fn a_full_spool_stops_the_reading_and_not_the_enforcing_and_drains_without_loss() -> Result<()> {
    const NOT_READY: &str = "the spool takes verdicts\n";
    /// What an agent that starts says of itself, its endpoints and its policies; so little that it may still find room.
    const RECORDS_OF_A_START: u64 = 40;
    let mut scenario = Scenario::new()?.set("spool.maxBytes", "256KiB").set("spool.segmentBytes", "64KiB");
    let field = Field::make(&scenario)?;
    scenario.start_agent()?;
    scenario.wait_agent()?;
    let mut sent = Vec::new();
    wait("the spool is full", || {
        sent.extend(burst(&field, 100)?);
        Ok(scenario.agent()?.get("/readyz")? == (503, NOT_READY.to_owned()))
    })?;
    let committed = scenario.agent_metric("podwitness_agent_records_written_total")?;
    ensure!(scenario.agent_metric("podwitness_agent_spool_bytes")? <= 256 << 10, "the spool is larger than it may be");
    ensure!(scenario.agent_metric("podwitness_agent_spool_refusals_total")? > 0);

    // Enforced as before (each probe says so), by an agent that lives and by one that is started again in this state.
    sent.extend(burst(&field, 200)?);
    scenario.stop_agent()?;
    sent.extend(burst(&field, 200)?);
    scenario.start_agent()?;
    wait("the agent says again that the spool is full", || {
        Ok(scenario.agent()?.get("/readyz").is_ok_and(|answer| answer == (503, NOT_READY.to_owned())))
    })?;
    let written = scenario.agent_metric("podwitness_agent_records_written_total")?;
    ensure!(written <= RECORDS_OF_A_START, "verdicts went into a full spool: {written} records");
    ensure!(scenario.evidence()?.files.is_empty(), "nobody exports yet");

    scenario.start_exporter()?;
    scenario.wait_agent()?;
    let evidence = scenario.stop(openings(&sent))?;
    println!("{committed} records filled the spool; {} probes", sent.len());
    reconcile(&evidence, &sent)
}
