//! The chart installed in audit mode, upgraded to enforce, asked, and taken away.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use podwitness_policy::{Protocol, WitnessMode};
use podwitness_tests::check;
use podwitness_tests::evidence::Row;
use podwitness_tests::oracle::{Decision, Expected};
use podwitness_tests::traffic::PROTOCOLS;
use serde_json::json;

use crate::asked;
use crate::cluster::{Cluster, NODES, on_cluster, wait};
use crate::pods::{DATAGRAMS, HTTP, Pod, Target, list, named, namespace, pod, pod_spec, policy, port};
use crate::traces::Traces;
use crate::witnesses::{Witnesses, comparable};

const SHOP: &str = "shop";
/// A namespace that enforces while the nodes audit, by its `AuditTrail`.
const BANK: &str = "bank";
/// A host that is no part of the cluster; its API server answers there.
const OUTSIDE: [&str; 2] = ["203.0.113.1", "2001:db8::1"];
const OUTSIDE_PORT: u16 = 6443;
/// Seconds for a probe that passes, on a busy machine; and for one that is denied.
const PATIENT: u32 = 20;
const IMPATIENT: u32 = 2;

/// A client of each kind on each node, and a server on each.
fn scene() -> String {
    let client = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": SHOP, "name": "client"},
        "spec": {
            "selector": {"matchLabels": {"app": "client"}},
            "template": {"metadata": {"labels": {"app": "client", "tier": "front"}}, "spec": pod_spec("node-1")},
        },
    });
    let ports = json!([{"port": HTTP}, {"port": DATAGRAMS, "protocol": "UDP"}]);
    let servers = json!({
        "podSelector": {"matchLabels": {"app": "server"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": ports}],
    });
    let strangers = json!({
        "podSelector": {"matchLabels": {"app": "stranger"}},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}]}],
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": SHOP, "name": "server"},
        "spec": {
            "ipFamilyPolicy": "RequireDualStack", "selector": {"app": "server"},
            "ports": [
                {"name": "web", "port": HTTP},
                {"name": "datagrams", "port": DATAGRAMS, "protocol": "UDP"},
            ],
        },
    });
    list(&[
        namespace(SHOP),
        namespace(BANK),
        policy(SHOP, "servers", &servers),
        policy(SHOP, "strangers", &strangers),
        policy(BANK, "closed", &json!({"podSelector": {}, "policyTypes": ["Ingress"]})),
        client,
        service,
        pod(SHOP, "stranger", "stranger", "node-2"),
        // What this one sends goes to the Service alone.
        pod(SHOP, "shopper", "client", "node-1"),
        pod(SHOP, "one", "server", "node-1"),
        pod(SHOP, "two", "server", "node-2"),
        pod(BANK, "vault", "vault", "node-1"),
    ])
}

/// Every way between the clients and everything else, over both families and protocols.
fn targets(pods: &[Pod]) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for name in ["one", "two", "vault"] {
        for address in &named(pods, name)?.addresses {
            targets.extend(
                PROTOCOLS.map(|protocol| Target { protocol, remote: SocketAddr::new(*address, port(protocol)) }),
            );
        }
    }
    for address in OUTSIDE {
        targets.push(Target { protocol: Protocol::Tcp, remote: SocketAddr::new(address.parse()?, OUTSIDE_PORT) });
    }
    Ok(targets)
}

