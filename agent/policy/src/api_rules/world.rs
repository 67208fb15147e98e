//! A small cluster, and questions to it.
//!
//! Namespace `shop` (team=red) has `web` (app=web, on this node) and `db` (app=db); `bank` (team=blue) has `web` and `db` of the
//! same labels. All but `shop/web` run on `node-b`.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use podwitness_wire::{Direction, TCP};

use crate::compile::{Endpoint, Input, compile};
use crate::evaluate::{Evaluation, Subject, evaluate, evaluate_service};
use crate::model::{
    Cluster, IpBlock, LabelSelector, NamedPort, Namespace, NetworkPolicy, Node, ObjectName, Peer, Peers, Phase, Pod,
    PodTemplate, PortMatch, PortRange, Ports, Protocol, Rule, Uid,
};
use crate::tables::{Decision, Tables};

pub(super) const SHOP_WEB: &str = "10.244.1.10";
pub(super) const SHOP_DB: &str = "10.244.2.20";
pub(super) const BANK_WEB: &str = "10.244.2.30";
pub(super) const BANK_DB: &str = "10.244.2.40";
pub(super) const THIS_NODE: &str = "192.168.7.1";
pub(super) const OTHER_NODE: &str = "192.168.7.2";
pub(super) const OUTSIDE: &str = "203.0.113.9";

const INTERFACE: u32 = 5;

pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) node_addresses: Vec<IpAddr>,
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn number(port: u16) -> NonZeroU16 {
    NonZeroU16::new(port).expect("a port")
}

pub(super) fn named(name: &str, protocol: Protocol, port: u16) -> NamedPort {
    NamedPort { name: name.to_owned(), protocol, port: number(port) }
}

fn pod(namespace: &str, name: &str, text: &str, node: &str) -> Pod {
    Pod {
        name: ObjectName::new(namespace, name),
        uid: format!("uid-{namespace}-{name}").as_str().into(),
        template: Arc::new(PodTemplate {
            labels: [("app", name)].into_iter().collect(),
            ports: [named("http", Protocol::Tcp, 8080)].into(),
            ..PodTemplate::default()
        }),
        addresses: vec![address(text)].into(),
        node: Some(node.into()),
        host_network: false,
        phase: Phase::Running,
        is_being_deleted: false,
        created: None,
    }
}

impl World {
    pub(super) fn new(policies: impl IntoIterator<Item = NetworkPolicy>) -> Self {
        let namespace = |name: &str, team: &str| {
            let labels = [("team", team)].into_iter().collect();
            Namespace { name: name.to_owned(), labels, uid: Uid::default() }
        };
        let node = |name: &str, text: &str, cidr: &str| {
            let pod_cidrs = vec![cidr.parse().expect("a network")];
            Node { name: name.to_owned(), addresses: vec![address(text)], pod_cidrs }
        };
        let pods = [
            pod("shop", "web", SHOP_WEB, "node-a"),
            pod("shop", "db", SHOP_DB, "node-b"),
            pod("bank", "web", BANK_WEB, "node-b"),
            pod("bank", "db", BANK_DB, "node-b"),
        ];
        Self {
            cluster: Cluster {
                namespaces: [namespace("shop", "red"), namespace("bank", "blue")].into_iter().collect(),
                pods: pods.into_iter().collect(),
                policies: policies.into_iter().collect(),
                nodes: [node("node-a", THIS_NODE, "10.244.1.0/24"), node("node-b", OTHER_NODE, "10.244.2.0/24")]
                    .into_iter()
                    .collect(),
                ..Cluster::default()
            },
            node_addresses: vec![address(THIS_NODE)],
        }
    }

    pub(super) fn template_mut(&mut self, namespace: &str, name: &str) -> &mut PodTemplate {
        Arc::make_mut(&mut self.pod_mut(namespace, name).template)
    }

    pub(super) fn pod_mut(&mut self, namespace: &str, name: &str) -> &mut Pod {
        self.cluster.pods.get_mut(&ObjectName::new(namespace, name)).expect("a pod of this world")
    }

    /// The tables of `node-a`, with an endpoint for each of its pods.
    pub(super) fn tables(&self) -> Tables {
        let web = ObjectName::new("shop", "web");
        let others = self.cluster.pods.iter().filter(|pod| pod.node.as_deref() == Some("node-a") && pod.name != web);
        let others = (INTERFACE + 1..).zip(others.map(|pod| (pod.name.clone(), Vec::new())));
        let endpoints = [(INTERFACE, (web.clone(), vec![address("fe80::5")]))].into_iter().chain(others);
        let endpoints =
            endpoints.map(|(interface, (pod, addresses))| Endpoint { interface, pod: Some(pod), addresses });
        compile(&Input {
            cluster: &self.cluster,
            node: "node-a",
            node_addresses: &self.node_addresses,
            endpoints: &endpoints.collect::<Vec<_>>(),
        })
    }

