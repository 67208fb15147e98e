//! Agents that come and go, pods that come and go, and a detach that leaves nothing.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_lab::{Outcome, Pod, PodSpec, Server};
use podwitness_policy::Protocol;
use podwitness_tests::scenario::{LIMIT, Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, Sent, probe, serve};
use podwitness_wire::Counter;

use crate::coverage::Desk;
use crate::field::{Field, OPEN, SHUT, openings, reconcile, reconcile_part};

/// How soon a new pod must be enforced.
const ENFORCED_WITHIN: Duration = Duration::from_secs(1);

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
    let remote = SocketAddr::new(field.pods[1].addresses()[0], OPEN);
    let opened = field.pods[0].open_tcp_from(field.ports.next()?, remote, ANSWER_LIMIT)?;
    let Ok(mut conversation) = opened else { bail!("policy allows it: {opened:?}") };
    for _ in 0..2 {
        scenario.stop_agent()?;
        round(&field, &mut sent)?;
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "the agent's stop broke a connection");
        scenario.start_agent()?;
        scenario.wait_agent()?;
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "the agent's start broke a connection");
    }
    let (local, remote) = (conversation.local(), conversation.remote());
    sent.push(Sent { protocol: Protocol::Tcp, local, remote, outcome: Outcome::Answered, took: Duration::ZERO });
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
        ids.extend(id.map(str::trim).map(str::parse::<u32>).transpose()?);
    }
    ensure!(!ids.is_empty(), "the process {process} has no {what}");
    Ok(ids)
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
    let pins = scenario.lab.bpffs_path().join("podwitness");
    ensure!(fs::read_dir(pins.join("links"))?.count() == 2 * field.pods.len(), "the links are not pinned");
    let output = {
        scenario.wait_settled(openings(&sent))?;
        let agent = scenario.agent.take().context("it runs")?;
        ensure!(agent.terminate(DENIAL_LIMIT * 40)?.success());
        detach()?
    };
    ensure!(output.status.success(), "{output:?}");
    ensure!(!pins.exists(), "pins are left");
    // The kernel frees them a moment after the last reference is gone.
    wait("the kernel has freed the maps and the programs", || {
        let loaded_maps: Vec<u32> = aya::maps::loaded_maps().flatten().map(|map| map.id()).collect();
        let loaded: Vec<u32> = aya::programs::loaded_programs().flatten().map(|program| program.id()).collect();
        Ok(!maps.iter().any(|id| loaded_maps.contains(id)) && !programs.iter().any(|id| loaded.contains(id)))
    })?;
    let remote = SocketAddr::new(field.pods[1].addresses()[0], SHUT);
    for protocol in PROTOCOLS {
        let free = probe(&field.pods[0], protocol, field.ports.next()?, remote, ANSWER_LIMIT)?;
        ensure!(free.outcome == Outcome::Answered, "something enforces still: {free:?}");
    }
    ensure!(detach()?.status.success(), "nothing being there is no error");
    scenario.stop_exporter()?;
    let told = Desk::over(&scenario)?.texts(
        "SELECT event FROM coverage WHERE event IN ('balance', 'agent-stopped', 'agent-detached') ORDER BY seq",
    )?;
    let wanted = ["balance", "balance", "agent-stopped", "balance", "agent-detached", "agent-detached"];
    ensure!(told == wanted, "{told:?}");
    reconcile(&scenario.evidence()?, &sent)
}

#[test]
fn what_nobody_has_read_is_brought_out_before_the_maps_go_and_open_connections_have_their_totals() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let remote = SocketAddr::new(field.pods[1].addresses()[0], OPEN);
    let opened = field.pods[0].open_tcp_from(field.ports.next()?, remote, ANSWER_LIMIT)?;
    let Ok(mut conversation) = opened else { bail!("policy allows it: {opened:?}") };
    ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered);
    scenario.stop_agent()?;
    ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered);
    let mut sent = Vec::new();
    round(&field, &mut sent)?;
    // Totals that are younger than a second are not told once more; after this time everything but TCP is over.
    std::thread::sleep(Duration::from_millis(1600));
    scenario.start_detach(None)?;
    ensure!(scenario.agent.take().context("it was started")?.wait_end(LIMIT)?.success());
    scenario.stop_exporter()?;

    let mut evidence = scenario.evidence()?;
    let port = Some(conversation.local().port());
    let of_it = evidence.rows().filter(|row| row.src.port == port && row.event != "open");
    let totals: Vec<_> = of_it.map(|row| (row.event.as_str(), row.totals)).collect();
    let [(first, Some(one)), (second, Some(other))] = totals[..] else { bail!("each side has one row: {totals:?}") };
    ensure!((first, second) == ("progress", "progress") && one == other.mirrored(), "{totals:?}");
    // Three packets open it, and two exchanges have a question and an answer each at the least.
    ensure!(one.packets_out + one.packets_in >= 7, "packets are missing: {totals:?}");
    for file in &mut evidence.files {
        file.rows.retain(|row| row.src.port != port);
    }
    reconcile_part(&evidence, &sent)
}

