//! The property that everything stands on: the tables decide each connection as the evaluator does, with the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::generate::{Probe, Random, Scenario, probes, probes_of_services};
use crate::{
    Backend, Decision, Direction, Evaluation, Frontend, IdentityRef, MOST_FRONTENDS, PortOutcome, Protocol, Resolution,
    ServiceKind, ServiceVerdict, Subject, Tables, compile, evaluate, evaluate_service,
};

/// How many scenarios; `PODWITNESS_POLICY_CASES` asks for others.
const CASES: u64 = 2000;
/// How many of the probes of a scenario, which are thousands, each of its endpoints is asked about.
const PROBES: usize = 40;
/// The same for the frontends of its Services.
const PROBES_OF_SERVICES: usize = 20;

#[derive(Debug, Default)]
struct Tally {
    decisions: BTreeMap<&'static str, u64>,
    of_services: BTreeMap<&'static str, u64>,
    kinds: BTreeMap<ServiceKind, u64>,
    /// Scenarios in which a backend has more frontends than it can know.
    crowded: u64,
}

impl Tally {
    fn add(&mut self, decision: &Decision) {
        let (counts, name) = match decision {
            Decision::UnknownEndpoint => (&mut self.decisions, "unknown"),
            Decision::Evaluated(evaluation) => (
                &mut self.decisions,
                match evaluation {
                    Evaluation::Node => "node",
                    Evaluation::NotIsolated => "not isolated",
                    Evaluation::Allowed(_) => "allowed",
                    Evaluation::Denied(_) => "denied",
                },
            ),
            Decision::Service { verdict, resolution, .. } => (
                &mut self.of_services,
                match (verdict, resolution) {
                    (ServiceVerdict::Denied(_), Resolution::None) => "denied without a backend",
                    (ServiceVerdict::Node, _) => "node",
                    (ServiceVerdict::NotIsolated, _) => "not isolated",
                    (ServiceVerdict::Allowed(_), _) => "allowed",
                    (ServiceVerdict::Denied(_), _) => "denied",
                    (ServiceVerdict::Deferred(_), _) => "deferred",
                    (ServiceVerdict::MixedDenied(_), _) => "mixed and denied",
                },
            ),
        };
        *counts.entry(name).or_default() += 1;
    }

    fn assert_is_a_mix(&self) {
        let names = ["unknown", "node", "not isolated", "allowed", "denied"];
        assert_each(&names, &self.decisions, 100);
        let of = |name: &str| self.decisions[name];
        let isolated = of("allowed") + of("denied");
        assert!(of("allowed") * 10 >= isolated, "less than 10% of the isolated were allowed: {self:?}");
        assert!(of("denied") * 10 >= isolated, "less than 10% of the isolated were denied: {self:?}");

        let names =
            ["node", "not isolated", "allowed", "denied", "denied without a backend", "deferred", "mixed and denied"];
        assert_each(&names, &self.of_services, 200);
        assert_each(&[ServiceKind::Alike, ServiceKind::Own, ServiceKind::Node, ServiceKind::Empty], &self.kinds, 100);
        assert!(self.crowded > 0, "no backend had more frontends than it can know: {self:?}");
    }
}

/// Asserts that each name counts for at least one in `share`.
fn assert_each<K: Ord + std::fmt::Debug>(names: &[K], counts: &BTreeMap<K, u64>, share: u64) {
    let total: u64 = counts.values().sum();
    for name in names {
        let count = counts.get(name).copied().unwrap_or_default();
        assert!(count * share >= total, "of {total} less than one in {share} was {name:?}: {counts:?}");
    }
}

/// The scenario as the evaluator sees it.
struct Expectation<'a> {
    scenario: &'a Scenario,
    /// The frontends of each backend that can decide.
    backends: BTreeMap<Backend, BTreeSet<Frontend>>,
    /// Whether there is a backend that cannot decide because it has too many.
    is_crowded: bool,
}