/// Sends all probes in this mode, sees that policy is followed, and returns the records that must come of it.
fn witnessed(cluster: &Cluster, pods: &[Pod], mode: WitnessMode) -> Result<Vec<Decision>> {
    let witnesses = Witnesses::of(cluster, mode)?;
    let mut decisions = Vec::new();
    for name in ["client", "stranger"] {
        let from = named(pods, name)?;
        let expect = |target: &Target| -> Result<Expected> {
            let own = from.addresses.iter().find(|own| own.is_ipv4() == target.remote.is_ipv4());
            Ok(witnesses.expect(target.protocol, *own.context("pods have both families")?, target.remote))
        };
        let mut ways = [Vec::new(), Vec::new()];
        for target in targets(pods)? {
            let expected = expect(&target)?;
            ways[usize::from(expected.answered)].push(target);
            decisions.extend(expected.decisions);
        }
        let [closed, open] = ways;
        // In each mode there is something for each that is denied, and for one something that is not.
        ensure!(!closed.is_empty() && (name != "client" || !open.is_empty()), "{mode:?} {name}: {open:?} {closed:?}");
        let answered = cluster.exec_probes(from, &open, PATIENT)?;
        ensure!(answered.iter().all(|answered| *answered), "in {mode:?}, {name} asked {open:?}: {answered:?}");
        let answered = cluster.exec_probes(from, &closed, IMPATIENT)?;
        ensure!(answered.iter().all(|answered| !answered), "in {mode:?}, {name} asked {closed:?}: {answered:?}");
    }
    Ok(decisions)
}

/// Whether this row is about what a probe between pods has met with.
fn is_decision(row: &Row) -> bool {
    [SHOP, BANK].contains(&&*row.namespace) && row.is_tcp_or_udp() && ["open", "deny", "change"].contains(&&*row.event)
}

fn is_shoppers(row: &Row) -> bool {
    [&row.src, &row.dst].iter().any(|side| side.pod.as_deref() == Some("shopper"))
}

/// That each record is there once, and no other.
fn compare(cluster: &Cluster, expected: &[Decision]) -> Result<()> {
    let evidence = cluster.evidence()?;
    let found = evidence.rows().filter(|row| is_decision(row) && !is_shoppers(row));
    let found = check::denied_once(found.map(|row| comparable(Decision::from(row))).collect());
    let expected = check::denied_once(expected.to_vec());
    check::same("records", &check::multiset(expected), &check::multiset(found))
}

#[test]
fn installed_in_audit_mode_then_enforced_asked_and_taken_away() -> Result<()> {
    on_cluster("install", |cluster| {
        cluster.prepare()?;
        cluster.apply(&scene())?;
        let mut pods = cluster.pods(SHOP)?;
        pods.extend(cluster.pods(BANK)?);
        let before = Traces::of(cluster)?;

        cluster.install(&[])?;
        let trail = json!({
            "apiVersion": "podwitness.io/v1alpha1", "kind": "AuditTrail",
            "metadata": {"namespace": BANK, "name": "default"},
            "spec": {"mode": "enforce", "retention": "700d"},
        });
        cluster.changing_tables(&NODES[..1], || cluster.apply(&trail.to_string()))?;
        let mut expected = witnessed(cluster, &pods, WitnessMode::Audit)?;
        wait("the evidence has every record of the audit", || Ok(compare(cluster, &expected).is_ok()))
            .or_else(|_| compare(cluster, &expected))?;

        let notes = cluster.upgrade(&["mode=enforce"])?;
        expected.extend(witnessed(cluster, &pods, WitnessMode::Enforce)?);
        wait("the evidence has every record", || Ok(compare(cluster, &expected).is_ok()))
            .or_else(|_| compare(cluster, &expected))?;
        asked::through_the_service(cluster, &pods)?;
        asked::who_talked_to_whom(cluster)?;
        asked::trail(cluster, BANK, 700)?;
        asked::it_is_well(cluster, &notes)?;
        cluster.verify()?;

        let during = Traces::of(cluster)?;
        ensure!(during.count("hook") > 0 && during.count("/sys/fs/bpf/podwitness") > 0, "it is there: {during:?}");
        cluster.uninstall()?;
        let mut left = Vec::new();
        wait("nothing is left", || {
            left = Traces::of(cluster)?.differences(&before);
            Ok(left.is_empty())
        })
        .with_context(|| left.join("\n"))?;
        compare(cluster, &expected)?;
        cluster.verify()?;
        cluster.kubectl(&["delete", "namespace", SHOP, BANK]).map(drop)
    })
}
