//! Agents that come and go, pods that come and go, and a detach that leaves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::{Outcome, PodSpec};
use podwitness_policy::Protocol;
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, Sent, probe, serve};
use podwitness_wire::Counter;

use crate::field::{Field, OPEN, SHUT, openings, reconcile};

/// How soon a new pod must have its hooks.
const HOOKED_WITHIN: Duration = Duration::from_secs(1);

fn round(field: &Field, sent: &mut Vec<Sent>) -> Result<()> {
    for from in 0..field.pods.len() {
        for (turn, protocol) in (from..from + 6).zip(PROTOCOLS.into_iter().cycle()) {
            sent.push(field.send(from, turn, protocol, if turn % 3 == 0 { SHUT } else { OPEN })?);
        }
    }
    Ok(())
}

#[test]
fn a_stopped_agent_leaves_enforcement_and_the_next_one_has_the_records() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let mut sent = Vec::new();
    round(&field, &mut sent)?;
    let remote = std::net::SocketAddr::new(field.pods[1].addresses()[0], OPEN);
    let opened = field.pods[0].open_tcp_from(field.ports.next()?, remote, ANSWER_LIMIT)?;
    let Ok(mut conversation) = opened else { anyhow::bail!("policy allows it: {opened:?}") };
    for _ in 0..2 {
        scenario.stop_agent()?;
        round(&field, &mut sent)?;
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "the agent's stop broke a connection");
        scenario.start_agent()?;
        scenario.wait_agent()?;
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "the agent's start broke a connection");
    }
    let (local, remote) = (conversation.local(), conversation.remote());
    sent.push(Sent { protocol: Protocol::Tcp, local, remote, outcome: Outcome::Answered });
    conversation.close(ANSWER_LIMIT);
    let evidence = scenario.stop(openings(&sent))?;
    reconcile(&evidence, &sent)?;
    let long = evidence.events("close").find(|row| row.src.port == Some(local.port())).context("it was closed")?;
    let totals = long.totals.context("a close has totals")?;
    // Three packets open it, four exchanges have a question and an answer each at the least, and three close it.
    ensure!(totals.packets_out + totals.packets_in >= 14, "packets are missing: {long:?}");
    Ok(())
}

/// The ids that the kernel gave to what the process holds: `map_id`, `prog_id`.
fn ids(process: u32, what: &str) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        let text = fs::read_to_string(entry?.path())?;
        let id = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        ids.extend(id.map(str::trim).map(str::parse).transpose()?);
    }
    ensure!(!ids.is_empty(), "the process {process} has no {what}");
    Ok(ids)
}

fn everything_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(everything_below(&path)?);
        }
        found.push(path);
    }
    Ok(found)
}

#[test]
fn detach_leaves_no_pin_no_program_no_map_and_no_enforcement() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let mut sent = Vec::new();
    round(&field, &mut sent)?;
    let detach = || {
        let agent = scenario.lab.path().join("bin/podwitness-agent");
        let mut command = scenario.lab.node().command(agent);
        command.env_clear().arg("--config").arg(scenario.installation.configuration_path()).arg("--detach").output()
    };

    let refused = detach()?;
    let said = String::from_utf8(refused.stderr)?;
    println!("{said}");
    ensure!(refused.status.code() == Some(2) && said.contains("another agent holds the pins"), "{said}");
    round(&field, &mut sent)?;

    let process = scenario.agent.as_ref().context("it runs")?.pid();
    let (maps, programs) = (ids(process, "map_id")?, ids(process, "prog_id")?);
    let pins = scenario.lab.bpffs_path();
    ensure!(everything_below(&pins)?.len() > 2 * field.pods.len(), "nothing is pinned");
    let output = {
        scenario.wait_settled(openings(&sent))?;
        let agent = scenario.agent.take().context("it runs")?;
        ensure!(agent.terminate(DENIAL_LIMIT * 40)?.success());
        detach()?
    };
    ensure!(output.status.success(), "{output:?}");
    let left = everything_below(&pins)?;
    ensure!(left.is_empty(), "there is left: {left:?}");
    // The kernel frees them a moment after the last reference is gone.
    wait("the kernel has freed the maps and the programs", || {
        let loaded_maps: Vec<u32> = aya::maps::loaded_maps().flatten().map(|map| map.id()).collect();
        let loaded: Vec<u32> = aya::programs::loaded_programs().flatten().map(|program| program.id()).collect();
        Ok(!maps.iter().any(|id| loaded_maps.contains(id)) && !programs.iter().any(|id| loaded.contains(id)))
    })?;
    let remote = std::net::SocketAddr::new(field.pods[1].addresses()[0], SHUT);
    for protocol in PROTOCOLS {
        let free = probe(&field.pods[0], protocol, field.ports.next()?, remote, ANSWER_LIMIT)?;
        ensure!(free.outcome == Outcome::Answered, "something enforces still: {free:?}");
    }
    ensure!(detach()?.status.success(), "nothing being there is no error");
    scenario.stop_exporter()?;
    reconcile(&scenario.evidence()?, &sent)
}

