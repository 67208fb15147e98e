//! Random policies over random pods on the real kernel, with a change of all policies in between.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::PodSpec;
use podwitness_policy::generate::{Random, policies};
use podwitness_tests::check;
use podwitness_tests::oracle::Oracle;
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{SourcePorts, in_parallel, serve};

use crate::field::seed;
use crate::pairs::{self, Party};

/// How many clusters one run makes.
const CLUSTERS: u64 = 8;
/// How often each of them changes all its policies.
const CHANGES: usize = 1;
/// How many pods each of them has.
const PODS: usize = 4;
/// How many of the probes of all pairs are sent under one set of policies.
const PROBES: usize = 160;
/// The ports that policies are made of, and one between them.
const PORTS: [u16; 4] = [80, 81, 443, 5432];

fn pod(random: &mut Random, number: usize) -> Result<PodSpec> {
    let addresses: [IpAddr; 2] = [format!("10.4.0.{number}").parse()?, format!("fd00:4::{number}").parse()?];
    let mut pod = PodSpec::new(random.pick::<&str>(&["bank", "shop"]), &format!("pod-{number}"), &addresses);
    for (key, values) in [("app", ["api", "web"]), ("tier", ["back", "front"])] {
        if random.percent(75) {
            pod = pod.label(key, random.pick::<&str>(&values));
        }
    }
    for name in ["http", "sql"] {
        if random.percent(60) {
            pod = pod.port(name, *random.pick(&PORTS), random.pick::<&str>(&["TCP", "UDP"]));
        }
    }
    Ok(pod)
}

/// Writes other policies, all in one step.
fn write_policies(scenario: &Scenario, random: &mut Random) -> Result<()> {
    let cluster = Oracle::of(&scenario.lab, 0)?.cluster().clone();
    let number = 3 + random.below(5);
    let texts: Vec<String> =
        policies(random, &cluster, number, &PORTS).iter().map(|policy| policy.text.to_string()).collect();
    Ok(scenario.cluster.write("policies.yaml", &texts.join("\n---\n"))?)
}

fn run(seed: u64) -> Result<()> {
    let random = &mut Random::new(seed);
    let mut scenario = Scenario::new()?;
    for (namespace, team) in [("bank", "blue"), ("shop", "red")] {
        scenario.cluster.namespace(namespace, &[("team", team)])?;
    }
    let mut pods = Vec::new();
    for number in 1..=PODS {
        pods.push(scenario.pod(pod(random, number)?)?);
    }
    // These are the addresses outside the cluster that random blocks are about.
    let outside = scenario.lab.outsider("outside", &["203.0.113.77".parse()?, "2001:db8::77".parse()?])?;
    let mut servers = serve(&outside, &PORTS)?;
    for pod in &pods {
        servers.extend(serve(pod, &PORTS)?);
    }
    servers.extend(serve(scenario.lab.node().netns(), &PORTS)?);
    write_policies(&scenario, random)?;
    scenario.start()?;

    let source_ports = SourcePorts::default();
    let mut probed = Vec::new();
    for change in 0..=CHANGES {
        if change > 0 {
            let before = scenario.policy_revision()?;
            write_policies(&scenario, random)?;
            scenario.wait_other_revision(before)?;
        }
        let oracle = Oracle::of(&scenario.lab, scenario.policy_revision()?)?;
        let node = scenario.lab.node();
        let mut parties: Vec<Party<'_>> =
            pods.iter().map(|pod| Party { netns: pod, addresses: pod.addresses(), has_hooks: true }).collect();
        parties.push(Party { netns: &outside, addresses: outside.addresses(), has_hooks: false });
        parties.push(Party { netns: node.netns(), addresses: node.addresses().to_vec(), has_hooks: false });
        let mut errands = pairs::errands(&parties, &PORTS, &source_ports)?;
        while errands.len() > PROBES {
            errands.swap_remove(random.below(errands.len()));
        }
        probed.extend(pairs::send(&oracle, errands)?);
    }
    let evidence = scenario.stop(pairs::openings(&probed))?;
    pairs::check(&evidence, probed)?;
    check::sequences(&evidence)?;
    Ok(())
}

#[test]
fn random_policies_are_enforced_and_witnessed_as_they_are_evaluated() -> Result<()> {
    let first = seed()?;
    let done = in_parallel(2, first..first + CLUSTERS, |seed| {
        run(seed).with_context(|| format!("set PODWITNESS_TEST_SEED={seed} to have this cluster first"))
    })?;
    ensure!(done.len() as u64 == CLUSTERS);
    Ok(())
}
