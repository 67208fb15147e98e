//! What the kernel is told, and that following a cluster comes to the same as numbering it from nothing.

use std::sync::Arc;

use podwitness_policy::{
    Changed, Compiler,
    generate::{Random, Scenario, change},
};

use super::*;

/// How many sequences, and of how many changes each.
const SEQUENCES: u64 = 120;
const CHANGES: u64 = 20;

fn numbered_addresses(nets: &[&str]) -> Vec<(AddressPrefix, u32)> {
    let folder = tempfile::tempdir().unwrap();
    let definitions = Definitions::open(folder.path(), "boot").unwrap();
    let mut tables = Tables::default();
    for (class, net) in (7..).zip(nets) {
        let external = podwitness_policy::Address { class, identity: IdentityRef::External };
        tables.addresses.insert(net.parse().unwrap(), external);
    }
    let numbered = number(&tables, &Cluster::default(), "node", false, &definitions);
    numbered.tables.addresses.into_iter().map(|(prefix, entry)| (prefix, entry.class)).collect()
}

#[test]
fn an_ipv6_block_that_covers_the_mapped_addresses_covers_no_ipv4_address() {
    let all_of_ipv4 = AddressPrefix { address: ipv4_mapped([0; 4]), bits: 96 };
    let all = AddressPrefix { address: [0; 16], bits: 0 };
    assert_eq!(numbered_addresses(&["::/0"]), [(all, 7), (all_of_ipv4, 0)]);
    assert_eq!(numbered_addresses(&["0.0.0.0/0", "::/0"]), [(all, 8), (all_of_ipv4, 7)]);
    assert_eq!(numbered_addresses(&["::ffff:10.0.0.0/104"]), [(all_of_ipv4, 0)]);
}

#[test]
fn an_ipv4_prefix_counts_its_bits_behind_the_mapped_form() {
    let all = prefix(&"0.0.0.0/0".parse().unwrap());
    assert_eq!((all.bits, all.address), (96, ipv4_mapped([0; 4])));
    let host = prefix(&"10.1.2.3/32".parse().unwrap());
    assert_eq!((host.bits, host.address), (128, ipv4_mapped([10, 1, 2, 3])));
    assert_eq!(prefix(&"::/0".parse().unwrap()).bits, 0);
}

#[test]
fn what_is_numbered_by_following_a_cluster_is_what_is_numbered_from_nothing() {
    let (mut followed, mut changed_something) = (0, 0);
    for seed in 0..SEQUENCES {
        let folder = tempfile::tempdir().unwrap();
        let definitions = Definitions::open(folder.path(), "boot").unwrap();
        let mut random = Random::new(!seed);
        let mut scenario = Scenario::random(seed);
        let mut compiler = Compiler::default();
        let mut kernel: Option<KernelTables> = None;
        for generation in 1..=CHANGES {
            let other = Scenario::random(random.bits());
            change(&mut random, &mut scenario, &other);
            let Scenario { cluster, node, node_addresses, endpoints } = &scenario;
            let cluster = Arc::new(cluster.clone());
            let (tables, changed) = compiler.compile(&cluster, node, node_addresses, endpoints);
            let expected = number(tables, &cluster, node, false, &definitions);
            match (&changed, &mut kernel) {
                (Changed::Entries { addresses, services }, Some(kernel)) => {
                    let at = (addresses, *services);
                    let (has_changed, now) = renumber(kernel, tables, at, &cluster, node, &definitions);
                    definitions.update_present(generation, &now);
                    followed += 1;
                    changed_something += usize::from(has_changed);
                }
                (_, kernel) => {
                    *kernel = Some(expected.tables.clone());
                    definitions.set_present(Present { generation, ..expected.present.clone() });
                }
            }
            assert_eq!(kernel.as_ref(), Some(&expected.tables), "seed {seed}, step {generation}, {changed:?}");
            let present = Present { generation, ..expected.present };
            assert_eq!(definitions.present(), present, "seed {seed}, step {generation}, {changed:?}");
        }
    }
    println!("{followed} were followed, and {changed_something} of them changed something");
    assert!(changed_something > 200, "{changed_something} of {followed} changed something");
}