#[test]
fn a_pod_that_comes_is_enforced_at_once_and_one_that_goes_has_its_connections_closed() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[])?;
    let old = scenario.pod(PodSpec::new("shop", "old", &["10.5.0.1".parse()?, "fd00:5::1".parse()?]))?;
    let _servers = serve(&old, &[OPEN])?;
    let spec = format!("{{podSelector: {{}}, ingress: [{{ports: [{{port: {OPEN}}}]}}]}}");
    scenario.cluster.policy("shop", "one-port", &spec)?;
    scenario.start()?;
    let endpoints = |scenario: &Scenario| scenario.agent_metric("podwitness_agent_endpoints");
    ensure!(endpoints(&scenario)? == 1);

    let new = scenario.pod(PodSpec::new("shop", "new", &["10.5.0.2".parse()?, "fd00:5::2".parse()?]))?;
    let made = Instant::now();
    wait("the new pod has hooks", || Ok(endpoints(&scenario)? == 2))?;
    let took = made.elapsed();
    println!("the new pod had its hooks after {took:?}");
    ensure!(took < HOOKED_WITHIN, "it took {took:?}");
    scenario.wait_agent()?;
    let _more_servers = serve(&new, &[OPEN, SHUT])?;
    for (protocol, port, wanted) in [
        (Protocol::Tcp, OPEN, Outcome::Answered),
        (Protocol::Tcp, SHUT, Outcome::TimedOut),
        (Protocol::Udp, OPEN, Outcome::TimedOut),
    ] {
        let limit = if wanted == Outcome::Answered { ANSWER_LIMIT } else { DENIAL_LIMIT };
        let sent = probe(&old, protocol, 0, std::net::SocketAddr::new("10.5.0.2".parse()?, port), limit)?;
        ensure!(sent.outcome == wanted, "{sent:?}");
    }
    // Four openings: three at the source, one at the destination.
    scenario.wait_settled(4)?;

    let opened = new.open_tcp("[fd00:5::1]:80".parse()?, ANSWER_LIMIT)?;
    let Ok(conversation) = opened else { anyhow::bail!("policy allows it: {opened:?}") };
    wait("both sides have opened", || Ok(scenario.kernel(Counter::ConnectionsOpened)? == 6))?;
    scenario.cluster.remove_pod(new.spec())?;
    drop(new);
    // The one that is left waits on for a peer that will never say that it is gone.
    wait("the pod that went has its connection closed", || Ok(scenario.kernel(Counter::ConnectionsClosed)? == 5))?;
    wait("its hooks are gone", || Ok(endpoints(&scenario)? == 1))?;
    scenario.wait_agent()?;
    let evidence = scenario.stop_now()?;
    let of_it: Vec<_> =
        evidence.rows().filter(|row| row.src.port == Some(conversation.local().port())).collect();
    let told: Vec<_> = of_it.iter().map(|row| (row.event.as_str(), row.direction.as_deref().unwrap_or(""))).collect();
    for wanted in [("open", "egress"), ("open", "ingress"), ("close", "egress")] {
        ensure!(told.contains(&wanted), "there is no {wanted:?} in {of_it:#?}");
    }
    ensure!(told.len() == 3, "there is more: {of_it:#?}");
    for row in of_it {
        let who = (row.src.pod.as_deref(), row.src.identity.as_deref(), row.src.pod_uid.as_deref());
        ensure!(who == (Some("new"), Some("exact"), Some("uid-shop-new")), "{row:?}");
    }
    Ok(())
}
