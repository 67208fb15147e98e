//! Connections of a pod to Services.

use std::sync::Arc;

use podwitness_wire::{Direction, TCP, UDP};

use super::world::{
    BANK_DB, OTHER_NODE, OUTSIDE, SHOP_DB, SHOP_WEB, THIS_NODE, World, address, app, block, egress_policy, from,
    number, policy, tcp, to_ports,
};
use crate::evaluate::{Resolution, ServiceVerdict};
use crate::model::{
    EndpointSlice, ObjectName, Peer, Protocol, Rule, Service, ServicePort, SliceEndpoint, SlicePort, Uid,
};
use crate::rule_set::{PolicyRule, RuleSet};
use crate::tables::{Decision, MOST_FRONTENDS, ServiceKind};

const CLUSTER_IP: &str = "10.96.0.1";
const EXTERNAL_IP: &str = "198.51.100.1";
const NODE_PORT: u16 = 30080;

/// The Service `shop/<name>` with this cluster address and one port, 80.
fn service(name: &str, cluster_ip: &str) -> Service {
    Service {
        name: ObjectName::new("shop", name),
        uid: Uid::default(),
        cluster_addresses: vec![address(cluster_ip)],
        external_addresses: vec![address(EXTERNAL_IP)],
        ports: [ServicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: number(80),
            node_port: Some(number(NODE_PORT)),
        }]
        .into(),
        internal_traffic_local: false,
    }
}

/// A slice of `shop/<service>` with this target port for `http`.
fn slice(name: &str, service: &str, port: u16, endpoints: Vec<SliceEndpoint>) -> EndpointSlice {
    EndpointSlice {
        name: ObjectName::new("shop", name),
        service: Some(service.into()),
        ports: [SlicePort { name: "http".to_owned(), protocol: Protocol::Tcp, port: number(port) }].into(),
        endpoints,
    }
}

fn ready(text: &str) -> SliceEndpoint {
    let address = address(text);
    SliceEndpoint { address, ready: true, serving: true, terminating: false, node: Some("node-b".into()) }
}

impl World {
    fn with(mut self, service: Service, slices: impl IntoIterator<Item = EndpointSlice>) -> Self {
        self.cluster.services.insert(service);
        self.cluster.endpoint_slices.extend(slices);
        self
    }

    /// With the Service `shop/web` and these ready backends on port 8080.
    fn with_backends(self, backends: &[&str]) -> Self {
        let endpoints = backends.iter().map(|backend| ready(backend)).collect();
        self.with(service("web", CLUSTER_IP), [slice("web-1", "web", 8080, endpoints)])
    }

    /// With a pod of `node-b` on this node.
    fn with_local(mut self, namespace: &str, name: &str) -> Self {
        self.pod_mut(namespace, name).node = Some("node-a".into());
        self
    }

    /// What is done about a connection of `shop/web` to the Service's cluster address.
    fn to_service(&self) -> (ServiceVerdict, Resolution) {
        self.egress_to(CLUSTER_IP, 80).expect("it is a Service's")
    }

    /// The same for any address; `None` where it is no Service's.
    fn egress_to(&self, peer: &str, port: u16) -> Option<(ServiceVerdict, Resolution)> {
        match self.decide(Direction::Egress, peer, TCP, Some(port)) {
            Decision::Service { verdict, resolution, .. } => Some((verdict, resolution)),
            _ => None,
        }
    }

    fn kind(&self) -> ServiceKind {
        let tables = self.tables();
        let (_, target) = tables.services.first_key_value().expect("there is a Service");
        target.kind
    }
}

fn rules<const N: usize>(rules: [u32; N]) -> RuleSet {
    set(rules.map(Some))
}

fn isolating() -> RuleSet {
    set([None])
}

/// Rules of the policy `a`.
fn set(rules: impl IntoIterator<Item = Option<u32>>) -> RuleSet {
    let rule = |rule| PolicyRule { policy: ObjectName::new("shop", "a"), uid: "uid-a".into(), rule };
    rules.into_iter().map(rule).collect()
}

fn to_shop_db() -> Rule {
    from([Peer::Pods { namespaces: None, pods: app("db") }])
}

fn to_bank() -> Rule {
    from([block("10.244.2.32/27", &[])])
}

