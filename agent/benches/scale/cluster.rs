//! A cluster as many are: namespaces of teams, workloads of several replicas, a Service for each, five policies in each
//! namespace, and nodes of about a hundred pods. Everything is dual-stack.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use podwitness_policy::{
    Cluster, EndpointSlice, IpBlock, LabelSelector, Labels, NamedPort, Namespace, NetworkPolicy, Node, ObjectName,
    Peer, Peers, Phase, Pod, PodTemplate, PortMatch, PortRange, Ports, Protocol, Rule, Service, ServicePort, Sharing,
    SliceEndpoint, SlicePort, Uid,
};

/// Pods in a namespace.
const PODS: usize = 50;
/// Workloads in a namespace.
const WORKLOADS: usize = 5;
/// Pods on a node, the kubelet's own limit.
const OF_NODE: usize = 110;
/// Namespaces of a team.
const OF_TEAM: usize = 10;

/// The node that the agent is on.
pub(crate) const NODE: &str = "ip-10-0-0-0.eu-west-1.compute.internal";

/// The names, kinds and layers of a namespace's workloads.
const APPS: [(&str, &str); WORKLOADS] =
    [("checkout", "front"), ("catalog", "front"), ("orders", "back"), ("payments", "back"), ("ledger", "data")];

/// Which pod it is: the number of its namespace, and its own within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Which {
    pub(crate) namespace: usize,
    pub(crate) number: usize,
}

/// A cluster of so many pods, and how many of them are on the agent's node. As a source has it, what objects have in
/// common is shared.
pub(crate) fn cluster(pods: usize) -> Cluster {
    let mut cluster = Cluster::default();
    let mut sharing = Sharing::default();
    let namespaces = pods.div_ceil(PODS);
    for number in 0..=pods / OF_NODE {
        let node = node(number);
        cluster.nodes.insert(node);
    }
    // One in so many is on the agent's node, so that it has some of each namespace, as a scheduler spreads them.
    let one_in = pods.div_ceil(OF_NODE).max(2);
    for namespace in 0..namespaces {
        let object = self::namespace(namespace);
        cluster.namespaces.insert(object);
        for number in 0..PODS {
            let place = namespace * PODS + number;
            let node = if place.is_multiple_of(one_in) { 0 } else { 1 + place % (pods / OF_NODE).max(1) };
            let mut pod = pod(Which { namespace, number }, node);
            sharing.pod(&mut pod);
            cluster.pods.insert(pod);
        }
        for workload in 0..WORKLOADS {
            let service = service(namespace, workload);
            cluster.services.insert(service);
            set_slices(&mut cluster, namespace, workload);
        }
        for mut policy in policies(namespace, 0) {
            sharing.policy(&mut policy);
            cluster.policies.insert(policy);
        }
    }
    for name in ["kube-system", "monitoring"] {
        let labels = labels(&[("kubernetes.io/metadata.name", name), ("purpose", name)]);
        cluster.namespaces.insert(Namespace { name: name.to_owned(), labels, uid: uid(&[99]) });
    }
    for number in 0..2 {
        let mut pod = pod(Which { namespace: 4000, number }, 1);
        pod.name = ObjectName::new("kube-system", format!("coredns-{number}"));
        pod.template = PodTemplate { labels: labels(&[("k8s-app", "kube-dns")]), ..PodTemplate::default() }.into();
        cluster.pods.insert(pod);
    }
    cluster.endpoint_slices.iter_mut().for_each(|slice| sharing.slice(slice));
    cluster
}

/// Whether a pod is on the agent's node.
pub(crate) fn is_local(pod: &Pod) -> bool {
    pod.node.as_deref() == Some(NODE)
}

/// The node of this number; 0 is the agent's.
fn node(number: usize) -> Node {
    let third = u8::try_from(number / 200).expect("there are few nodes");
    let fourth = u8::try_from(number % 200).expect("below 200");
    let group = u16::try_from(number).expect("there are few nodes");
    Node {
        name: node_name(number),
        addresses: vec![
            Ipv4Addr::new(10, 0, third, 10 + fourth).into(),
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10 + group).into(),
        ],
        pod_cidrs: vec![
            IpNet::from(Ipv4Net::new(Ipv4Addr::new(100, 64 + third, fourth, 0), 24).expect("24 bits")),
            IpNet::from(Ipv6Net::new(Ipv6Addr::new(0xfd00, 1, group, 0, 0, 0, 0, 0), 64).expect("64 bits")),
        ],
    }
}

