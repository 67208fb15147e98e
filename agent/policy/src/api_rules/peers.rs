//! `from` and `to`.

use super::world::{
    BANK_DB, BANK_WEB, OTHER_NODE, OUTSIDE, SHOP_DB, World, address, app, block, egress_policy, from, ingress_policy,
    is_allowed, team,
};
use crate::model::{LabelSelector, Peer, Phase};
use crate::tables::IdentityRef;

const EVERYONE: [&str; 5] = [SHOP_DB, BANK_DB, BANK_WEB, OTHER_NODE, OUTSIDE];

fn accepted_from(peers: impl IntoIterator<Item = Peer>) -> Vec<bool> {
    World::new([ingress_policy("a", [from(peers)])]).accepts(&EVERYONE)
}

#[test]
fn a_pod_selector_alone_is_about_the_policys_own_namespace() {
    assert_eq!(accepted_from([Peer::Pods { namespaces: None, pods: app("db") }]), [true, false, false, false, false]);
}

#[test]
fn an_empty_pod_selector_is_every_pod_of_the_own_namespace() {
    let peer = Peer::Pods { namespaces: None, pods: LabelSelector::everything() };
    assert_eq!(accepted_from([peer]), [true, false, false, false, false]);
}

#[test]
fn a_namespace_selector_alone_is_every_pod_of_the_namespaces() {
    let peer = Peer::Pods { namespaces: Some(team("blue")), pods: LabelSelector::everything() };
    assert_eq!(accepted_from([peer]), [false, true, true, false, false]);
}

#[test]
fn an_empty_namespace_selector_is_every_pod_of_the_cluster_and_nobody_else() {
    let peer = Peer::Pods { namespaces: Some(LabelSelector::everything()), pods: LabelSelector::everything() };
    assert_eq!(accepted_from([peer]), [true, true, true, false, false]);
}

#[test]
fn both_selectors_in_one_peer_must_both_match() {
    let peer = Peer::Pods { namespaces: Some(team("blue")), pods: app("db") };
    assert_eq!(accepted_from([peer]), [false, true, false, false, false]);
}

#[test]
fn two_peers_are_alternatives() {
    let peers = [
        Peer::Pods { namespaces: Some(team("blue")), pods: LabelSelector::everything() },
        Peer::Pods { namespaces: None, pods: app("db") },
    ];
    assert_eq!(accepted_from(peers), [true, true, true, false, false]);
}

#[test]
fn an_ip_block_matches_whoever_has_the_address() {
    assert_eq!(accepted_from([block("0.0.0.0/0", &[])]), [true, true, true, true, true]);
    assert_eq!(accepted_from([block("10.244.2.32/28", &[])]), [false, true, false, false, false]);
    assert_eq!(accepted_from([block("203.0.113.9/32", &[])]), [false, false, false, false, true]);
    assert_eq!(accepted_from([block("::/0", &[])]), [false; 5]);
}

#[test]
fn an_exception_is_left_out_of_its_block_also_where_it_holds_pods() {
    let peer = block("0.0.0.0/0", &["10.244.2.40/32", "203.0.113.0/24"]);
    assert_eq!(accepted_from([peer]), [true, false, true, true, false]);
}

#[test]
fn an_exception_of_one_block_says_nothing_about_another() {
    let peers = [block("10.0.0.0/8", &["10.244.0.0/16"]), block("10.244.2.40/32", &[])];
    assert_eq!(accepted_from(peers), [false, true, false, false, false]);
}

#[test]
fn blocks_that_nest_are_each_known_inside_the_others() {
    let world = World::new([ingress_policy(
        "a",
        [
            from([block("203.0.0.0/16", &[])]),
            from([block("203.0.113.0/24", &["203.0.113.8/29"])]),
            from([block("203.0.113.9/32", &[])]),
        ],
    )]);
    let rules = |peer: &str| match world.ingress(peer, 80) {
        crate::Evaluation::Allowed(rules) => rules.iter().filter_map(|rule| rule.rule).collect(),
        _ => Vec::new(),
    };
    assert_eq!(rules("203.0.1.1"), [0]);
    assert_eq!(rules("203.0.113.1"), [0, 1]);
    assert_eq!(rules("203.0.113.10"), [0]);
    assert_eq!(rules("203.0.113.9"), [0, 2]);
    assert_eq!(rules("203.1.0.0"), Vec::<u32>::new());
}

#[test]
fn a_dual_stack_pod_is_matched_by_each_of_its_addresses() {
    let peer = Peer::Pods { namespaces: None, pods: app("db") };
    let mut world = World::new([ingress_policy("a", [from([peer])])]);
    let db = world.pod_mut("shop", "db");
    db.addresses = db.addresses.iter().chain([address("fd00::20")]).collect();
    assert_eq!(world.accepts(&[SHOP_DB, "fd00::20", "fd00::21"]), [true, true, false]);
}

#[test]
fn pods_that_have_ended_match_nothing_and_their_address_is_free() {
    let peer = Peer::Pods { namespaces: None, pods: app("db") };
    let mut world = World::new([ingress_policy("a", [from([peer])])]);
    world.pod_mut("shop", "db").phase = Phase::Succeeded;
    assert_eq!(world.accepts(&[SHOP_DB]), [false]);
    world.pod_mut("bank", "web").addresses = vec![address(SHOP_DB)].into();
    let identity = world.tables().address(address(SHOP_DB)).map(|known| known.identity.clone());
    assert_eq!(identity, Some(IdentityRef::Pod(crate::ObjectName::new("bank", "web"))));
}

#[test]
fn an_address_that_two_pods_claim_is_neither_of_them() {
    let peer = Peer::Pods { namespaces: None, pods: app("db") };
    let mut world = World::new([ingress_policy("a", [from([peer])])]);
    world.pod_mut("bank", "web").addresses = vec![address(SHOP_DB)].into();
    assert_eq!(world.accepts(&[SHOP_DB]), [false]);
    let identity = world.tables().address(address(SHOP_DB)).map(|known| known.identity.clone());
    assert_eq!(identity, Some(IdentityRef::PodRange));
}

#[test]
fn pods_on_the_network_of_the_host_are_matched_by_blocks_and_not_by_selectors() {
    let peers = [Peer::Pods { namespaces: None, pods: app("db") }];
    let mut world = World::new([ingress_policy("a", [from(peers)])]);
    let on_host = world.pod_mut("shop", "db");
    on_host.host_network = true;
    on_host.addresses = vec![address(OTHER_NODE)].into();
    assert_eq!(world.accepts(&[OTHER_NODE]), [false]);

    let node = [block("192.168.7.2/32", &[])];
    world.cluster.policies = World::new([ingress_policy("a", [from(node)])]).cluster.policies;
    assert_eq!(world.accepts(&[OTHER_NODE]), [true]);
}

#[test]
fn a_pod_of_a_namespace_that_is_not_known_matches_no_namespace_selector() {
    let peers = [Peer::Pods { namespaces: Some(LabelSelector::everything()), pods: LabelSelector::everything() }];
    let mut world = World::new([ingress_policy("a", [from(peers)])]);
    world.cluster.namespaces.remove("bank");
    assert_eq!(world.accepts(&EVERYONE), [true, false, false, false, false]);
}

#[test]
fn egress_peers_are_matched_as_ingress_peers_are() {
    let peer = Peer::Pods { namespaces: Some(team("blue")), pods: app("db") };
    let world = World::new([egress_policy("a", [from([peer])])]);
    assert!(is_allowed(&world.egress(BANK_DB, 80)));
    assert!(!is_allowed(&world.egress(BANK_WEB, 80)));
}