#[test]
fn it_is_allowed_if_every_backend_is_and_names_every_rule_that_allows_one() {
    let world = World::new([egress_policy("a", [to_shop_db(), to_bank()])]).with_backends(&[SHOP_DB, BANK_DB]);
    assert_eq!(world.to_service(), (ServiceVerdict::Allowed(rules([0, 1])), Resolution::AllBackends));
    assert_eq!(world.kind(), ServiceKind::Own);
}

#[test]
fn backends_alike_are_decided_as_one_peer() {
    let world = World::new([egress_policy("a", [to_bank()])]).with_backends(&["10.244.2.40", "10.244.2.41"]);
    assert_eq!(world.to_service(), (ServiceVerdict::Allowed(rules([0])), Resolution::AllBackends));
    assert_eq!(world.kind(), ServiceKind::Alike);
}

#[test]
fn it_is_denied_if_no_backend_is_allowed() {
    let world = World::new([egress_policy("a", [to_ports([tcp(80, 80)])])]).with_backends(&[SHOP_DB, BANK_DB]);
    assert_eq!(world.to_service(), (ServiceVerdict::Denied(isolating()), Resolution::AllBackends));
}

#[test]
fn the_port_that_counts_is_the_backends_own() {
    let world = World::new([egress_policy("a", [to_ports([tcp(8080, 8080)])])]).with_backends(&[SHOP_DB]);
    assert_eq!(world.to_service().0, ServiceVerdict::Allowed(rules([0])));
    let on_frontend = World::new([egress_policy("a", [to_shop_db(), to_ports([tcp(80, 80)])])]);
    let endpoints = |port, backend| slice(&format!("web-{port}"), "web", port, vec![ready(backend)]);
    let world = on_frontend.with(service("web", CLUSTER_IP), [endpoints(8080, BANK_DB), endpoints(9090, BANK_DB)]);
    assert_eq!(world.to_service().0, ServiceVerdict::Denied(isolating()));
    assert_eq!(world.kind(), ServiceKind::Own);
}

#[test]
fn a_rule_about_the_address_of_the_service_allows_nothing() {
    let to_addresses = from([block("10.96.0.0/16", &[]), block("198.51.100.0/24", &[])]);
    let world = World::new([egress_policy("a", [to_addresses])]).with_backends(&[SHOP_DB]);
    for frontend in [CLUSTER_IP, EXTERNAL_IP] {
        let decided = world.egress_to(frontend, 80).expect("it is a Service's");
        assert_eq!(decided.0, ServiceVerdict::Denied(isolating()), "{frontend}");
    }
}

#[test]
fn mixed_backends_are_denied_unless_each_one_denied_decides_on_this_node() {
    let mixed = || World::new([egress_policy("a", [to_shop_db()])]).with_backends(&[SHOP_DB, BANK_DB]);
    assert_eq!(mixed().to_service(), (ServiceVerdict::MixedDenied(isolating()), Resolution::Mixed));
    let allowed_is_local = mixed().with_local("shop", "db");
    assert_eq!(allowed_is_local.to_service().0, ServiceVerdict::MixedDenied(isolating()));
    let denied_is_local = mixed().with_local("bank", "db");
    assert_eq!(denied_is_local.to_service(), (ServiceVerdict::Deferred(rules([0])), Resolution::Mixed));
}

#[test]
fn nothing_is_deferred_where_the_backend_may_see_the_node_as_the_source() {
    let world =
        World::new([egress_policy("a", [to_shop_db()])]).with_backends(&[SHOP_DB, BANK_DB]).with_local("bank", "db");
    for (peer, port) in [(EXTERNAL_IP, 80), (THIS_NODE, NODE_PORT)] {
        let decided = world.egress_to(peer, port);
        assert_eq!(decided, Some((ServiceVerdict::MixedDenied(isolating()), Resolution::Mixed)), "{peer}");
    }
}

#[test]
fn nothing_is_deferred_to_a_backend_that_cannot_know_its_frontends() {
    let mut world =
        World::new([egress_policy("a", [to_shop_db()])]).with_backends(&[SHOP_DB, BANK_DB]).with_local("bank", "db");
    for other in 1..MOST_FRONTENDS {
        let name = format!("z-{other}");
        let slices = [slice(&format!("{name}-1"), &name, 8080, vec![ready(BANK_DB)])];
        assert_eq!(world.to_service().0, ServiceVerdict::Deferred(rules([0])), "{other}");
        world = world.with(service(&name, &format!("10.96.0.{}", 1 + other)), slices);
    }
    let most = world.tables().backends.values().map(Vec::len).max();
    assert_eq!(most, Some(MOST_FRONTENDS));
    assert_eq!(world.to_service().0, ServiceVerdict::Deferred(rules([0])));
    let slices = [slice("one-too-many-1", "one-too-many", 8080, vec![ready(BANK_DB)])];
    let world = world.with(service("one-too-many", "10.96.0.99"), slices);
    assert_eq!(world.to_service().0, ServiceVerdict::MixedDenied(isolating()));
    assert!(world.tables().backends.is_empty());
}