impl<'a> Expectation<'a> {
    fn of(scenario: &'a Scenario) -> Self {
        let known = scenario.endpoints.iter().filter_map(|endpoint| {
            let pod = scenario.cluster.pods.get(endpoint.pod.as_ref()?)?;
            Some((pod, pod.addresses.iter().chain(endpoint.addresses.iter().copied())))
        });
        let (pods, local): (Vec<_>, Vec<_>) = known.unzip();
        let local: BTreeSet<IpAddr> = local.into_iter().flatten().collect();
        let mut backends: BTreeMap<Backend, BTreeSet<Frontend>> = BTreeMap::new();
        // All endpoints are on one node, on which a backend does not depend on who asks.
        for (pod, probe) in pods
            .first()
            .into_iter()
            .flat_map(|pod| probes_of_services(scenario).into_iter().map(move |probe| (pod, probe)))
        {
            let Some(protocol) = Protocol::ALL.into_iter().find(|known| known.number() == probe.protocol) else {
                continue;
            };
            let Some(port) = probe.port else { continue };
            let subject = Subject { pod, node_addresses: &scenario.node_addresses };
            let evaluated = evaluate_service(&scenario.cluster, &subject, probe.peer, probe.protocol, probe.port);
            let Some(evaluated) = evaluated.filter(|evaluated| evaluated.keeps_source) else { continue };
            for backend in evaluated.backends.into_keys().filter(|backend| local.contains(&backend.address)) {
                backends.entry(backend).or_default().insert(Frontend { address: probe.peer, protocol, port });
            }
        }
        let is_crowded = backends.values().any(|frontends| frontends.len() > MOST_FRONTENDS);
        backends.retain(|_, frontends| frontends.len() <= MOST_FRONTENDS);
        Self { scenario, backends, is_crowded }
    }

    fn decision(&self, endpoint: usize, direction: Direction, probe: Probe) -> Decision {
        let cluster = &self.scenario.cluster;
        let pod = self.scenario.endpoints[endpoint].pod.as_ref().and_then(|name| cluster.pods.get(name));
        let Some(pod) = pod else { return Decision::UnknownEndpoint };
        let subject = Subject { pod, node_addresses: &self.scenario.node_addresses };
        if direction == Direction::Egress
            && let Some(evaluated) = evaluate_service(cluster, &subject, probe.peer, probe.protocol, probe.port)
        {
            return Decision::Service {
                service: evaluated.service.name.clone(),
                verdict: evaluated.verdict(|backend| self.backends.contains_key(backend)),
                resolution: evaluated.resolution(),
            };
        }
        Decision::Evaluated(evaluate(cluster, &subject, direction, probe.peer, probe.protocol, probe.port))
    }
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
        let expectation = Expectation::of(&scenario);
        let tables = compile(&scenario.input());
        let backends: BTreeMap<Backend, BTreeSet<Frontend>> =
            tables.backends.iter().map(|(backend, of)| (*backend, of.iter().copied().collect())).collect();
        assert_eq!(backends, expectation.backends, "seed {seed}");
        tally.crowded += u64::from(expectation.is_crowded);
        for target in tables.services.values() {
            *tally.kinds.entry(target.kind).or_default() += 1;
        }

        let mut random = Random::new(!seed);
        let of_services = probes_of_services(&scenario);
        let of_services = |random: &mut Random| {
            (0..PROBES_OF_SERVICES.min(of_services.len())).map(|_| *random.pick(&of_services)).collect::<Vec<_>>()
        };
        let probes = probes(&mut random, &scenario);
        for (number, endpoint) in scenario.endpoints.iter().enumerate() {
            let mut asked: Vec<Probe> = (0..PROBES).map(|_| *random.pick(&probes)).collect();
            asked.extend(of_services(&mut random));
            for probe in asked {
                for direction in [Direction::Ingress, Direction::Egress] {
                    let expected = expectation.decision(number, direction, probe);
                    let decided = tables.decide(endpoint.interface, direction, probe.peer, probe.protocol, probe.port);
                    assert_eq!(
                        decided, expected,
                        "seed {seed}: {direction:?} of {:?}, {probe:?}\n{:#?}",
                        endpoint.pod, scenario.cluster
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
        for address in scenario.cluster.pods.iter().flat_map(|pod| pod.addresses.iter()) {
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
        for pod in shuffled.cluster.pods.iter_mut() {
            std::sync::Arc::make_mut(&mut pod.template).ports.reverse();
            pod.addresses = pod.addresses.iter().rev().collect();
        }
        for service in shuffled.cluster.services.iter_mut() {
            std::sync::Arc::make_mut(&mut service.ports).reverse();
            service.cluster_addresses.reverse();
        }
        for slice in shuffled.cluster.endpoint_slices.iter_mut() {
            std::sync::Arc::make_mut(&mut slice.ports).reverse();
            slice.endpoints.reverse();
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
            assert!(!entry.rule_set.is_empty() || entry.outcome == PortOutcome::Deferred, "seed {seed}: {entry:?}");
            assert!(entry.protocol.is_some() || (entry.port, entry.port_bits) == (0, 0), "seed {seed}: {entry:?}");
        }
        assert!(addresses.keys().all(|net| *net == net.trunc()), "seed {seed}");
    }
}
