//! What a node does while the API server, or its power, is away.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::Outcome;
use podwitness_policy::Protocol;
use podwitness_tests::field::{OPEN, Party as _, SHUT};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, probe};
use serde_json::json;

use crate::cluster::{Cluster, NODES, on_cluster, run, wait};
use crate::pods::policy;
use crate::release::AGENT_PORT;
use crate::traffic::Member;

/// What is not so while the API server is away.
const SOURCE_READ: &str = "everything in the source can be read";

/// A policy that lets nobody in.
fn closed(namespace: &str) -> String {
    policy(namespace, "one-port", &json!({"podSelector": {}, "ingress": []})).to_string()
}

type Field = podwitness_tests::field::Field<Member>;

/// What a probe meets between the two pods of a node.
fn met(field: &Field, node: usize, port: u16, limit: Duration) -> Result<Outcome> {
    let (from, to) = (&field.pods[node], &field.pods[node + 2]);
    let remote = SocketAddr::new(to.addresses()[0], port);
    Ok(probe(from.netns(), Protocol::Tcp, field.ports.next()?, remote, limit)?.outcome)
}

/// Waits until the evidence says from when to when the API server was away from a node.
fn await_coverage(cluster: &Cluster, node: &str) -> Result<()> {
    let question = format!(
        "SELECT event AS line FROM coverage WHERE node = '{node}' AND event IN ('source-away', 'source-back') ORDER BY boot, seq"
    );
    let mut told = Vec::new();
    wait(&format!("the evidence says that the API server was away from {node}"), || {
        told = cluster.question(&question)?;
        Ok(told.ends_with(&["source-away".to_owned(), "source-back".to_owned()]))
    })
    .with_context(|| format!("{told:?}"))
}

/// Waits until the agent of a node says that the API server is away, or that it is not.
fn await_source(cluster: &Cluster, node: &str, away: bool) -> Result<()> {
    wait(&format!("{node} says whether the API server is away ({away})"), || {
        Ok(cluster.ask(node, AGENT_PORT, "/readyz")?.contains(SOURCE_READ) == away)
    })
}

/// How long a node is without the API server.
const AWAY: Duration = Duration::from_secs(300);

/// The API server goes away and comes again, and one node is kept from it longer, while a policy changes.
#[test]
fn the_last_policy_stays_in_force_while_the_api_server_is_away() -> Result<()> {
    on_cluster("api-server-away", |cluster| {
        cluster.enforcing()?;
        let cluster = &*cluster;
        let field = cluster.field("away")?;
        let (cut, whole) = (NODES[0], NODES[1]);
        let begun = Instant::now();
        run(cluster.command("program").args(["kill", "kube-apiserver"]))?;
        for (number, node) in NODES.into_iter().enumerate() {
            await_source(cluster, node, true)?;
            ensure!(
                met(&field, number, OPEN, ANSWER_LIMIT)? == Outcome::Answered,
                "{node} keeps the policy that it had"
            );
            ensure!(
                met(&field, number, SHUT, DENIAL_LIMIT)? == Outcome::TimedOut,
                "{node} keeps the policy that it had"
            );
        }

        let netns = cluster.node_netns(cut)?;
        let rules = "add table inet cut
            add chain inet cut out { type filter hook output priority 0; }
            add rule inet cut out tcp dport 6443 reject with tcp reset";
        run(netns.command("nft").arg(rules))?;
        run(cluster.command("program").args(["start", "kube-apiserver"]))?;
        wait("the API server is back", || Ok(cluster.kubectl(&["get", "nodes", "--request-timeout=5s"]).is_ok()))?;
        await_source(cluster, whole, false)?;
        cluster.changing_tables(&[whole], || cluster.apply(&closed("away")))?;
        ensure!(met(&field, 1, OPEN, DENIAL_LIMIT)? == Outcome::TimedOut, "{whole} has the new policy");
        loop {
            let is_over = begun.elapsed() >= AWAY;
            ensure!(met(&field, 0, OPEN, ANSWER_LIMIT)? == Outcome::Answered, "{cut} has the last policy");
            ensure!(met(&field, 0, SHUT, DENIAL_LIMIT)? == Outcome::TimedOut, "{cut} has the last policy");
            if is_over {
                break;
            }
            sleep(Duration::from_secs(1));
        }
        ensure!(cluster.ask(cut, AGENT_PORT, "/readyz")?.contains(SOURCE_READ), "{cut} says that it is away");

        cluster
            .changing_tables(&[cut], || run(netns.command("nft").args(["delete", "table", "inet", "cut"])).map(drop))?;
        ensure!(met(&field, 0, OPEN, DENIAL_LIMIT)? == Outcome::TimedOut, "{cut} has the new policy");
        await_source(cluster, cut, false)?;
        for node in NODES {
            await_coverage(cluster, node)?;
        }
        let longest = cluster.question(&format!(
            "SELECT CAST(date_diff('second', max_by(since, time), max(time)) AS VARCHAR) AS line FROM coverage
             WHERE node = '{cut}' AND event = 'source-back'"
        ))?;
        let seconds: u64 = longest.first().context("there is one")?.parse()?;
        ensure!(seconds.abs_diff(begun.elapsed().as_secs()) < 30, "{cut} says that it was away for {seconds} s");
        cluster.verify()?;
        cluster.kubectl(&["delete", "namespace", "away"]).map(drop)
    })
}