fn node_name(number: usize) -> String {
    if number == 0 {
        NODE.to_owned()
    } else {
        format!("ip-10-0-{}-{}.eu-west-1.compute.internal", number / 200, number)
    }
}

pub(crate) fn namespace_name(number: usize) -> String {
    format!("team-{:02}-{number:03}", number / OF_TEAM)
}

fn namespace(number: usize) -> Namespace {
    let name = namespace_name(number);
    let team = format!("team-{:02}", number / OF_TEAM);
    let stage = if number.is_multiple_of(2) { "prod" } else { "staging" };
    let labels = labels(&[("kubernetes.io/metadata.name", &name), ("team", &team), ("stage", stage)]);
    Namespace { name, labels, uid: uid(&[1, number]) }
}

/// A pod of a namespace, on the node of this number.
pub(crate) fn pod(which: Which, node: usize) -> Pod {
    let Which { namespace, number } = which;
    let (app, tier) = APPS[number % WORKLOADS];
    let hash = format!("{:010x}", namespace * 977 + number % WORKLOADS);
    let labels = labels(&[
        ("app", app),
        ("app.kubernetes.io/managed-by", "Helm"),
        ("app.kubernetes.io/part-of", "shop"),
        ("pod-template-hash", &hash),
        ("tier", tier),
    ]);
    Pod {
        name: ObjectName::new(namespace_name(namespace), format!("{app}-{hash}-{number:05}")),
        uid: uid(&[2, namespace, number]),
        template: PodTemplate {
            labels,
            ports: [NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: port(8080) }].into(),
            service_account: app.into(),
            workload_kind: Some("Deployment".into()),
            workload: Some(app.into()),
        }
        .into(),
        addresses: addresses(which).into(),
        node: Some(node_name(node).into()),
        host_network: false,
        phase: Phase::Running,
        is_being_deleted: false,
        created: NonZeroU32::new(1_700_000_000),
    }
}

fn addresses(Which { namespace, number }: Which) -> Vec<IpAddr> {
    let place = u32::try_from(namespace * 1000 + number).expect("there are few pods");
    let [_, high, middle, low] = place.to_be_bytes();
    let words = [u16::from(high), u16::from_be_bytes([middle, low])];
    vec![
        Ipv4Addr::new(100, 64 + high, middle, low).into(),
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, words[0] + 1, words[1]).into(),
    ]
}

fn service(namespace: usize, workload: usize) -> Service {
    let place = u16::try_from(namespace * WORKLOADS + workload).expect("there are few services");
    let [high, low] = place.to_be_bytes();
    Service {
        name: ObjectName::new(namespace_name(namespace), APPS[workload].0),
        uid: uid(&[3, namespace, workload]),
        cluster_addresses: vec![
            Ipv4Addr::new(172, 20, high, low).into(),
            Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, place).into(),
        ],
        external_addresses: Vec::new(),
        ports: [ServicePort { name: "http".to_owned(), protocol: Protocol::Tcp, port: port(80), node_port: None }]
            .into(),
        internal_traffic_local: false,
    }
}

/// Has the slices of a Service list the pods of its workload that there are.
pub(crate) fn set_slices(cluster: &mut Cluster, namespace: usize, workload: usize) {
    let name = namespace_name(namespace);
    let app = APPS[workload].0;
    for ipv4 in [true, false] {
        let family = if ipv4 { "v4" } else { "v6" };
        let of_workload = |pod: &&Pod| pod.name.namespace() == name && pod.template.labels.get("app") == Some(app);
        let endpoints = |pod: &Pod| {
            let node = pod.node.clone();
            let of_family: Vec<_> = pod.addresses.iter().filter(|own| own.is_ipv4() == ipv4).collect();
            of_family.into_iter().map(move |address| SliceEndpoint {
                address,
                ready: true,
                serving: true,
                terminating: false,
                node: node.clone(),
            })
        };
        let slice = EndpointSlice {
            name: ObjectName::new(&name, format!("{app}-{family}")),
            service: Some(app.into()),
            ports: [SlicePort { name: "http".to_owned(), protocol: Protocol::Tcp, port: port(8080) }].into(),
            endpoints: pods_of(cluster, &name).filter(of_workload).flat_map(endpoints).collect(),
        };
        cluster.endpoint_slices.insert(slice);
    }
}

fn pods_of<'a>(cluster: &'a Cluster, namespace: &str) -> impl Iterator<Item = &'a Pod> {
    let namespace = namespace.to_owned();
    cluster.pods.iter_from(&ObjectName::new(&namespace, "")).take_while(move |pod| pod.name.namespace() == namespace)
}