#[test]
fn an_agent_that_finds_the_maps_gone_says_so() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let field = Field::make(&scenario)?;
    let mut sent = Vec::new();
    for _ in 0..2 {
        scenario.start()?;
        round(&field, &mut sent)?;
        scenario.wait_settled(0)?;
        let evidence = scenario.stop_now()?;
        reconcile(&evidence, &sent)?;
        fs::remove_dir_all(scenario.lab.bpffs_path().join("podwitness"))?;
    }
    let told = Desk::over(&scenario)?.texts(
        "SELECT concat_ws(' ', event, left(detail, 18)) FROM coverage WHERE starts_with(event, 'agent-') ORDER BY seq",
    )?;
    let wanted =
        ["agent-started", "agent-stopped", "agent-detached found at the start", "agent-started", "agent-stopped"];
    ensure!(told == wanted, "{told:?}");
    Ok(())
}

/// Two pods of which one comes later, under a policy that opens one port of each.
struct Pair {
    scenario: Scenario,
    old: Pod,
    new: PodSpec,
    _servers: Vec<Server>,
}

impl Pair {
    fn make() -> Result<Self> {
        let mut scenario = Scenario::new()?;
        scenario.cluster.namespace("shop", &[])?;
        let old = scenario.pod(PodSpec::new("shop", "old", &["10.5.0.1".parse()?, "fd00:5::1".parse()?]))?;
        let servers = serve(&old, &[OPEN])?;
        let spec = format!("{{podSelector: {{}}, ingress: [{{ports: [{{port: {OPEN}}}]}}]}}");
        scenario.cluster.policy("shop", "one-port", &spec)?;
        scenario.start()?;
        ensure!(endpoints(&scenario)? == 1);
        let new = PodSpec::new("shop", "new", &["10.5.0.2".parse()?, "fd00:5::2".parse()?]);
        Ok(Self { scenario, old, new, _servers: servers })
    }

    /// Tries the new pod's two ports.
    fn try_new(&self, shut: Outcome) -> Result<()> {
        for (port, wanted) in [(OPEN, Outcome::Answered), (SHUT, shut)] {
            let limit = if wanted == Outcome::Answered { ANSWER_LIMIT } else { DENIAL_LIMIT };
            let sent = probe(&self.old, Protocol::Tcp, 0, SocketAddr::new(self.new.addresses[0], port), limit)?;
            ensure!(sent.outcome == wanted, "{sent:?}");
        }
        Ok(())
    }
}

fn endpoints(scenario: &Scenario) -> Result<u64> {
    scenario.agent_metric("podwitness_agent_endpoints")
}

fn wait_other_generation(scenario: &Scenario, before: u64) -> Result<()> {
    wait("other tables are in force", || Ok(generation(scenario)? != before))
}

fn generation(scenario: &Scenario) -> Result<u64> {
    scenario.agent_metric("podwitness_agent_table_generation")
}

