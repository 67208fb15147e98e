//! What the tables hold for endpoints and addresses, beyond what is decided.

use podwitness_wire::{Direction, TCP};

use super::world::{
    BANK_DB, OTHER_NODE, OUTSIDE, SHOP_WEB, THIS_NODE, World, address, block, egress_policy, everything, from,
    ingress_policy,
};
use crate::compile::{Endpoint, Input, compile};
use crate::model::{AuditTrail, ExternalAddresses, Labels, ObjectName, WitnessMode};
use crate::revision::policy_sha256;
use crate::tables::{Decision, IdentityRef, Side, Tables};

fn endpoint(interface: u32, pod: Option<(&str, &str)>) -> Endpoint {
    let pod = pod.map(|(namespace, name)| ObjectName::new(namespace, name));
    Endpoint { interface, pod, addresses: Vec::new() }
}

fn tables(world: &World, endpoints: &[Endpoint]) -> Tables {
    let node_addresses = &world.node_addresses;
    compile(&Input { cluster: &world.cluster, node: "node-a", node_addresses, endpoints })
}

#[test]
fn an_endpoint_without_a_known_pod_decides_nothing() {
    let world = World::new([ingress_policy("open", [everything()])]);
    let tables = tables(&world, &[endpoint(1, None), endpoint(2, Some(("shop", "gone")))]);
    for interface in [1, 2, 3] {
        let decided = tables.decide(interface, Direction::Ingress, address(THIS_NODE), TCP, Some(80));
        assert_eq!(decided, Decision::UnknownEndpoint, "interface {interface}");
    }
    assert_eq!(tables.endpoints[&2].pod, None);
}

#[test]
fn an_endpoint_has_the_addresses_that_were_read_and_those_of_its_pod() {
    let own = World::new([]).tables().endpoints[&5].addresses.clone();
    assert_eq!(own, [address(SHOP_WEB), address("fe80::5")]);
}

#[test]
fn an_endpoint_has_the_witness_mode_of_its_namespace_where_that_says_one() {
    let audits = |mode| {
        let mut world = World::new([]);
        let trail = AuditTrail {
            name: ObjectName::new("shop", "default"),
            retention: None,
            legal_hold: false,
            mode,
            external_addresses: ExternalAddresses::Full,
        };
        world.cluster.trails.insert(trail);
        world.tables().endpoints[&5].audits
    };
    assert_eq!(World::new([]).tables().endpoints[&5].audits, None);
    assert_eq!(audits(None), None);
    assert_eq!(audits(Some(WitnessMode::Audit)), Some(true));
    assert_eq!(audits(Some(WitnessMode::Enforce)), Some(false));
}

#[test]
fn endpoints_that_the_same_policies_treat_alike_share_a_subject() {
    let mut world = World::new([ingress_policy("in", []), egress_policy("out", [])]);
    let names = ["one", "two"];
    for (host, name) in (50..).zip(names) {
        let mut pod = world.pod_mut("shop", "web").clone();
        pod.name = ObjectName::new("shop", name);
        pod.addresses = vec![[10, 244, 1, host].into()].into();
        world.cluster.pods.insert(pod);
    }
    let tables = tables(&world, &[endpoint(1, Some(("shop", "one"))), endpoint(2, Some(("shop", "two")))]);
    assert_eq!(tables.endpoints[&1].ingress, tables.endpoints[&2].ingress);
    let number = |side: &Side| match side {
        Side::Isolated { subject, .. } => *subject,
        Side::Open => 0,
    };
    let endpoint = &tables.endpoints[&1];
    assert_eq!([number(&endpoint.ingress), number(&endpoint.egress)], [1, 2]);
}

#[test]
fn every_address_of_the_cluster_has_its_identity() {
    let blocks = [block("203.0.113.0/24", &[]), block("10.244.2.128/25", &[])];
    let tables = World::new([ingress_policy("a", [from(blocks)])]).tables();
    let identity = |text: &str| tables.address(address(text)).map(|known| known.identity.clone());
    assert_eq!(identity(BANK_DB), Some(IdentityRef::Pod(ObjectName::new("bank", "db"))));
    assert_eq!(identity(THIS_NODE), Some(IdentityRef::LocalNode));
    assert_eq!(identity(OTHER_NODE), Some(IdentityRef::Node("node-b".into())));
    assert_eq!(identity("10.244.2.99"), Some(IdentityRef::PodRange));
    assert_eq!(identity("10.244.2.200"), Some(IdentityRef::PodRange));
    assert_eq!(identity(OUTSIDE), Some(IdentityRef::External));
    assert_eq!(identity("198.51.100.1"), None);
}

#[test]
fn policies_that_select_no_local_endpoint_cost_no_class() {
    let mut elsewhere = ingress_policy("elsewhere", [from([block("203.0.113.0/24", &[])])]);
    elsewhere.name = ObjectName::new("bank", elsewhere.name.name());
    let tables = World::new([elsewhere]).tables();
    assert!(tables.ports.is_empty());
    assert!(tables.addresses.values().all(|known| known.class == 0));
    assert_eq!(tables.address(address(OUTSIDE)), None);
}

#[test]
fn the_name_of_a_policy_content_follows_from_what_is_documented() {
    let mut world = World::new([ingress_policy("b", []), ingress_policy("a", [])]);
    for policy in world.cluster.policies.iter_mut() {
        policy.text = "{\"x\":1}".into();
    }
    // text=$(printf '%s' '{"x":1}' | sha256sum | cut -d' ' -f1)
    // printf '%s' "[[\"shop\",\"a\",\"uid-a\",\"$text\"],[\"shop\",\"b\",\"uid-b\",\"$text\"]]" | sha256sum
    let expected = "5f2ed76d948ef4768c57715365c7da8ed9ab097db563b2bfbfe978665718390e";
    assert_eq!(policy_sha256(&world.cluster), expected);
    let before = policy_sha256(&world.cluster);
    world.template_mut("shop", "web").labels = Labels::default();
    assert_eq!(policy_sha256(&world.cluster), before);
    world.cluster.policies.remove(&ObjectName::new("shop", "b"));
    assert_ne!(policy_sha256(&world.cluster), before);
    // printf '%s' '[]' | sha256sum
    let of_none = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945";
    assert_eq!(policy_sha256(&World::new([]).cluster), of_none);
}
