//! Random namespaces, nodes, pods and endpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU16, NonZeroU32};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Random, Scenario, policies, services};
use crate::compile::Endpoint;
use crate::model::{
    Cluster, Labels, NamedPort, Namespace, Node, ObjectName, Objects, Phase, Pod, PodTemplate, Protocol,
};

const NAMESPACES: [&str; 3] = ["bank", "lab", "shop"];
const NODES: u8 = 3;

pub(super) fn scenario(random: &mut Random) -> Scenario {
    let mut cluster = Cluster { namespaces: namespaces(random), nodes: nodes(random), ..Cluster::default() };
    for number in 0..3 + u8::try_from(random.below(8)).expect("below eight") {
        let mut pod = pod(random, number);
        if random.percent(12)
            && let Some(other) = cluster.pods.iter().next()
        {
            pod.addresses.clone_from(&other.addresses);
        }
        cluster.pods.insert(pod);
    }
    let number_of_policies = 1 + random.below(8);
    cluster.policies = policies(random, &cluster, number_of_policies, &[80, 443, 5432]);

    let node = node_name(0);
    let mut node_addresses = vec![node_v4(0), node_v6(0)];
    if random.percent(50) {
        // An address of an interface that the Node object does not have, such as the gateway of the pods.
        node_addresses.push(pod_v4(0, 1));
    }
    services::Words { node: &node, node_addresses: &node_addresses }.add_services(random, &mut cluster);
    let endpoints = endpoints(random, &cluster, &node);
    Scenario { cluster, node, node_addresses, endpoints }
}

fn namespaces(random: &mut Random) -> Objects<Namespace> {
    let mut namespaces = Objects::default();
    for name in NAMESPACES {
        if random.percent(5) {
            continue;
        }
        let mut labels = labels(random, &[("team", &["blue", "red"]), ("env", &["prod", "test"])]);
        labels.set("kubernetes.io/metadata.name", name);
        namespaces.insert(Namespace { name: name.to_owned(), labels, uid: format!("uid-{name}").as_str().into() });
    }
    namespaces
}

fn nodes(random: &mut Random) -> Objects<Node> {
    let node = |number| {
        let v4 = IpNet::from(Ipv4Net::new(Ipv4Addr::new(10, 244, number, 0), 24).expect("24 bits"));
        let v6 =
            IpNet::from(Ipv6Net::new(Ipv6Addr::new(0xfd00, 0x244, number.into(), 0, 0, 0, 0, 0), 64).expect("64 bits"));
        let pod_cidrs = if random.percent(80) { vec![v4, v6] } else { Vec::new() };
        Node { name: node_name(number), addresses: vec![node_v4(number), node_v6(number)], pod_cidrs }
    };
    (0..NODES).map(node).collect()
}

fn pod(random: &mut Random, number: u8) -> Pod {
    let node = u8::try_from(random.below(NODES.into())).expect("there are few nodes") % NODES;
    let node = if random.percent(40) { 0 } else { node };
    let host_network = random.percent(8);
    let host = 10 + number;
    let addresses = match (host_network, random.below(10)) {
        (true, _) => vec![node_v4(node), node_v6(node)],
        (false, 0) => Vec::new(),
        (false, 1) => vec![pod_v4(node, host)],
        (false, 2) => vec![pod_v6(node, host)],
        (false, _) => vec![pod_v4(node, host), pod_v6(node, host)],
    };
    let phase = match random.below(20) {
        0 => Phase::Succeeded,
        1 => Phase::Failed,
        2 => Phase::Pending,
        3 => Phase::Unknown,
        _ => Phase::Running,
    };
    let name = ObjectName::new(random.word(&NAMESPACES), format!("pod-{number}"));
    let words: [(&str, &[&str]); 3] =
        [("app", &["api", "db", "web"]), ("tier", &["back", "front"]), ("track", &["canary"])];
    let labels = labels(random, &words);
    Pod {
        uid: format!("uid-{name}").as_str().into(),
        name,
        template: PodTemplate { labels, ports: named_ports(random).into(), ..PodTemplate::default() }.into(),
        addresses: addresses.into(),
        node: Some(node_name(node).into()),
        host_network,
        phase,
        is_being_deleted: random.percent(15),
        created: random
            .percent(80)
            .then(|| NonZeroU32::MIN.saturating_add(u32::try_from(random.below(3)).expect("below three"))),
    }
}

fn labels(random: &mut Random, of: &[(&str, &[&str])]) -> Labels {
    let mut labels = Labels::default();
    for (key, values) in of {
        if random.percent(75) {
            labels.set(key, &random.word(values));
        }
    }
    labels
}

fn named_ports(random: &mut Random) -> Vec<NamedPort> {
    let mut ports: Vec<NamedPort> = (0..random.below(4))
        .map(|_| NamedPort {
            name: random.word(&["http", "sql"]),
            protocol: *random.pick(&Protocol::ALL[..2]),
            port: NonZeroU16::new(*random.pick(&[80, 81, 5432])).expect("none of them is 0"),
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

fn endpoints(random: &mut Random, cluster: &Cluster, node: &str) -> Vec<Endpoint> {
    let local = cluster.pods.iter().filter(|pod| pod.node.as_deref() == Some(node) && !pod.host_network);
    let mut endpoints: Vec<Endpoint> = (100..)
        .zip(local)
        .map(|(interface, pod)| Endpoint {
            interface,
            pod: random.percent(95).then(|| pod.name.clone()),
            addresses: pod.addresses.iter().filter(|_| random.percent(80)).collect(),
        })
        .collect();
    if random.percent(10) {
        let gone = Some(ObjectName::new("shop", "gone"));
        endpoints.push(Endpoint { interface: 7, pod: gone, addresses: vec![pod_v4(0, 99)] });
    }
    endpoints
}

fn node_name(number: u8) -> String {
    format!("node-{number}")
}

fn node_v4(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 168, 7, 10 + number).into()
}

fn node_v6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, u16::from(number) + 0x10).into()
}

fn pod_v4(node: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 244, node, host).into()
}

fn pod_v6(node: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x244, node.into(), 0, 0, 0, 0, host.into()).into()
}
