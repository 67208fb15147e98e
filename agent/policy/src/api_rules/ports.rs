//! `ports`.

use podwitness_wire::{Direction, ICMP, SCTP, TCP, UDP};

use super::world::{
    BANK_DB, OUTSIDE, SHOP_DB, SHOP_WEB, World, app, block, egress_policy, from, ingress_policy, is_allowed, named,
    tcp, to_ports,
};
use crate::model::{Peer, PortMatch, Protocol};

fn accepted(world: &World, protocol: u8, ports: &[u16]) -> Vec<u16> {
    let allowed = |port: &u16| is_allowed(&world.ask(Direction::Ingress, OUTSIDE, protocol, Some(*port)));
    ports.iter().copied().filter(allowed).collect()
}

#[test]
fn a_number_is_that_port_of_that_protocol() {
    let world = World::new([ingress_policy("a", [to_ports([tcp(80, 80)])])]);
    assert_eq!(accepted(&world, TCP, &[79, 80, 81]), [80]);
    assert_eq!(accepted(&world, UDP, &[80]), [0_u16; 0]);
}

#[test]
fn an_end_port_makes_a_range_with_both_ends() {
    let world = World::new([ingress_policy("a", [to_ports([tcp(1000, 2500)])])]);
    assert_eq!(accepted(&world, TCP, &[999, 1000, 1024, 2048, 2500, 2501]), [1000, 1024, 2048, 2500]);
}

#[test]
fn ranges_that_overlap_name_each_of_their_rules() {
    let world = World::new([ingress_policy("a", [to_ports([tcp(1, 100)]), to_ports([tcp(50, 200)])])]);
    let rules = |port: u16| match world.ingress(OUTSIDE, port) {
        crate::Evaluation::Allowed(rules) => rules.iter().filter_map(|rule| rule.rule).collect(),
        _ => Vec::new(),
    };
    assert_eq!(rules(49), [0]);
    assert_eq!(rules(50), [0, 1]);
    assert_eq!(rules(100), [0, 1]);
    assert_eq!(rules(101), [1]);
    assert_eq!(rules(201), Vec::<u32>::new());
}

#[test]
fn a_protocol_alone_is_every_port_of_it() {
    let world = World::new([ingress_policy("a", [to_ports([PortMatch::Protocol(Protocol::Sctp)])])]);
    assert_eq!(accepted(&world, SCTP, &[1, 65535]), [1, 65535]);
    assert_eq!(accepted(&world, TCP, &[1, 65535]), [0_u16; 0]);
}

#[test]
fn other_protocols_pass_only_by_rules_without_ports() {
    let every_port = to_ports(Protocol::ALL.map(PortMatch::Protocol));
    let without_ports = from([block("203.0.113.0/24", &[])]);
    let closed = World::new([ingress_policy("a", [every_port.clone()])]);
    let open = World::new([ingress_policy("a", [every_port, without_ports])]);
    for protocol in [ICMP, 47] {
        assert!(!is_allowed(&closed.ask(Direction::Ingress, OUTSIDE, protocol, None)));
        assert!(is_allowed(&open.ask(Direction::Ingress, OUTSIDE, protocol, None)));
        assert!(!is_allowed(&open.ask(Direction::Ingress, BANK_DB, protocol, None)));
    }
}

#[test]
fn a_named_port_of_an_ingress_rule_is_the_endpoints_own() {
    let name = PortMatch::Named(Protocol::Tcp, "http".to_owned());
    let mut world = World::new([ingress_policy("a", [to_ports([name])])]);
    world.template_mut("shop", "web").ports =
        [named("http", Protocol::Tcp, 8081), named("sql", Protocol::Tcp, 8082)].into();
    world.template_mut("shop", "db").ports = [named("http", Protocol::Tcp, 8083)].into();
    assert_eq!(accepted(&world, TCP, &[8080, 8081, 8082, 8083]), [8081]);
}

#[test]
fn a_named_port_of_an_egress_rule_is_that_of_each_destination() {
    let name = PortMatch::Named(Protocol::Tcp, "http".to_owned());
    let mut world = World::new([egress_policy("a", [to_ports([name])])]);
    world.template_mut("shop", "db").ports = [named("http", Protocol::Tcp, 8081)].into();
    world.template_mut("bank", "db").ports = [named("http", Protocol::Tcp, 8082)].into();
    let allowed = |peer: &str| [8080, 8081, 8082].map(|port| is_allowed(&world.egress(peer, port)));
    assert_eq!(allowed(SHOP_DB), [false, true, false]);
    assert_eq!(allowed(BANK_DB), [false, false, true]);
    assert_eq!(allowed(SHOP_WEB), [true, false, false]);
    assert_eq!(allowed(OUTSIDE), [false, false, false]);
}

#[test]
fn a_named_port_is_looked_up_for_a_pod_that_a_block_matches_too() {
    let peer = block("10.244.2.0/24", &[]);
    let ports = crate::Ports::Listed(vec![PortMatch::Named(Protocol::Tcp, "http".to_owned())]);
    let rule = crate::Rule::Usable { peers: crate::Peers::Listed(vec![peer]), ports };
    let world = World::new([egress_policy("a", [rule])]);
    assert!(is_allowed(&world.egress(BANK_DB, 8080)));
    assert!(!is_allowed(&world.egress(SHOP_WEB, 8080)));
}

#[test]
fn a_named_port_belongs_to_its_protocol() {
    let name = PortMatch::Named(Protocol::Udp, "dns".to_owned());
    let mut world = World::new([ingress_policy("a", [to_ports([name])])]);
    world.template_mut("shop", "web").ports =
        [named("dns", Protocol::Tcp, 53), named("dns", Protocol::Udp, 5353)].into();
    assert_eq!(accepted(&world, TCP, &[53, 5353]), [0_u16; 0]);
    assert_eq!(accepted(&world, UDP, &[53, 5353]), [5353]);
}

#[test]
fn a_named_port_that_nobody_has_allows_nothing() {
    let name = PortMatch::Named(Protocol::Tcp, "absent".to_owned());
    let world = World::new([ingress_policy("a", [to_ports([name.clone()])]), egress_policy("b", [to_ports([name])])]);
    assert_eq!(accepted(&world, TCP, &[80, 8080]), [0_u16; 0]);
    assert!(!is_allowed(&world.egress(SHOP_DB, 8080)));
}

#[test]
fn a_connection_must_match_peer_and_port_of_the_same_rule() {
    let db = Peer::Pods { namespaces: None, pods: app("db") };
    let only = |peer, port| crate::Rule::Usable {
        peers: crate::Peers::Listed(vec![peer]),
        ports: crate::Ports::Listed(vec![tcp(port, port)]),
    };
    let world = World::new([ingress_policy("a", [only(db, 80), only(block("203.0.113.0/24", &[]), 443)])]);
    let allowed = |peer: &str| [80, 443].map(|port| is_allowed(&world.ingress(peer, port)));
    assert_eq!(allowed(SHOP_DB), [true, false]);
    assert_eq!(allowed(OUTSIDE), [false, true]);
}
