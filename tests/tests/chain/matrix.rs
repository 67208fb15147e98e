//! Every pair of pods, both families, both protocols and several ports, against the slow evaluator: what the packet met,
//! and what the evidence says of it, to the last column and the last row.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use podwitness_lab::PodSpec;
use podwitness_tests::check;
use podwitness_tests::oracle::Oracle;
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{SourcePorts, serve};

use crate::pairs::{self, Party};

/// One within and one beyond each boundary that the policies draw.
const PORTS: [u16; 5] = [80, 8080, 9000, 9004, 9005];

/// Namespace, name, policy spec.
const POLICIES: [(&str, &str, &str); 9] = [
    ("shop", "default-deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}"),
    (
        "shop",
        "web-from-everywhere",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.0/29, \
          203.0.113.128/25]}}, {ipBlock: {cidr: '2001:db8::/32'}}], ports: [{port: 80}]}], policyTypes: [Ingress]}",
    ),
    (
        "shop",
        "web-out",
        "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, api]}]}, egress: [{to: [{podSelector: \
          {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}]}, {to: [{ipBlock: {cidr: 203.0.113.0/24}}], \
          ports: [{port: 8080, endPort: 9004}, {port: 80, protocol: UDP}]}], policyTypes: [Egress]}",
    ),
    (
        "shop",
        "api-from-web-and-ops",
        "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: \
          [{port: http}]}, {from: [{namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: \
          mon}}}], ports: [{port: 9000, endPort: 9004}, {port: dns, protocol: UDP}]}]}",
    ),
    (
        "shop",
        "db-from-namespace",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, \
          operator: Exists}]}}]}, {from: [{podSelector: {}}], ports: [{port: 9000}, {protocol: UDP}]}]}",
    ),
    // Allows again what `db-from-namespace` allows: both must be named.
    (
        "shop",
        "db-again",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 8080}]}, {from: [{podSelector: {matchLabels: \
          {app: api}}}]}]}",
    ),
    ("ops", "mon-in", "{podSelector: {matchLabels: {app: mon}}, policyTypes: [Ingress]}"),
    (
        "ops",
        "batch-out",
        "{podSelector: {matchLabels: {app: batch}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}, \
          podSelector: {}}], ports: [{port: http}, {port: dns, protocol: UDP}]}, {to: [{ipBlock: {cidr: \
          '2001:db8::/64', except: ['2001:db8::8000/113']}}]}]}",
    ),
    // About pods that are not there.
    ("guests", "nobody", "{podSelector: {matchLabels: {app: none}}, policyTypes: [Ingress, Egress]}"),
];

fn both(v4: &str, v6: &str) -> Result<Vec<IpAddr>> {
    Ok(vec![v4.parse()?, v6.parse()?])
}