#[test]
fn without_a_backend_an_isolated_pod_is_denied_and_another_is_not() {
    let isolated = World::new([egress_policy("a", [to_bank()])]).with_backends(&[]);
    assert_eq!(isolated.to_service(), (ServiceVerdict::Denied(isolating()), Resolution::None));
    let open = World::new([]).with_backends(&[]);
    assert_eq!(open.to_service(), (ServiceVerdict::NotIsolated, Resolution::None));
    assert_eq!(open.kind(), ServiceKind::Empty);
}

#[test]
fn what_isolates_for_ingress_alone_says_nothing_of_services() {
    let world = World::new([policy("a")]).with_backends(&[SHOP_DB]);
    assert_eq!(world.to_service(), (ServiceVerdict::NotIsolated, Resolution::AllBackends));
}

#[test]
fn backends_on_the_own_node_are_always_allowed() {
    let world = World::new([egress_policy("a", [])]).with_backends(&[THIS_NODE]);
    assert_eq!(world.to_service(), (ServiceVerdict::Node, Resolution::AllBackends));
    assert_eq!(world.kind(), ServiceKind::Node);
    let with_another = World::new([egress_policy("a", [to_shop_db()])]).with_backends(&[THIS_NODE, SHOP_DB]);
    assert_eq!(with_another.to_service().0, ServiceVerdict::Allowed(rules([0])));
    let with_one_denied =
        World::new([egress_policy("a", [])]).with_backends(&[THIS_NODE, BANK_DB]).with_local("bank", "db");
    assert_eq!(with_one_denied.to_service().0, ServiceVerdict::Deferred(RuleSet::default()));
}

#[test]
fn only_ready_backends_count_and_terminating_ones_where_none_is_ready() {
    let state = |text, ready, serving, terminating| SliceEndpoint { ready, serving, terminating, ..self::ready(text) };
    let verdict = |endpoints| {
        let world = World::new([egress_policy("a", [to_shop_db()])]);
        world.with(service("web", CLUSTER_IP), [slice("web-1", "web", 8080, endpoints)]).to_service()
    };
    let allowed = (ServiceVerdict::Allowed(rules([0])), Resolution::AllBackends);
    assert_eq!(verdict(vec![ready(SHOP_DB), state(BANK_DB, false, true, true)]), allowed);
    assert_eq!(verdict(vec![state(SHOP_DB, false, true, true), state(BANK_DB, false, false, true)]), allowed);
    let none = (ServiceVerdict::Denied(isolating()), Resolution::None);
    assert_eq!(verdict(vec![state(SHOP_DB, false, true, false), state(SHOP_DB, false, false, true)]), none);
}

#[test]
fn a_local_traffic_policy_counts_the_backends_of_the_own_node_for_cluster_addresses_alone() {
    let local = Service { internal_traffic_local: true, ..service("web", CLUSTER_IP) };
    let here = SliceEndpoint { node: Some("node-a".into()), ..ready(SHOP_DB) };
    let slices = [slice("web-1", "web", 8080, vec![here, ready(BANK_DB)])];
    let world = World::new([egress_policy("a", [to_shop_db()])]).with(local, slices);
    assert_eq!(world.to_service().0, ServiceVerdict::Allowed(rules([0])));
    assert_eq!(world.egress_to(EXTERNAL_IP, 80).map(|(_, resolution)| resolution), Some(Resolution::Mixed));
}

#[test]
fn each_slice_has_its_own_target_port() {
    let slices = [slice("web-1", "web", 8080, vec![ready(SHOP_DB)]), slice("web-2", "web", 9090, vec![ready(BANK_DB)])];
    let world = World::new([egress_policy("a", [to_ports([tcp(8080, 8080)]), to_ports([tcp(9090, 9090)])])]);
    let world = world.with(service("web", CLUSTER_IP), slices);
    assert_eq!(world.to_service().0, ServiceVerdict::Allowed(rules([0, 1])));
}

