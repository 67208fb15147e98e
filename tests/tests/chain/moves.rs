//! An address that goes from one pod to another at once, and pods that have ended: what holds for the one holds for it alone.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail, ensure};
use podwitness_lab::{Conversation, NetNs, Outcome, PodSpec};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::{Evidence, Row};
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, SourcePorts, probe, serve};

use crate::field::OPEN;

fn addresses(host: u8) -> Result<[IpAddr; 2]> {
    Ok([format!("10.11.0.{host}").parse()?, format!("fd00:11::{host}").parse()?])
}

fn converse(from: &NetNs, port: u16, to: IpAddr) -> Result<Conversation> {
    match from.open_tcp_from(port, SocketAddr::new(to, OPEN), ANSWER_LIMIT)? {
        Ok(mut conversation) => {
            ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "it was opened and is not answered");
            Ok(conversation)
        }
        Err(attempt) => bail!("it should have been opened: {attempt:?}"),
    }
}

/// A policy by which the pods called `peer` deal with friends alone, both ways.
fn only_friends(scenario: &Scenario) -> Result<()> {
    let friends = "podSelector: {matchLabels: {app: friend}}";
    let spec = format!(
        "{{podSelector: {{matchLabels: {{app: peer}}}}, policyTypes: [Ingress, Egress], ingress: [{{from: [{{{friends}}}]}}], \
         egress: [{{to: [{{{friends}}}]}}]}}"
    );
    Ok(scenario.cluster.policy("shop", "friends", &spec)?)
}

fn generation(scenario: &Scenario) -> Result<u64> {
    scenario.agent_metric("podwitness_agent_table_generation")
}

fn change(scenario: &Scenario, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = generation(scenario)?;
    change()?;
    wait("other tables are in force", || Ok(generation(scenario)? != before))
}

/// The rows of `peer`, of the connection or attempts between these ports, in their order.
fn told<'evidence>(evidence: &'evidence Evidence, from: SocketAddr, to: SocketAddr, at: &str) -> Vec<&'evidence Row> {
    let is_it = |row: &&Row| {
        row.direction.as_deref() == Some(at)
            && row.protocol.as_deref() == Some("TCP")
            && (row.src.ip, row.src.port) == (Some(from.ip()), Some(from.port()))
            && (row.dst.ip, row.dst.port) == (Some(to.ip()), Some(to.port()))
    };
    let mut rows: Vec<&Row> = evidence.rows().filter(is_it).collect();
    rows.sort_by_key(|row| row.seq);
    rows
}

