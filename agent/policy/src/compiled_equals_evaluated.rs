//! The property that everything stands on: the tables decide each connection as the evaluator does, with the same rules.

use crate::generate::{Probe, Random, Scenario, probes};
use crate::{Decision, Direction, Evaluation, IdentityRef, Subject, Tables, compile, evaluate};

/// How many scenarios; `PODWITNESS_POLICY_CASES` asks for others.
const CASES: u64 = 2000;
/// How many of the probes of a scenario, which are thousands, each of its endpoints is asked about.
const PROBES: usize = 50;

#[derive(Debug, Default)]
struct Tally {
    unknown: u64,
    node: u64,
    not_isolated: u64,
    allowed: u64,
    denied: u64,
    service: u64,
}

impl Tally {
    fn add(&mut self, decision: &Decision) {
        match decision {
            Decision::UnknownEndpoint => self.unknown += 1,
            Decision::Evaluated(Evaluation::Node) => self.node += 1,
            Decision::Evaluated(Evaluation::NotIsolated) => self.not_isolated += 1,
            Decision::Evaluated(Evaluation::Allowed(_)) => self.allowed += 1,
            Decision::Evaluated(Evaluation::Denied(_)) => self.denied += 1,
            Decision::Service { .. } => self.service += 1,
        }
    }

    fn assert_is_a_mix(&self) {
        let total = self.unknown + self.node + self.not_isolated + self.allowed + self.denied;
        for (name, count) in [
            ("unknown", self.unknown),
            ("node", self.node),
            ("not isolated", self.not_isolated),
            ("allowed", self.allowed),
            ("denied", self.denied),
        ] {
            assert!(count * 100 >= total, "of {total} decisions less than 1% were `{name}`: {self:?}");
        }
        let isolated = self.allowed + self.denied;
        assert!(self.allowed * 10 >= isolated, "less than 10% of the isolated were allowed: {self:?}");
        assert!(self.denied * 10 >= isolated, "less than 10% of the isolated were denied: {self:?}");
    }
}

fn expected(scenario: &Scenario, interface: usize, direction: Direction, probe: Probe) -> Decision {
    let pod = scenario.endpoints[interface].pod.as_ref().and_then(|name| scenario.cluster.pods.get(name));
    pod.map_or(Decision::UnknownEndpoint, |pod| {
        let subject = Subject { pod, node_addresses: &scenario.node_addresses };
        Decision::Evaluated(evaluate(&scenario.cluster, &subject, direction, probe.peer, probe.protocol, probe.port))
    })
}

fn number_of_cases() -> u64 {
    match std::env::var("PODWITNESS_POLICY_CASES") {
        Ok(number) => number.parse().expect("PODWITNESS_POLICY_CASES is a number of cases"),
        Err(_) => CASES,
    }
}

#[test]
fn tables_decide_as_the_evaluator_does() {
    let mut tally = Tally::default();
    for seed in 0..number_of_cases() {
        let scenario = Scenario::random(seed);
        let tables = compile(&scenario.input());
        let mut random = Random::new(!seed);
        let probes = probes(&mut random, &scenario);
        for (number, endpoint) in scenario.endpoints.iter().enumerate() {
            for probe in std::iter::repeat_with(|| *random.pick(&probes)).take(PROBES) {
                for direction in [Direction::Ingress, Direction::Egress] {
                    let expected = expected(&scenario, number, direction, probe);
                    let decided = tables.decide(endpoint.interface, direction, probe.peer, probe.protocol, probe.port);
                    assert_eq!(
                        decided, expected,
                        "seed {seed}: {direction:?} of {:?}, {probe:?}\n{:#?}",
                        endpoint.pod, scenario.cluster.policies
                    );
                    tally.add(&decided);
                }
            }
        }
    }
    println!("{tally:?}");
    tally.assert_is_a_mix();
}

#[test]
fn the_identity_of_an_address_is_the_pod_that_has_it() {
    for seed in 0..500 {
        let scenario = Scenario::random(seed);
        let tables = compile(&scenario.input());
        for address in scenario.cluster.pods.values().flat_map(|pod| pod.addresses.iter().copied()) {
            let identity = tables.address(address).map(|address| &address.identity);
            let owner = scenario.cluster.pod_at(address);
            match identity {
                Some(IdentityRef::Pod(name)) => {
                    assert_eq!(Some(name), owner.map(|pod| &pod.name), "seed {seed}, {address}");
                }
                Some(IdentityRef::LocalNode) => {
                    assert!(scenario.node_addresses.contains(&address), "seed {seed}, {address}");
                }
                _ => assert_eq!(None, owner, "seed {seed}, {address} is {identity:?}"),
            }
        }
    }
}

#[test]
fn the_same_input_compiles_to_the_same_tables() {
    for seed in 0..200 {
        let scenario = Scenario::random(seed);
        let tables = compile(&scenario.input());
        assert_eq!(tables, compile(&Scenario::random(seed).input()), "seed {seed}");

        let mut shuffled = scenario.clone();
        shuffled.endpoints.reverse();
        shuffled.node_addresses.reverse();
        for pod in shuffled.cluster.pods.values_mut() {
            pod.ports.reverse();
            pod.addresses.reverse();
        }
        assert_eq!(tables, compile(&shuffled.input()), "seed {seed}, in another order");
    }
}

#[test]
fn entries_are_sorted_canonical_and_never_empty() {
    for seed in 0..500 {
        let Tables { ports, addresses, .. } = compile(&Scenario::random(seed).input());
        assert!(ports.is_sorted_by(|one, other| one.key() < other.key()), "seed {seed}");
        for entry in &ports {
            let beyond = u32::from(entry.port) & ((1_u32 << (16 - entry.port_bits)) - 1);
            assert_eq!(beyond, 0, "seed {seed}: {entry:?}");
            assert!(!entry.rule_set.is_empty(), "seed {seed}: {entry:?}");
            assert!(entry.protocol.is_some() || (entry.port, entry.port_bits) == (0, 0), "seed {seed}: {entry:?}");
        }
        assert!(addresses.keys().all(|net| *net == net.trunc()), "seed {seed}");
    }
}
