//! What the kernel is told, and that following a cluster comes to the same as numbering it from nothing.

use std::sync::Arc;

use podwitness_policy::{
    Compiler,
    generate::{Random, Scenario, change},
};

use super::*;

/// How many sequences, and of how many changes each.
const SEQUENCES: u64 = 120;
const CHANGES: u64 = 20;

/// That all of these tables is new.
fn everything(tables: &Tables) -> Changed {
    let addresses = tables.addresses.keys().copied().collect();
    Changed { addresses, endpoints: true, ports: true, services: true, backends: true }
}

fn numbered_addresses(nets: &[&str]) -> Vec<(AddressPrefix, u32)> {
    let folder = tempfile::tempdir().unwrap();
    let definitions = Definitions::open(folder.path(), "boot", None).unwrap();
    let mut tables = Tables::default();
    for (class, net) in (7..).zip(nets) {
        let external = podwitness_policy::Address { class, identity: IdentityRef::External };
        tables.addresses.insert(net.parse().unwrap(), external);
    }
    let mut kernel = KernelTables::default();
    let of = Of { cluster: &Cluster::default(), node: "node", audits: false };
    number(&mut kernel, &tables, &everything(&tables), of, &definitions);
    kernel.addresses.iter().map(|(prefix, entry)| (*prefix, entry.class)).collect()
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
    let (mut steps, mut different) = (0, 0);
    for seed in 0..SEQUENCES {
        let folder = tempfile::tempdir().unwrap();
        let definitions = Definitions::open(folder.path(), "boot", None).unwrap();
        let mut random = Random::new(!seed);
        let mut scenario = Scenario::random(seed);
        let mut compiler = Compiler::default();
        let mut kernel = KernelTables::default();
        for step in 0..CHANGES {
            let other = Scenario::random(random.bits());
            change(&mut random, &mut scenario, &other);
            let Scenario { cluster, node, node_addresses, endpoints } = &scenario;
            let cluster = Arc::new(cluster.clone());
            let (tables, changed) = compiler.compile(&cluster, node, node_addresses, endpoints);
            let of = Of { cluster: &cluster, node, audits: false };
            let is_different = number(&mut kernel, tables, &changed, of, &definitions);
            let mut from_nothing = KernelTables::default();
            number(&mut from_nothing, tables, &everything(tables), of, &definitions);
            assert_eq!(kernel, from_nothing, "seed {seed}, step {step}, {changed:?}");
            steps += 1;
            different += usize::from(is_different);
        }
    }
    println!("{different} of {steps} changes made a difference");
    assert!(different * 3 > steps, "{different} of {steps} changes made a difference");
}
