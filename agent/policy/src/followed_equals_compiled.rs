//! The property of a followed cluster: after any sequence of changes the tables are those of a compilation from nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::generate::{Random, Scenario, change};
use crate::model::Cluster;
use crate::tables::PortEntry;
use crate::{Compiler, ServiceKind, Side, Tables, compile};

/// How many sequences, and of how many changes each.
const SEQUENCES: u64 = 300;
const CHANGES: usize = 25;

/// The tables with classes and subjects numbered in the order in which they are met, and without those that nobody has.
fn canonical(tables: &Tables) -> Tables {
    let mut tables = tables.clone();
    let mut subjects = BTreeMap::new();
    for endpoint in tables.endpoints.values_mut() {
        for side in [&mut endpoint.ingress, &mut endpoint.egress] {
            if let Side::Isolated { subject, .. } = side {
                let next = u32::try_from(subjects.len() + 1).unwrap();
                *subject = *subjects.entry(*subject).or_insert(next);
            }
        }
    }
    let mut classes = BTreeMap::from([(0, 0)]);
    let mut number = |class: &mut u32| {
        let next = u32::try_from(classes.len()).unwrap();
        *class = *classes.entry(*class).or_insert(next);
    };
    tables.addresses.values_mut().for_each(|address| number(&mut address.class));
    tables.services.values_mut().for_each(|target| number(&mut target.class));
    tables.ports.retain(|entry| classes.contains_key(&entry.class));
    for entry in &mut tables.ports {
        entry.class = classes[&entry.class];
        entry.subject = subjects[&entry.subject];
    }
    tables.ports.sort_by_key(PortEntry::key);
    tables
}

/// The addresses whose entries differ.
fn differing(before: &Tables, after: &Tables) -> BTreeSet<IpNet> {
    let all = before.addresses.keys().chain(after.addresses.keys());
    all.filter(|net| before.addresses.get(net) != after.addresses.get(net)).copied().collect()
}

#[test]
fn a_followed_cluster_has_the_tables_of_one_that_is_compiled_from_nothing() {
    let (mut followed, mut steps) = (0, 0);
    let mut followed_with: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEQUENCES {
        let mut random = Random::new(!seed);
        let mut scenario = Scenario::random(seed);
        let mut compiler = Compiler::default();
        let mut before = Tables::default();
        for step in 0..CHANGES {
            let other = Scenario::random(random.bits());
            change(&mut random, &mut scenario, &other);
            let cluster = Arc::new(Cluster::clone(&scenario.cluster));
            let Scenario { node, node_addresses, endpoints, .. } = &scenario;
            let begun_anew = compiler.begun_anew;
            let (tables, changed) = compiler.compile(&cluster, node, node_addresses, endpoints);
            let tables = tables.clone();
            let expected = canonical(&compile(&scenario.input()));
            assert_eq!(canonical(&tables), expected, "seed {seed}, step {step}, {changed:?}");
            let differing = differing(&before, &tables);
            assert!(differing.is_subset(&changed.addresses), "seed {seed}, step {step}: {differing:?}, {changed:?}");
            for (what, may_differ, differs) in [
                ("endpoints", changed.endpoints, before.endpoints != tables.endpoints),
                ("ports", changed.ports, before.ports != tables.ports),
                ("services", changed.services, before.services != tables.services),
                ("backends", changed.backends, before.backends != tables.backends),
            ] {
                assert!(may_differ || !differs, "seed {seed}, step {step}: {what}, {changed:?}");
                followed_with
                    .entry(what)
                    .and_modify(|count| *count += usize::from(differs))
                    .or_insert(usize::from(differs));
            }
            steps += 1;
            followed += usize::from(begun_anew == compiler.begun_anew);
            before = tables;
        }
    }
    println!("{followed} of {steps} were followed; what changed: {followed_with:?}");
    assert!(followed * 4 > steps * 3, "{followed} of {steps} were followed");
    assert!(followed_with.values().all(|count| *count > 100), "{followed_with:?}");
}

#[test]
fn classes_keep_their_numbers_where_a_policy_changes() {
    let (mut kept, mut all) = (0, 0);
    for seed in 0..200 {
        let (mut scenario, other) = (Scenario::random(seed), Scenario::random(seed + 1000));
        let mut compiler = Compiler::default();
        let mut compile = |scenario: &Scenario| {
            let cluster = Arc::new(Cluster::clone(&scenario.cluster));
            compiler.compile(&cluster, &scenario.node, &scenario.node_addresses, &scenario.endpoints).0.clone()
        };
        let before = compile(&scenario);
        let policy = other.cluster.policies.iter().next().unwrap().clone();
        scenario.cluster.policies.insert(policy);
        let after = compile(&scenario);
        kept += before.addresses.len() - differing(&before, &after).len().min(before.addresses.len());
        all += before.addresses.len();
        let own = |tables: &Tables| -> Vec<u32> {
            let own = tables.services.values().filter(|target| target.kind == ServiceKind::Own);
            own.map(|target| target.class).collect()
        };
        let of_addresses: BTreeSet<u32> = after.addresses.values().map(|address| address.class).collect();
        assert!(own(&after).iter().all(|class| !of_addresses.contains(class)), "seed {seed}");
    }
    println!("{kept} of {all} entries stayed");
    assert!(kept * 2 > all, "{kept} of {all} entries stayed");
}