#[test]
fn slices_of_other_services_namespaces_and_port_names_do_not_count() {
    let mut elsewhere = slice("web-1", "web", 8080, vec![ready(SHOP_DB)]);
    elsewhere.name = ObjectName::new("bank", elsewhere.name.name());
    let mut other_port = slice("web-2", "web", 8080, vec![ready(SHOP_DB)]);
    Arc::make_mut(&mut other_port.ports)[0].name = "admin".to_owned();
    let mut other_protocol = slice("web-3", "web", 8080, vec![ready(SHOP_DB)]);
    Arc::make_mut(&mut other_protocol.ports)[0].protocol = Protocol::Udp;
    let other = slice("web-4", "api", 8080, vec![ready(SHOP_DB)]);
    let world = World::new([egress_policy("a", [to_shop_db()])]);
    let world = world.with(service("web", CLUSTER_IP), [elsewhere, other_port, other_protocol, other]);
    assert_eq!(world.to_service().1, Resolution::None);
}

#[test]
fn an_address_outside_the_cluster_can_be_a_backend() {
    let policy = || egress_policy("a", [from([block("203.0.113.0/24", &["203.0.113.128/25"])])]);
    let inside = World::new([policy()]).with_backends(&[OUTSIDE]);
    assert_eq!(inside.to_service().0, ServiceVerdict::Allowed(rules([0])));
    let excepted = World::new([policy()]).with_backends(&["203.0.113.200"]);
    assert_eq!(excepted.to_service().0, ServiceVerdict::Denied(isolating()));
    let mixed = World::new([policy()]).with_backends(&[OUTSIDE, "203.0.113.200"]);
    assert_eq!(mixed.to_service().0, ServiceVerdict::MixedDenied(isolating()));
}

#[test]
fn a_node_port_is_a_frontend_on_the_own_node_alone() {
    let world = World::new([egress_policy("a", [to_shop_db()])]).with_backends(&[SHOP_DB]);
    assert_eq!(
        world.egress_to(THIS_NODE, NODE_PORT).map(|decided| decided.0),
        Some(ServiceVerdict::Allowed(rules([0])))
    );
    assert_eq!(world.egress_to(OTHER_NODE, NODE_PORT), None);
    assert_eq!(world.egress_to(THIS_NODE, 80), None);
}

#[test]
fn what_is_no_frontend_is_a_peer_like_any_other() {
    let mut world = World::new([egress_policy("a", [])]).with_backends(&[SHOP_DB]);
    assert_eq!(world.egress_to(CLUSTER_IP, 81), None);
    for (direction, protocol, port) in
        [(Direction::Egress, UDP, Some(80)), (Direction::Egress, TCP, None), (Direction::Ingress, TCP, Some(80))]
    {
        let decided = world.decide(direction, CLUSTER_IP, protocol, port);
        assert!(matches!(decided, Decision::Evaluated(_)), "{decided:?}");
    }
    // No node translates what is of a family in which the Service has no cluster address.
    let service = world.cluster.services.iter_mut().next().expect("there is a Service");
    service.cluster_addresses = vec![address("fd00:96::1")];
    assert_eq!(world.egress_to(EXTERNAL_IP, 80), None);
    assert_eq!(world.egress_to(THIS_NODE, NODE_PORT), None);
}

#[test]
fn of_two_services_with_the_same_frontend_the_first_by_name_has_it() {
    let world = World::new([egress_policy("a", [to_shop_db()])])
        .with(service("z", "10.96.0.2"), [slice("z-1", "z", 8080, vec![ready(BANK_DB)])])
        .with(service("b", "10.96.0.3"), [slice("b-1", "b", 8080, vec![ready(SHOP_DB)])]);
    assert_eq!(world.egress_to(EXTERNAL_IP, 80).map(|decided| decided.0), Some(ServiceVerdict::Allowed(rules([0]))));
    let target =
        &world.tables().services[&crate::Frontend { address: address(EXTERNAL_IP), protocol: Protocol::Tcp, port: 80 }];
    assert_eq!(target.service, ObjectName::new("shop", "b"));
}

#[test]
fn a_pod_that_is_a_backend_of_its_own_service_is_one_like_any_other() {
    let world = World::new([egress_policy("a", [to_shop_db()])]).with_backends(&[SHOP_WEB, SHOP_DB]);
    assert_eq!(world.to_service().0, ServiceVerdict::Deferred(rules([0])));
}