#[test]
fn an_address_that_goes_to_another_pod_takes_nothing_with_it() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[])?;
    only_friends(&scenario)?;
    let peer = scenario.pod(PodSpec::new("shop", "peer", &addresses(1)?).label("app", "peer"))?;
    let old_spec = PodSpec::new("shop", "old", &addresses(2)?).label("app", "friend");
    let new_spec = PodSpec::new("shop", "new", &addresses(2)?).label("app", "stranger");
    let old = scenario.pod(old_spec.clone())?;
    let servers = serve(&old, &[OPEN])?;
    let _peer_serves = serve(&peer, &[OPEN])?;
    scenario.start()?;

    let ports = SourcePorts::default();
    let (mut out, mut into) = (Vec::new(), Vec::new());
    for number in 0..2 {
        out.push(converse(&peer, ports.next()?, old_spec.addresses[number])?);
        into.push(converse(&old, ports.next()?, peer.addresses()[number])?);
    }
    let ends = |conversation: &Conversation| (conversation.local(), conversation.remote());
    let into_ends: Vec<_> = into.iter().map(ends).collect();

    // The old pod's sockets end with its network namespace, and the peer is not told: the link goes first.
    let taken_down = old.command("ip").args(["link", "set", "eth0", "down"]).status()?;
    ensure!(taken_down.success(), "the old pod's link is still up");
    drop((old, into));
    drop(servers);
    change(&scenario, || Ok(scenario.cluster.replace_pod(&old_spec, &new_spec)?))?;
    let new = scenario.lab.pod(new_spec.clone())?;
    let new_serves = serve(&new, &[OPEN])?;
    wait("the new pod has hooks", || Ok(scenario.agent_metric("podwitness_agent_endpoints")? == 2))?;
    scenario.wait_agent()?;

    for conversation in &mut out {
        let outcome = conversation.exchange(DENIAL_LIMIT);
        ensure!(outcome == Outcome::TimedOut, "the new pod is a stranger, and it met {outcome:?}");
    }
    for protocol in PROTOCOLS {
        for number in 0..2 {
            let there = SocketAddr::new(new_spec.addresses[number], OPEN);
            let here = SocketAddr::new(peer.addresses()[number], OPEN);
            for (from, to) in [(&peer, there), (&new, here)] {
                let sent = probe(from, protocol, ports.next()?, to, DENIAL_LIMIT)?;
                ensure!(sent.outcome == Outcome::TimedOut, "the new pod is a stranger: {sent:?}");
            }
        }
    }
    ensure!(new_serves.iter().all(|server| server.requests() == 0), "something came to the new pod");
    let out_ends: Vec<_> = out.iter().map(ends).collect();
    drop(new_serves);
    drop((out, peer, new));
    let evidence = scenario.stop(8)?;

    for (from, to) in out_ends {
        let rows = told(&evidence, from, to, "egress");
        let events: Vec<&str> = rows.iter().map(|row| row.event.as_str()).collect();
        ensure!(events.starts_with(&["open", "close"]), "the old one's connection is not closed: {rows:#?}");
        for row in &rows {
            let wanted = if matches!(row.event.as_str(), "open" | "close") { "old" } else { "new" };
            ensure!(row.dst.pod.as_deref() == Some(wanted), "{wanted} had the address: {row:?}");
        }
    }
    for (from, to) in into_ends {
        let rows = told(&evidence, from, to, "ingress");
        let said: Vec<_> = rows.iter().map(|row| (row.event.as_str(), row.src.pod.as_deref())).collect();
        ensure!(said == [("open", Some("old")), ("close", Some("old"))], "{rows:#?}");
    }
    for row in evidence.rows().filter(|row| row.is_tcp_or_udp()) {
        let other = if row.src.pod.as_deref() == Some("peer") { &row.dst } else { &row.src };
        let wanted = match row.verdict.as_deref() {
            // The new pod's own egress is not isolated; what it sends is denied at the peer.
            Some("allow") if row.src.pod.as_deref() == Some("new") => ("new", "uid-shop-new", "stranger"),
            Some("allow") => ("old", "uid-shop-old", "friend"),
            _ => ("new", "uid-shop-new", "stranger"),
        };
        let labels = format!("{{\"app\":\"{}\"}}", wanted.2);
        ensure!(
            (other.pod.as_deref(), other.pod_uid.as_deref(), other.identity.as_deref(), other.labels.as_deref())
                == (Some(wanted.0), Some(wanted.1), Some("exact"), Some(labels.as_str())),
            "the other side should be {}: {row:?}",
            wanted.0
        );
    }
    let denied: i64 =
        evidence.events("deny").filter(|row| row.protocol.as_deref() == Some("UDP")).map(|row| row.count).sum();
    ensure!(denied == 4, "four datagrams were denied, and {denied} are recorded");
    check::sequences(&evidence)?;
    ensure!(check::lost(&evidence) == 0, "records were lost");
    Ok(())
}

#[test]
fn a_pod_that_has_ended_matches_nothing_and_gives_its_address_free() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[])?;
    only_friends(&scenario)?;
    let peer = scenario.pod(PodSpec::new("shop", "peer", &addresses(1)?).label("app", "peer"))?;
    let _peer_serves = serve(&peer, &[OPEN])?;
    let mut job = PodSpec::new("shop", "job", &addresses(2)?).label("app", "friend");
    scenario.cluster.pod(&job)?;
    // Not a pod of the node: only what its address means to the peer is asked.
    let place = scenario.lab.outsider("place", &addresses(2)?)?;
    scenario.start()?;
    let ports = SourcePorts::default();
    let ask = |wanted: Outcome| -> Result<()> {
        for address in peer.addresses() {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let limit = if wanted == Outcome::Answered { ANSWER_LIMIT } else { DENIAL_LIMIT };
                let sent = probe(&place, protocol, ports.next()?, SocketAddr::new(address, OPEN), limit)?;
                ensure!(sent.outcome == wanted, "it should have met {wanted:?}: {sent:?}");
            }
        }
        Ok(())
    };
    ask(Outcome::Answered)?;
    "Succeeded".clone_into(&mut job.phase);
    change(&scenario, || Ok(scenario.cluster.pod(&job)?))?;
    ask(Outcome::TimedOut)?;
    // The object of the one that ended stays, and another pod has its address.
    let next = PodSpec::new("shop", "next", &addresses(2)?).label("app", "friend");
    change(&scenario, || Ok(scenario.cluster.pod(&next)?))?;
    ask(Outcome::Answered)?;
    let evidence = scenario.stop(8)?;
    let opened: Vec<_> = evidence.events("open").map(|row| row.src.pod.clone().unwrap_or_default()).collect();
    ensure!(opened.iter().filter(|pod| *pod == "job").count() == 4, "{opened:?}");
    ensure!(opened.iter().filter(|pod| *pod == "next").count() == 4 && opened.len() == 8, "{opened:?}");
    let denied: Vec<&Row> = evidence.events("deny").collect();
    ensure!(denied.iter().map(|row| row.count).sum::<i64>() == 4, "four attempts were denied: {denied:#?}");
    for row in denied {
        ensure!(row.src.pod.is_none() && row.src.identity.as_deref() == Some("external"), "nobody has it: {row:?}");
    }
    check::closes(&evidence)?;
    check::sequences(&evidence)?;
    Ok(())
}