/// The policies of a namespace. The `change` is a port in them, so that each value is another text.
pub(crate) fn policies(namespace: usize, change: u16) -> Vec<NetworkPolicy> {
    let team = format!("team-{:02}", namespace / OF_TEAM);
    let app = |name: &str| LabelSelector::labels([("app", name)]);
    let tier = |name: &str| LabelSelector::labels([("tier", name)]);
    let own = |pods: LabelSelector| Peer::Pods { namespaces: None, pods };
    let other =
        |key: &str, value: &str, pods| Peer::Pods { namespaces: Some(LabelSelector::labels([(key, value)])), pods };
    let everything = LabelSelector::everything;
    let tcp = |number: u16| PortMatch::Range(Protocol::Tcp, PortRange::single(port(number)));
    let rule = |peers: Vec<Peer>, ports: Vec<PortMatch>| Rule::Usable {
        peers: Peers::Listed(peers),
        ports: if ports.is_empty() { Ports::Every } else { Ports::Listed(ports) },
    };
    let outside = IpBlock::new(net("0.0.0.0/0"), [net("10.0.0.0/8"), net("100.64.0.0/10"), net("172.16.0.0/12")])
        .expect("the exceptions are in the block");
    let dns = other("kubernetes.io/metadata.name", "kube-system", LabelSelector::labels([("k8s-app", "kube-dns")]));
    let udp_53 = PortMatch::Range(Protocol::Udp, PortRange::single(port(53)));
    let given = [
        ("default-deny", everything(), Some(Vec::new()), Some(vec![rule(vec![dns], vec![udp_53, tcp(53)])])),
        (
            "front",
            tier("front"),
            Some(vec![rule(
                vec![other("team", &team, everything())],
                vec![PortMatch::Named(Protocol::Tcp, "http".to_owned())],
            )]),
            Some(vec![rule(vec![own(tier("back"))], vec![tcp(8080 + change)])]),
        ),
        (
            "back",
            tier("back"),
            Some(vec![rule(vec![own(tier("front")), own(app("orders"))], vec![tcp(8080 + change)])]),
            Some(vec![rule(vec![own(tier("data")), own(tier("back"))], Vec::new())]),
        ),
        (
            "outside",
            app("payments"),
            None,
            Some(vec![
                rule(vec![Peer::Block(outside)], vec![tcp(443)]),
                rule(vec![Peer::Block(IpBlock::new(net("10.200.0.0/16"), []).expect("a block"))], vec![tcp(5432)]),
            ]),
        ),
        (
            "monitoring",
            everything(),
            Some(vec![rule(vec![other("purpose", "monitoring", everything())], vec![tcp(9090)])]),
            None,
        ),
    ];
    given
        .into_iter()
        .map(|(name, pod_selector, ingress, egress)| NetworkPolicy {
            name: ObjectName::new(namespace_name(namespace), name),
            uid: uid(&[4, namespace, name.len()]),
            generation: i64::from(change) + 1,
            resource_version: format!("{}", 100_000 + u32::from(change)),
            // Five hundred bytes, as many policies have.
            text: format!("{{\"change\":{change},\"spec\":\"{:>480}\"}}", format!("{:.200}", format!("{ingress:?}")))
                .as_str()
                .into(),
            pod_selector,
            ingress: ingress.map(Into::into),
            egress: egress.map(Into::into),
            faults: Vec::new(),
        })
        .collect()
}

/// The policy of a namespace's front, which lets in the pods of a team, given by its number.
pub(crate) fn front_for(namespace: usize, team: usize, change: u16) -> NetworkPolicy {
    let front = policies(namespace, change).into_iter().find(|policy| policy.name.name() == "front");
    let mut front = front.expect("it is one of them");
    let namespaces = Some(LabelSelector::labels([("team", format!("team-{team:02}"))]));
    let peers = Peers::Listed(vec![Peer::Pods { namespaces, pods: LabelSelector::everything() }]);
    front.ingress = Some([Rule::Usable { peers, ports: Ports::Every }].into());
    front
}

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().copied().collect()
}

fn uid(of: &[usize]) -> Uid {
    let last = of.iter().fold(0, |all, number| all << 16 | number);
    format!("0b5e1f3a-9c2d-4e7f-8a6b-{last:012x}").as_str().into()
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not 0")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

/// A cluster after a change of it.
pub(crate) fn changed(cluster: &Arc<Cluster>, change: impl FnOnce(&mut Cluster)) -> Arc<Cluster> {
    let mut cluster = Cluster::clone(cluster);
    change(&mut cluster);
    Arc::new(cluster)
}
