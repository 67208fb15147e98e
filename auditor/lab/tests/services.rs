//! Services of the lab's node: who is reached through which address, and where the backend sees it come from.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use podwitness_lab::{Attempt, Backend, Cluster, Lab, NetNs, Outcome, Outsider, Pod, PodSpec, Server, Services};

const SOON: Duration = Duration::from_millis(900);
/// How long it is waited for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(250);
/// How many connections are made where each backend must get one: that one of three gets none happens once in ten million times.
const MANY: usize = 45;

/// The Service's addresses.
const VIRTUAL: [&str; 2] = ["10.96.0.10", "fd00:96::10"];
/// The node's.
const NODE: [&str; 2] = ["172.30.0.2", "fd00:172:30::2"];
/// What stands in a Service of these ports besides their policies.
const PORTS: &str = "clusterIPs: [10.96.0.10, 'fd00:96::10']
ports:
  - {name: web, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: dns, port: 53, targetPort: 5353, nodePort: 30053, protocol: UDP}
";
const TARGETS: [(&str, u16, &str); 2] = [("web", 8080, "TCP"), ("dns", 5353, "UDP")];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(text), port)
}

/// A client, an outsider, and three pods that serve.
struct Stage {
    client: Pod,
    outsider: Outsider,
    pods: Vec<Pod>,
    /// The TCP and the UDP server of each pod.
    servers: Vec<[Server; 2]>,
    cluster: Cluster,
    services: Services,
    _lab: Lab,
}

impl Stage {
    fn set(policies: &str) -> Self {
        let lab = Lab::new().unwrap();
        let pod = |name: &str, host: u8| {
            let addresses = [ip(&format!("10.1.0.{host}")), ip(&format!("fd00:1::{host}"))];
            lab.pod(PodSpec::new("shop", name, &addresses)).unwrap()
        };
        let client = pod("client", 9);
        let pods: Vec<Pod> = (1..=3).map(|host| pod(&format!("web-{host}"), host)).collect();
        let servers = pods.iter().map(|pod| [pod.serve_tcp(8080).unwrap(), pod.serve_udp(5353).unwrap()]).collect();
        let outsider = lab.outsider("outside", &[ip("203.0.113.7"), ip("2001:db8::7")]).unwrap();
        let (cluster, services) = (lab.cluster(), lab.services());
        cluster.service("shop", "web", &format!("{PORTS}{policies}")).unwrap();
        Self { client, outsider, pods, servers, cluster, services, _lab: lab }
    }

    fn backend(&self, pod: usize) -> Backend {
        Backend { addresses: self.pods[pod].addresses(), node: "node-a".to_owned(), ready: true }
    }

    fn use_backends(&self, backends: &[Backend]) {
        self.cluster.backends("shop", "web", &TARGETS, backends).unwrap();
        self.services.sync().unwrap();
    }

    /// Who has asked the pod of this number over the family of `like`.
    fn callers(&self, pod: usize, like: IpAddr) -> BTreeSet<IpAddr> {
        let all = self.servers[pod].iter().flat_map(Server::callers).map(|caller| caller.ip());
        all.filter(|caller| caller.is_ipv4() == like.is_ipv4()).collect()
    }
}

/// TCP to one port and UDP to the other.
fn ask(from: &NetNs, to: &str, ports: [u16; 2], limit: Duration) -> [Outcome; 2] {
    let tcp: Attempt = from.connect_tcp(at(to, ports[0]), limit).unwrap();
    let udp: Attempt = from.request_udp(at(to, ports[1]), limit).unwrap();
    [tcp.outcome, udp.outcome]
}

#[test]
fn a_cluster_ip_is_answered_by_all_of_its_backends_over_both_families() {
    let stage = Stage::set("");
    stage.use_backends(&[stage.backend(0), stage.backend(1), stage.backend(2)]);
    for to in VIRTUAL {
        for _ in 0..MANY {
            assert_eq!(ask(&stage.client, to, [80, 53], SOON), [Outcome::Answered; 2], "{to}");
        }
        for pod in 0..3 {
            assert_eq!(stage.callers(pod, ip(to)), BTreeSet::from([stage.client.address_like(ip(to)).unwrap()]));
        }
    }
    let asked: Vec<[usize; 2]> = stage.servers.iter().map(|[tcp, udp]| [tcp.requests(), udp.requests()]).collect();
    assert!(asked.iter().flatten().all(|requests| *requests > 0), "not all have been asked: {asked:?}");
    assert_eq!(asked.iter().flatten().sum::<usize>(), 4 * MANY);
    // The address has no other ports, and the target's number is not the Service's.
    for port in [81, 8080] {
        assert_ne!(stage.client.connect_tcp(at(VIRTUAL[0], port), SILENCE).unwrap().outcome, Outcome::Answered);
    }
}

