//! Which policies apply, and what isolation means.

use podwitness_wire::Direction;

use super::world::{
    BANK_DB, OTHER_NODE, OUTSIDE, SHOP_DB, SHOP_WEB, THIS_NODE, World, address, app, block, egress_policy, everything,
    from, ingress_policy, is_allowed, policy, tcp, to_ports,
};
use crate::evaluate::Evaluation;
use crate::model::{NetworkPolicy, ObjectName, Peer, Phase, Rule};
use crate::rule_set::{PolicyRule, RuleSet};

fn rules<const N: usize>(rules: [(&str, Option<u32>); N]) -> RuleSet {
    let rule = |(name, rule): (&str, Option<u32>)| PolicyRule {
        policy: ObjectName::new("shop", name),
        uid: format!("uid-{name}").as_str().into(),
        rule,
    };
    rules.into_iter().map(rule).collect()
}

#[test]
fn a_pod_that_no_policy_selects_is_not_isolated() {
    let mut other = ingress_policy("deny", []);
    other.pod_selector = app("db");
    let world = World::new([other]);
    assert_eq!(world.ingress(OUTSIDE, 80), Evaluation::NotIsolated);
    assert_eq!(world.egress(OUTSIDE, 80), Evaluation::NotIsolated);
}

#[test]
fn a_policy_of_another_namespace_does_not_apply() {
    let mut other = ingress_policy("deny", []);
    other.name = ObjectName::new("bank", "deny");
    assert_eq!(World::new([other]).ingress(OUTSIDE, 80), Evaluation::NotIsolated);
}

#[test]
fn an_empty_pod_selector_selects_every_pod_of_the_namespace() {
    let world = World::new([ingress_policy("deny", [])]);
    assert_eq!(world.ingress(OUTSIDE, 80), Evaluation::Denied(rules([("deny", None)])));
}

#[test]
fn isolation_is_per_direction() {
    let world = World::new([egress_policy("deny", [])]);
    assert_eq!(world.ingress(SHOP_DB, 80), Evaluation::NotIsolated);
    assert_eq!(world.egress(SHOP_DB, 80), Evaluation::Denied(rules([("deny", None)])));
}

#[test]
fn an_empty_rule_allows_everything() {
    let world = World::new([ingress_policy("open", [everything()])]);
    for (protocol, port) in [(6, Some(80)), (17, Some(53)), (132, Some(9)), (1, None), (47, None)] {
        let decided = world.ask(Direction::Ingress, OUTSIDE, protocol, port);
        assert_eq!(decided, Evaluation::Allowed(rules([("open", Some(0))])), "protocol {protocol}");
    }
}

#[test]
fn policies_add_up_and_every_rule_that_allows_is_named() {
    let world = World::new([
        ingress_policy("a", [from([block("198.51.100.0/24", &[])]), everything()]),
        ingress_policy("b", [to_ports([tcp(80, 80)])]),
        ingress_policy("c", []),
    ]);
    assert_eq!(world.ingress(OUTSIDE, 80), Evaluation::Allowed(rules([("a", Some(1)), ("b", Some(0))])));
    assert_eq!(world.ingress(OUTSIDE, 81), Evaluation::Allowed(rules([("a", Some(1))])));
}

#[test]
fn a_rule_for_one_peer_does_not_hide_the_rules_for_everybody() {
    let only_db = from([Peer::Pods { namespaces: None, pods: app("db") }]);
    let world = World::new([ingress_policy("a", [to_ports([tcp(443, 443)]), only_db])]);
    assert_eq!(world.ingress(SHOP_DB, 443), Evaluation::Allowed(rules([("a", Some(0)), ("a", Some(1))])));
    assert_eq!(world.ingress(SHOP_DB, 80), Evaluation::Allowed(rules([("a", Some(1))])));
    assert_eq!(world.ingress(BANK_DB, 443), Evaluation::Allowed(rules([("a", Some(0))])));
    assert_eq!(world.ingress(BANK_DB, 80), Evaluation::Denied(rules([("a", None)])));
}

#[test]
fn a_denial_names_every_policy_that_isolates() {
    let open_for_egress = NetworkPolicy { egress: Some([everything()].into()), ..policy("egress-only") };
    let world = World::new([ingress_policy("a", []), ingress_policy("b", [Rule::Unusable]), open_for_egress]);
    assert_eq!(world.ingress(OUTSIDE, 80), Evaluation::Denied(rules([("a", None), ("b", None)])));
}

#[test]
fn an_unusable_rule_allows_nothing_and_keeps_the_others_at_their_index() {
    let world = World::new([ingress_policy("a", [Rule::Unusable, to_ports([tcp(80, 80)])])]);
    assert_eq!(world.ingress(OUTSIDE, 80), Evaluation::Allowed(rules([("a", Some(1))])));
    assert!(!is_allowed(&world.ingress(OUTSIDE, 81)));
}

#[test]
fn traffic_with_the_own_node_is_always_allowed_and_with_other_nodes_it_is_not() {
    let mut world = World::new([ingress_policy("in", []), egress_policy("out", [])]);
    world.node_addresses.push(address("10.244.1.1"));
    for own in [THIS_NODE, "10.244.1.1"] {
        assert_eq!(world.ingress(own, 80), Evaluation::Node);
        assert_eq!(world.egress(own, 80), Evaluation::Node);
    }
    assert_eq!(world.accepts(&[OTHER_NODE]), [false]);
}

#[test]
fn a_pod_is_to_itself_a_peer_like_any_other() {
    let denied = World::new([ingress_policy("deny", [])]);
    assert_eq!(denied.accepts(&[SHOP_WEB]), [false]);
    let own = from([Peer::Pods { namespaces: None, pods: app("web") }]);
    assert_eq!(World::new([ingress_policy("own", [own])]).accepts(&[SHOP_WEB]), [true]);
}

#[test]
fn pods_that_have_ended_are_not_selected() {
    for phase in [Phase::Succeeded, Phase::Failed] {
        let mut world = World::new([ingress_policy("deny", [])]);
        world.pod_mut("shop", "web").phase = phase;
        assert_eq!(world.ingress(OUTSIDE, 80), Evaluation::NotIsolated);
    }
    let mut world = World::new([ingress_policy("deny", [])]);
    world.pod_mut("shop", "web").phase = Phase::Pending;
    assert_eq!(world.accepts(&[OUTSIDE]), [false]);
}

#[test]
fn pods_on_the_network_of_the_host_are_not_selected() {
    let mut world = World::new([ingress_policy("deny", [])]);
    world.pod_mut("shop", "web").host_network = true;
    assert_eq!(world.ingress(OUTSIDE, 80), Evaluation::NotIsolated);
}