#[test]
fn every_probe_meets_what_the_policies_say_and_has_its_records_and_there_are_no_others() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[("tier", "front")])?;
    scenario.cluster.namespace("ops", &[("team", "ops")])?;
    scenario.cluster.namespace("guests", &[])?;
    let pods = [
        PodSpec::new("shop", "web", &both("10.1.0.1", "fd00:1::1")?).label("app", "web"),
        PodSpec::new("shop", "api", &both("10.1.0.2", "fd00:1::2")?)
            .label("app", "api")
            .label("tier", "back")
            .port("http", 8080, "TCP")
            .port("dns", 9000, "UDP"),
        // What is `http` here is another number than there.
        PodSpec::new("shop", "db", &both("10.1.0.9", "fd00:1::9")?).label("app", "db").port("http", 9005, "TCP"),
        PodSpec::new("ops", "mon", &both("10.1.0.3", "fd00:1::3")?).label("app", "mon"),
        PodSpec::new("ops", "batch", &both("10.1.0.10", "fd00:1::10")?).label("app", "batch").port("http", 80, "UDP"),
        PodSpec::new("guests", "visitor", &both("10.1.0.4", "fd00:1::4")?),
    ];
    let pods = pods.into_iter().map(|spec| scenario.pod(spec)).collect::<Result<Vec<_>>>()?;
    for (namespace, name, spec) in POLICIES {
        scenario.cluster.policy(namespace, name, spec)?;
    }
    // One on each side of what the policies except.
    let near = scenario.lab.outsider("near", &both("203.0.113.7", "2001:db8::7")?)?;
    let far = scenario.lab.outsider("far", &both("203.0.113.200", "2001:db8::ffff")?)?;
    scenario.start()?;
    let revision = scenario.policy_revision()?;
    let oracle = Oracle::of(&scenario.lab, revision)?;
    ensure!(oracle.cluster().policies.len() == POLICIES.len() && oracle.cluster().pods.len() == pods.len());

    let node = scenario.lab.node();
    let mut parties: Vec<Party<'_>> =
        pods.iter().map(|pod| Party { netns: pod, addresses: pod.addresses(), has_hooks: true }).collect();
    for outsider in [&near, &far] {
        parties.push(Party { netns: outsider, addresses: outsider.addresses(), has_hooks: false });
    }
    parties.push(Party { netns: node.netns(), addresses: node.addresses().to_vec(), has_hooks: false });
    let _servers = parties.iter().map(|party| serve(party.netns, &PORTS)).collect::<Result<Vec<_>>>()?;

    let probed = pairs::send(&oracle, pairs::errands(&parties, &PORTS, &SourcePorts::default())?)?;
    let answered = probed.iter().filter(|(_, expected)| expected.answered).count();
    println!("{} probes, {answered} of them answered, {} openings", probed.len(), pairs::openings(&probed));
    ensure!(answered * 5 > probed.len() && answered * 5 < probed.len() * 4, "the policies decide too little");

    drop(parties);
    let evidence = scenario.stop(pairs::openings(&probed))?;
    pairs::check(&evidence, probed)?;
    let namespaces = check::sequences(&evidence)?;
    ensure!(namespaces.iter().eq(["guests", "ops", "shop"]), "there is evidence of {namespaces:?}");
    Ok(())
}

/// The kernel's table holds IPv4 addresses as IPv6 ones, and `::/0` would cover them.
#[test]
fn a_block_of_one_family_says_nothing_of_the_other() -> Result<()> {
    let mut scenario = Scenario::new()?;
    scenario.cluster.namespace("shop", &[])?;
    let pods = [
        scenario.pod(PodSpec::new("shop", "selected", &both("10.6.0.1", "fd00:6::1")?).label("app", "selected"))?,
        scenario.pod(PodSpec::new("shop", "other", &both("10.6.0.2", "fd00:6::2")?))?,
    ];
    let all_of_v6 = "[{ipBlock: {cidr: '::/0'}}]";
    let selected = "{podSelector: {matchLabels: {app: selected}}";
    let spec = format!("{selected}, ingress: [{{from: {all_of_v6}}}], egress: [{{to: {all_of_v6}}}]}}");
    scenario.cluster.policy("shop", "ipv6-alone", &spec)?;
    let outside = scenario.lab.outsider("outside", &both("203.0.113.7", "2001:db8::7")?)?;
    scenario.start()?;
    let oracle = Oracle::of(&scenario.lab, scenario.policy_revision()?)?;
    let mut parties: Vec<Party<'_>> =
        pods.iter().map(|pod| Party { netns: pod, addresses: pod.addresses(), has_hooks: true }).collect();
    parties.push(Party { netns: &outside, addresses: outside.addresses(), has_hooks: false });
    let _servers = parties.iter().map(|party| serve(party.netns, &PORTS[..1])).collect::<Result<Vec<_>>>()?;
    let probed = pairs::send(&oracle, pairs::errands(&parties, &PORTS[..1], &SourcePorts::default())?)?;
    drop(parties);
    let evidence = scenario.stop(pairs::openings(&probed))?;
    pairs::check(&evidence, probed)
}