    /// What is decided of a connection of `shop/web`, by the evaluator and by the tables, which must agree.
    pub(super) fn decide(&self, direction: Direction, peer: &str, protocol: u8, port: Option<u16>) -> Decision {
        let (cluster, peer) = (&self.cluster, address(peer));
        let subject =
            Subject { pod: &cluster.pods[&ObjectName::new("shop", "web")], node_addresses: &self.node_addresses };
        let tables = self.tables();
        let service =
            (direction == Direction::Egress).then(|| evaluate_service(cluster, &subject, peer, protocol, port));
        let evaluated = match service.flatten() {
            Some(evaluated) => Decision::Service {
                service: evaluated.service.name.clone(),
                verdict: evaluated.verdict(|backend| tables.backends.contains_key(backend)),
                resolution: evaluated.resolution(),
            },
            None => Decision::Evaluated(evaluate(cluster, &subject, direction, peer, protocol, port)),
        };
        assert_eq!(tables.decide(INTERFACE, direction, peer, protocol, port), evaluated);
        evaluated
    }

    /// The same of a connection that is to no Service.
    pub(super) fn ask(&self, direction: Direction, peer: &str, protocol: u8, port: Option<u16>) -> Evaluation {
        match self.decide(direction, peer, protocol, port) {
            Decision::Evaluated(evaluation) => evaluation,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn ingress(&self, peer: &str, port: u16) -> Evaluation {
        self.ask(Direction::Ingress, peer, TCP, Some(port))
    }

    pub(super) fn egress(&self, peer: &str, port: u16) -> Evaluation {
        self.ask(Direction::Egress, peer, TCP, Some(port))
    }

    /// Whether `shop/web` accepts TCP connections to port 80 from these peers, in their order.
    pub(super) fn accepts(&self, peers: &[&str]) -> Vec<bool> {
        peers.iter().map(|peer| is_allowed(&self.ingress(peer, 80))).collect()
    }
}

pub(super) fn is_allowed(evaluation: &Evaluation) -> bool {
    !matches!(evaluation, Evaluation::Denied(_))
}

/// The policy of this name in `shop` that selects every pod and has no direction yet.
pub(super) fn policy(name: &str) -> NetworkPolicy {
    NetworkPolicy {
        name: ObjectName::new("shop", name),
        uid: format!("uid-{name}").as_str().into(),
        generation: 1,
        resource_version: String::new(),
        pod_selector: LabelSelector::everything(),
        ingress: None,
        egress: None,
        text: "".into(),
        faults: Vec::new(),
    }
}

pub(super) fn ingress_policy(name: &str, rules: impl IntoIterator<Item = Rule>) -> NetworkPolicy {
    NetworkPolicy { ingress: Some(rules.into_iter().collect()), ..policy(name) }
}

pub(super) fn egress_policy(name: &str, rules: impl IntoIterator<Item = Rule>) -> NetworkPolicy {
    NetworkPolicy { egress: Some(rules.into_iter().collect()), ..policy(name) }
}

pub(super) fn from(peers: impl IntoIterator<Item = Peer>) -> Rule {
    Rule::Usable { peers: Peers::Listed(peers.into_iter().collect()), ports: Ports::Every }
}

pub(super) fn to_ports(ports: impl IntoIterator<Item = PortMatch>) -> Rule {
    Rule::Usable { peers: Peers::Everybody, ports: Ports::Listed(ports.into_iter().collect()) }
}

pub(super) fn everything() -> Rule {
    Rule::Usable { peers: Peers::Everybody, ports: Ports::Every }
}

pub(super) fn app(name: &str) -> LabelSelector {
    LabelSelector::labels([("app", name)])
}

pub(super) fn team(name: &str) -> LabelSelector {
    LabelSelector::labels([("team", name)])
}

pub(super) fn block(cidr: &str, except: &[&str]) -> Peer {
    let net = |text: &str| text.parse().expect("a network");
    Peer::Block(IpBlock::new(net(cidr), except.iter().map(|text| net(text))).expect("a block"))
}

pub(super) fn tcp(first: u16, last: u16) -> PortMatch {
    PortMatch::Range(Protocol::Tcp, PortRange::new(number(first), number(last)).expect("a range"))
}
