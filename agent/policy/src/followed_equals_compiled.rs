//! The property of a followed cluster: after any sequence of changes the tables are those of a compilation from nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::generate::{Random, Scenario, change};
use crate::model::Cluster;
use crate::tables::PortEntry;
use crate::{Changed, Compiler, ServiceKind, Tables, compile};

/// How many sequences, and of how many changes each.
const SEQUENCES: u64 = 300;
const CHANGES: usize = 25;

/// The tables with classes numbered in the order in which they are met, and without those that nobody has.
fn canonical(tables: &Tables) -> Tables {
    let mut tables = tables.clone();
    let mut numbers = BTreeMap::from([(0, 0)]);
    let mut number = |class: &mut u32| {
        let next = u32::try_from(numbers.len()).unwrap();
        *class = *numbers.entry(*class).or_insert(next);
    };
    tables.addresses.values_mut().for_each(|address| number(&mut address.class));
    tables.services.values_mut().for_each(|target| number(&mut target.class));
    tables.ports.retain(|entry| numbers.contains_key(&entry.class));
    tables.ports.iter_mut().for_each(|entry| entry.class = numbers[&entry.class]);
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
    let (mut patched, mut with_services, mut steps) = (0, 0, 0);
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
            let (tables, changed) = compiler.compile(&cluster, node, node_addresses, endpoints);
            let expected = canonical(&compile(&scenario.input()));
            assert_eq!(canonical(tables), expected, "seed {seed}, step {step}, {changed:?}");
            steps += 1;
            if let Changed::Entries { addresses, services } = changed {
                let named: BTreeSet<IpNet> = addresses.into_iter().map(IpNet::from).collect();
                let differing = differing(&before, tables);
                assert!(differing.is_subset(&named), "seed {seed}, step {step}: {differing:?}");
                assert!(services || before.services == tables.services, "seed {seed}, step {step}");
                assert_eq!(
                    (&before.endpoints, &before.ports, &before.backends),
                    (&tables.endpoints, &tables.ports, &tables.backends),
                    "seed {seed}, step {step}"
                );
                patched += 1;
                with_services += usize::from(before.services != tables.services);
            }
            before = tables.clone();
        }
    }
    println!("{patched} of {steps} were patched, {with_services} of them changed what is behind Services");
    assert!(patched * 4 > steps, "{patched} of {steps} were patched");
    assert!(with_services > 50, "{with_services} changed Services");
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