#[test]
fn a_pod_that_comes_is_enforced_at_once_and_one_that_goes_has_its_connections_closed() -> Result<()> {
    let mut pair = Pair::make()?;
    let before = generation(&pair.scenario)?;
    pair.scenario.cluster.pod(&pair.new)?;
    wait_other_generation(&pair.scenario, before)?;
    let new = pair.scenario.lab.pod(pair.new.clone())?;
    let made = Instant::now();
    wait("the new pod has hooks", || Ok(endpoints(&pair.scenario)? == 2))?;
    let hooked = made.elapsed();
    let _servers = serve(&new, &[OPEN, SHUT])?;
    // Hooks may be on before the pod's addresses, by which it is known, are seen.
    let remote = SocketAddr::new(pair.new.addresses[0], SHUT);
    while probe(&pair.old, Protocol::Udp, 0, remote, DENIAL_LIMIT)?.outcome != Outcome::TimedOut {
        ensure!(made.elapsed() < ENFORCED_WITHIN, "it is not enforced after {:?}", made.elapsed());
    }
    println!(
        "the new pod had its hooks after {hooked:?}, and was enforced after {:?}",
        made.elapsed().saturating_sub(DENIAL_LIMIT)
    );
    pair.try_new(Outcome::TimedOut)?;
    pair.scenario.wait_settled(4)?;
    let before = pair.scenario.kernel(Counter::ConnectionsOpened)?;

    let opened = new.open_tcp(SocketAddr::new(pair.old.addresses()[1], OPEN), ANSWER_LIMIT)?;
    let Ok(conversation) = opened else { bail!("policy allows it: {opened:?}") };
    let kernel = |counter| pair.scenario.kernel(counter);
    wait("both sides have opened", || Ok(kernel(Counter::ConnectionsOpened)? == before + 2))?;
    pair.scenario.cluster.remove_pod(&pair.new)?;
    drop(new);
    // The one that is left waits on for a peer that will never say that it is gone.
    wait("the pod that went has its connection closed", || Ok(kernel(Counter::ConnectionsClosed)? == before + 1))?;
    wait("its hooks are gone", || Ok(endpoints(&pair.scenario)? == 1))?;
    pair.scenario.wait_agent()?;
    let evidence = pair.scenario.stop_now()?;
    let port = Some(conversation.local().port());
    let of_it: Vec<_> = evidence.rows().filter(|row| row.src.port == port).collect();
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

/// Nothing else happens: neither the cluster nor the endpoints change.
#[test]
fn hooks_that_somebody_takes_away_are_put_on_again() -> Result<()> {
    let pair = Pair::make()?;
    let other = pair.scenario.pod(pair.new.clone())?;
    wait("the new pod has hooks", || Ok(endpoints(&pair.scenario)? == 2))?;
    let _shut = serve(&pair.old, &[SHUT])?;
    let remote = SocketAddr::new(pair.old.addresses()[0], SHUT);
    let is_shut = || Ok(probe(&other, Protocol::Udp, 0, remote, DENIAL_LIMIT)?.outcome == Outcome::TimedOut);
    wait("its policy is in force", is_shut)?;
    // A link lives by its pin.
    let links = pair.scenario.lab.bpffs_path().join("podwitness/links");
    for link in fs::read_dir(&links)? {
        fs::remove_file(link?.path())?;
    }
    // Only a hook that is put on has a new one; how long they are off depends on when the agent looks.
    wait("they are on again", || Ok(fs::read_dir(&links)?.count() == 4))?;
    ensure!(is_shut()?, "policy is enforced by them");
    Ok(())
}

/// Many pods come at once, and the agent is told to stop while it puts hooks on the first of them.
#[test]
fn what_has_hooks_when_the_agent_stops_is_told_before_it_has_stopped() -> Result<()> {
    let mut pair = Pair::make()?;
    pair.scenario.hold_agent(true)?;
    let come = |number: u8| {
        let addresses = [format!("10.5.1.{number}").parse()?, format!("fd00:5::1:{number}").parse()?];
        pair.scenario.pod(PodSpec::new("shop", &format!("new-{number}"), &addresses))
    };
    let pods: Vec<Pod> = (1..=8).map(come).collect::<Result<_>>()?;
    // Without a verdict DuckDB has no file to read.
    let remote = SocketAddr::new(pair.old.addresses()[0], OPEN);
    let sent = probe(&pods[0], Protocol::Tcp, 0, remote, ANSWER_LIMIT)?;
    ensure!(sent.outcome == Outcome::Answered, "{sent:?}");
    pair.scenario.hold_agent(false)?;
    let links = pair.scenario.lab.bpffs_path().join("podwitness/links");
    let hooks = || anyhow::Ok(fs::read_dir(&links)?.count());
    wait("the first new pod has a hook", || Ok(hooks()? > 2))?;
    pair.scenario.stop_now()?;
    let told = Desk::over(&pair.scenario)?.texts(
        "SELECT CAST(2 * count(DISTINCT interface) AS VARCHAR) FROM coverage WHERE event = 'endpoint-attached'",
    )?;
    ensure!(told == [hooks()?.to_string()], "there are {} hooks, and coverage has {told:?}", hooks()?);
    Ok(())
}

#[test]
fn a_pod_that_is_not_known_yet_passes_as_configured_is_recorded_as_such_and_enforced_once_known() -> Result<()> {
    let mut pair = Pair::make()?;
    let new = pair.scenario.lab.pod(pair.new.clone())?;
    let _servers = serve(&new, &[OPEN, SHUT])?;
    wait("the new pod has hooks", || Ok(endpoints(&pair.scenario)? == 2))?;
    pair.try_new(Outcome::Answered)?;
    // Each at both sides.
    pair.scenario.wait_settled(4)?;
    let before = generation(&pair.scenario)?;
    pair.scenario.cluster.pod(&pair.new)?;
    wait_other_generation(&pair.scenario, before)?;
    pair.try_new(Outcome::TimedOut)?;
    let evidence = pair.scenario.stop(7)?;

    let at_new: Vec<_> = evidence.rows().filter(|row| row.direction.as_deref() == Some("ingress")).collect();
    let of_unknown: Vec<_> = at_new.iter().filter(|row| row.reason.as_deref() == Some("unknown-endpoint")).collect();
    ensure!(of_unknown.len() == 4, "two connections, opened and closed: {of_unknown:#?}");
    for row in of_unknown {
        ensure!(row.namespace == "_unknown" && row.verdict.as_deref() == Some("allow"), "{row:?}");
        ensure!(row.dst.pod.is_none() && row.policies.is_empty(), "{row:?}");
    }
    let told: Vec<_> = at_new
        .iter()
        .filter(|row| row.namespace == "shop")
        .map(|row| (row.event.as_str(), row.reason.as_deref().unwrap_or(""), row.dst.port.unwrap_or(0)))
        .collect();
    let wanted = [("open", "rule", OPEN), ("close", "rule", OPEN), ("deny", "no-rule", SHUT)];
    ensure!(told.len() == 3 && wanted.iter().all(|one| told.contains(one)), "{told:?}");
    Ok(())
}