/// A node starts again: its maps and hooks are gone, and its boot id is another one.
#[test]
fn a_node_that_starts_again_goes_on_with_its_chain() -> Result<()> {
    on_cluster("node-started-again", |cluster| {
        cluster.enforcing()?;
        let cluster = &*cluster;
        let (name, node) = ("power", NODES[1]);
        let field = cluster.field(name)?;
        let mut sent = Vec::new();
        let round = |field: &Field, sent: &mut Vec<_>| -> Result<()> {
            // First what is sent again until it gets through, over every way: the nodes must find each other anew.
            for turn in 0..6 {
                for from in 0..field.pods.len() {
                    sent.push(field.send(from, turn, Protocol::Tcp, OPEN)?);
                }
            }
            for (turn, port) in [OPEN, SHUT, OPEN, SHUT].into_iter().enumerate() {
                for from in 0..field.pods.len() {
                    sent.push(field.send(from, turn, PROTOCOLS[turn / 2], port)?);
                }
            }
            Ok(())
        };
        round(&field, &mut sent)?;
        cluster.await_account(name, &sent)?;
        let boots = |cluster: &Cluster| -> Result<std::collections::BTreeSet<String>> {
            let evidence = cluster.evidence()?.of_namespace(name);
            Ok(evidence.rows().filter(|row| row.node == node).map(|row| row.boot.clone()).collect())
        };
        let before = boots(cluster)?;
        ensure!(before.len() == 1, "its records are of one boot: {before:?}");
        // The servers end; no source port is used again.
        let ports = {
            let field = field;
            field.ports
        };

        let agent = cluster.agent_on(node)?;
        run(cluster.command("node").args(["stop", node]))?;
        run(cluster.command("node").args(["start", node]))?;
        wait("the agent runs again", || Ok(cluster.agent_on(node).is_ok_and(|now| now.0 != agent.0)))?;
        cluster.await_nodes()?;
        let hooked = |node: &str| cluster.agent_metric(node, "podwitness_agent_endpoints");
        wait("the pods run again, with hooks", || Ok(hooked(node).is_ok_and(|hooked| hooked >= 2)))?;
        let pods = cluster.pods(name)?;
        let mut field = cluster.field_of(pods)?;
        field.ports = ports;
        round(&field, &mut sent)?;
        cluster.await_account(name, &sent)?;
        let after = boots(cluster)?;
        ensure!(after.len() == 2 && after.is_superset(&before), "its records are of two boots: {after:?}");
        let said = cluster.verify()?;
        said.contains("not-clean").then_some(()).context("the evidence says that it did not stop cleanly")?;
        cluster.kubectl(&["delete", "namespace", name]).map(drop)
    })
}