#[test]
fn only_ready_backends_are_asked_and_none_is_refused_at_once() {
    let stage = Stage::set("");
    let unready = |pod| Backend { ready: false, ..stage.backend(pod) };
    stage.use_backends(&[unready(0), stage.backend(1), unready(2)]);
    for to in VIRTUAL {
        for _ in 0..10 {
            assert_eq!(ask(&stage.client, to, [80, 53], SOON), [Outcome::Answered; 2], "{to}");
        }
    }
    assert!(stage.servers[0].iter().chain(&stage.servers[2]).all(|server| server.requests() == 0));

    let one_family = Backend { addresses: vec![stage.pods[2].addresses()[0]], ..stage.backend(2) };
    for (backends, v4, v6) in [
        (vec![unready(1)], Outcome::Refused, Outcome::Refused),
        (vec![], Outcome::Refused, Outcome::Refused),
        (vec![one_family], Outcome::Answered, Outcome::Refused),
        (vec![stage.backend(0)], Outcome::Answered, Outcome::Answered),
    ] {
        stage.use_backends(&backends);
        assert_eq!(ask(&stage.client, VIRTUAL[0], [80, 53], SOON), [v4; 2], "{backends:?}");
        assert_eq!(ask(&stage.client, VIRTUAL[1], [80, 53], SOON), [v6; 2], "{backends:?}");
    }
}

#[test]
fn a_node_port_comes_from_the_node_and_with_the_policy_local_from_the_client() {
    for (policies, is_local) in [("", false), ("externalTrafficPolicy: Local\n", true)] {
        let stage = Stage::set(policies);
        stage.use_backends(&[stage.backend(0)]);
        for to in NODE {
            assert_eq!(ask(&stage.outsider, to, [30080, 30053], SOON), [Outcome::Answered; 2], "{to} {policies}");
            let seen = if is_local { stage.outsider.address_like(ip(to)).unwrap() } else { ip(to) };
            assert_eq!(stage.callers(0, ip(to)), BTreeSet::from([seen]), "{policies}");
        }
        // A backend that is on another node, and can be reached.
        stage.use_backends(&[Backend { node: "node-b".to_owned(), ..stage.backend(1) }]);
        let met = if is_local { Outcome::TimedOut } else { Outcome::Answered };
        for to in NODE {
            assert_eq!(ask(&stage.outsider, to, [30080, 30053], SILENCE), [met; 2], "{to} {policies}");
        }
        for to in VIRTUAL {
            assert_eq!(ask(&stage.client, to, [80, 53], SOON), [Outcome::Answered; 2], "{to} {policies}");
        }
        stage.use_backends(&[]);
        assert_eq!(ask(&stage.outsider, NODE[0], [30080, 30053], SOON), [Outcome::Refused; 2], "{policies}");
    }
}

#[test]
fn external_addresses_are_translated_like_node_ports() {
    let stage = Stage::set("externalIPs: [198.51.100.1, '2001:db8:1::1']\n");
    stage.use_backends(&[stage.backend(0)]);
    for (to, node) in ["198.51.100.1", "2001:db8:1::1"].into_iter().zip(NODE) {
        assert_eq!(ask(&stage.outsider, to, [80, 53], SOON), [Outcome::Answered; 2], "{to}");
        assert_eq!(stage.callers(0, ip(to)), BTreeSet::from([ip(node)]));
    }
}

#[test]
fn internal_traffic_with_the_policy_local_stays_on_the_node() {
    let stage = Stage::set("internalTrafficPolicy: Local\n");
    let elsewhere = Backend { node: "node-b".to_owned(), ..stage.backend(1) };
    stage.use_backends(&[stage.backend(0), elsewhere.clone()]);
    for to in VIRTUAL {
        for _ in 0..10 {
            assert_eq!(ask(&stage.client, to, [80, 53], SOON), [Outcome::Answered; 2], "{to}");
        }
    }
    assert!(stage.servers[1].iter().all(|server| server.requests() == 0));
    stage.use_backends(&[elsewhere]);
    assert_eq!(ask(&stage.client, VIRTUAL[0], [80, 53], SILENCE), [Outcome::TimedOut; 2]);
}

#[test]
fn a_backend_that_is_sent_to_itself_sees_the_node() {
    let stage = Stage::set("");
    stage.use_backends(&[stage.backend(0)]);
    for (to, node) in VIRTUAL.into_iter().zip(NODE) {
        assert_eq!(ask(&stage.pods[0], to, [80, 53], SOON), [Outcome::Answered; 2], "{to}");
        assert_eq!(stage.callers(0, ip(to)), BTreeSet::from([ip(node)]));
    }
}

#[test]
fn a_connection_keeps_its_backend_when_others_take_over() {
    let stage = Stage::set("");
    stage.use_backends(&[stage.backend(0)]);
    let mut conversation = stage.client.open_tcp(at(VIRTUAL[0], 80), SOON).unwrap().unwrap();
    stage.use_backends(&[stage.backend(1)]);
    assert_eq!(conversation.exchange(SOON), Outcome::Answered);
    assert_eq!(ask(&stage.client, VIRTUAL[0], [80, 53], SOON), [Outcome::Answered; 2]);
    let asked: Vec<usize> = stage.servers.iter().map(|[tcp, _]| tcp.requests()).collect();
    assert_eq!(asked, [1, 1, 0]);
    conversation.close(SOON);
}
