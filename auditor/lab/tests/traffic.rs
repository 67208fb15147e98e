//! Pods of one lab reach each other by every protocol and family, and probes tell what became of them.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use podwitness_lab::{Lab, Outcome, Pod, PodSpec};

const SOON: Duration = Duration::from_millis(900);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address(text), port)
}

fn two_pods(lab: &Lab) -> (Pod, Pod) {
    let one = PodSpec::new("shop", "one", &[address("10.1.0.1"), address("fd00:1::1")]);
    let two = PodSpec::new("shop", "two", &[address("10.1.0.2"), address("fd00:1::2")]);
    (lab.pod(one).unwrap(), lab.pod(two).unwrap())
}

#[test]
fn pods_talk_over_both_families_and_all_protocols() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let tcp = two.serve_tcp(80).unwrap();
    let udp = two.serve_udp(53).unwrap();
    for to in ["10.1.0.2", "fd00:1::2"] {
        assert_eq!(one.connect_tcp(at(to, 80), SOON).unwrap().outcome, Outcome::Answered, "TCP to {to}");
        assert_eq!(one.request_udp(at(to, 53), SOON).unwrap().outcome, Outcome::Answered, "UDP to {to}");
        assert_eq!(one.ping(address(to), SOON).unwrap().outcome, Outcome::Answered, "echo to {to}");
    }
    assert_eq!((tcp.requests(), udp.requests()), (2, 2));
}

#[test]
fn nobody_listening_is_refused_and_not_timed_out() {
    let lab = Lab::new().unwrap();
    let (one, _two) = two_pods(&lab);
    for to in ["10.1.0.2", "fd00:1::2"] {
        // Many in a row, because the system limits ICMP errors unless told otherwise.
        for port in 1000..1020 {
            assert_eq!(one.connect_tcp(at(to, port), SOON).unwrap().outcome, Outcome::Refused, "TCP to {to}");
            assert_eq!(one.request_udp(at(to, port), SOON).unwrap().outcome, Outcome::Refused, "UDP to {to}");
        }
    }
}

#[test]
fn what_is_dropped_on_the_way_times_out() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let _tcp = two.serve_tcp(80).unwrap();
    let mut ip = lab.node().command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let routes = b"route replace blackhole 10.1.0.2/32\nroute add blackhole fd00:1::2/128 metric 1\n";
    ip.stdin.take().unwrap().write_all(routes).unwrap();
    assert!(ip.wait().unwrap().success());
    let limit = Duration::from_millis(150);
    for to in ["10.1.0.2", "fd00:1::2"] {
        let started = Instant::now();
        assert_eq!(one.connect_tcp(at(to, 80), limit).unwrap().outcome, Outcome::TimedOut, "TCP to {to}");
        assert_eq!(one.request_udp(at(to, 80), limit).unwrap().outcome, Outcome::TimedOut, "UDP to {to}");
        assert_eq!(one.ping(address(to), limit).unwrap().outcome, Outcome::TimedOut, "echo to {to}");
        assert!(started.elapsed() >= limit * 3, "a probe gave up early");
    }
    // For each family one SYN, and no more: the kernel's counters for TCP are those of both.
    let snmp = one.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap().unwrap();
    let [names, values] = ["Tcp: RtoAlgorithm", "Tcp: 1"]
        .map(|start| snmp.lines().find(|line| line.starts_with(start)).unwrap().split_whitespace().collect::<Vec<_>>());
    let counter = |name| values[names.iter().position(|known| *known == name).unwrap()];
    assert_eq!((counter("OutSegs"), counter("RetransSegs")), ("2", "0"), "{snmp}");
}

#[test]
fn an_address_nobody_has_is_unreachable() {
    let lab = Lab::new().unwrap();
    let (one, _two) = two_pods(&lab);
    for to in ["10.9.9.9", "fd00:9::9"] {
        for outcome in [
            one.connect_tcp(at(to, 80), SOON).unwrap().outcome,
            one.request_udp(at(to, 80), SOON).unwrap().outcome,
            one.ping(address(to), SOON).unwrap().outcome,
        ] {
            assert!(matches!(outcome, Outcome::Unreachable(_)), "{to}: {outcome:?}");
        }
    }
}

#[test]
fn a_probe_leaves_from_the_port_that_was_asked_for() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let _tcp = two.serve_tcp(80).unwrap();
    let _udp = two.serve_udp(80).unwrap();
    for (from, to) in [("10.1.0.1", "10.1.0.2"), ("fd00:1::1", "fd00:1::2")] {
        let tcp = one.connect_tcp_from(40_001, at(to, 80), SOON).unwrap();
        let udp = one.request_udp_from(40_002, at(to, 80), SOON).unwrap();
        assert_eq!((tcp.local, tcp.outcome), (at(from, 40_001), Outcome::Answered));
        assert_eq!((udp.local, udp.outcome), (at(from, 40_002), Outcome::Answered));
        assert_eq!(tcp.remote, at(to, 80));
    }
}

#[test]
fn a_conversation_goes_on_until_it_is_closed() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let server = two.serve_tcp(80).unwrap();
    let mut conversation = one.open_tcp(at("fd00:1::2", 80), SOON).unwrap().unwrap();
    assert_eq!(conversation.exchange(SOON), Outcome::Answered);
    assert_eq!(conversation.exchange(SOON), Outcome::Answered);
    assert_eq!(server.requests(), 2);
    let (local, remote) = (conversation.local(), conversation.remote());
    assert_eq!((local.ip(), remote), (address("fd00:1::1"), at("fd00:1::2", 80)));
    conversation.close(SOON);
}

#[test]
fn a_stopped_server_refuses() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let server = two.serve_tcp(80).unwrap();
    assert_eq!(one.connect_tcp(at("10.1.0.2", 80), SOON).unwrap().outcome, Outcome::Answered);
    drop(server);
    assert_eq!(one.connect_tcp(at("10.1.0.2", 80), SOON).unwrap().outcome, Outcome::Refused);
}

#[test]
fn pods_and_hosts_outside_reach_each_other_and_the_node() {
    let lab = Lab::new().unwrap();
    let (one, _two) = two_pods(&lab);
    let outside = lab.outsider("internet", &[address("203.0.113.7"), address("2001:db8::7")]).unwrap();
    let _in = one.serve_tcp(80).unwrap();
    let _out = outside.serve_tcp(443).unwrap();
    for (inside, beyond) in [("10.1.0.1", "203.0.113.7"), ("fd00:1::1", "2001:db8::7")] {
        assert_eq!(one.connect_tcp(at(beyond, 443), SOON).unwrap().outcome, Outcome::Answered);
        assert_eq!(outside.connect_tcp(at(inside, 80), SOON).unwrap().outcome, Outcome::Answered);
    }
    for node in lab.node().addresses() {
        assert_eq!(one.ping(*node, SOON).unwrap().outcome, Outcome::Answered);
        // And back: the node reaches the pod, as a kubelet's probe does.
        let pod = SocketAddr::new(one.address_like(*node).unwrap(), 80);
        let attempt = lab.node().netns().connect_tcp(pod, SOON).unwrap();
        assert_eq!((attempt.local.ip(), attempt.outcome), (*node, Outcome::Answered));
    }
}

#[test]
fn an_address_moves_from_one_pod_to_another() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let _udp = two.serve_udp(80).unwrap();
    for (old, new) in [("10.1.0.1", "10.1.0.9"), ("fd00:1::1", "fd00:1::9")] {
        one.move_address(address(old), address(new)).unwrap();
        two.move_address(two.address_like(address(old)).unwrap(), address(old)).unwrap();
        let attempt = one.request_udp(at(old, 80), SOON).unwrap();
        assert_eq!((attempt.local.ip(), attempt.outcome), (address(new), Outcome::Answered));
    }
    assert_eq!(two.addresses(), [address("10.1.0.1"), address("fd00:1::1")]);
}

#[test]
fn a_crafted_frame_arrives_as_it_was_made() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let server = two.serve_udp(80).unwrap();
    let mut frame = Vec::new();
    frame.extend(one.gateway_mac());
    frame.extend(one.mac());
    frame.extend([0x08, 0x00]);
    // IPv4 from a spoofed 10.1.0.77 to 10.1.0.2, UDP 9 -> 80 without checksum, one byte.
    let mut header = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 77, 10, 1, 0, 2];
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(header);
    frame.extend([0, 9, 0, 80, 0, 9, 0, 0, b'!']);
    one.raw_send(&frame).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.requests() == 0 {
        assert!(Instant::now() < deadline, "the frame did not arrive");
        std::thread::yield_now();
    }
}

#[test]
fn four_pods_are_up_in_well_under_a_second() {
    let lab = Lab::new().unwrap();
    let started = Instant::now();
    let pods: Vec<Pod> = (1..5)
        .map(|n| {
            let addresses = [IpAddr::from([10, 1, 0, n]), address(&format!("fd00:1::{n}"))];
            lab.pod(PodSpec::new("shop", &format!("pod-{n}"), &addresses)).unwrap()
        })
        .collect();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let names: Vec<String> = std::fs::read_dir(lab.netns_path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for pod in &pods {
        let index = lab.on_node(|| nix::net::if_::if_nametoindex(pod.host_interface().name.as_str())).unwrap().unwrap();
        assert_eq!(index, pod.host_interface().index);
    }
}

#[test]
fn a_failing_ip_command_is_the_one_that_is_named() {
    let lab = Lab::new().unwrap();
    let first = PodSpec::new("shop", "first", &[address("10.1.0.1")]);
    let twin = PodSpec::new("shop", "twin", &[address("10.1.0.1")]);
    let _first = lab.pod(first).unwrap();
    let error = lab.pod(twin).unwrap_err().to_string();
    assert!(error.contains("`ip route add 10.1.0.1/32 dev veth"), "{error}");
    assert!(error.contains("File exists"), "{error}");
}

#[test]
fn two_addresses_of_one_family_are_refused() {
    let lab = Lab::new().unwrap();
    let error = lab.pod(PodSpec::new("shop", "greedy", &[address("10.1.0.1"), address("10.1.0.2")])).unwrap_err();
    assert!(error.to_string().contains("at most one address of each family"), "{error}");
}

#[test]
fn a_removed_pod_is_gone_from_the_node() {
    let lab = Lab::new().unwrap();
    let (one, two) = two_pods(&lab);
    let _server = two.serve_tcp(80).unwrap();
    let interface = two.host_interface().name.clone();
    lab.remove(two);
    let lookup = lab.on_node(|| nix::net::if_::if_nametoindex(interface.as_str())).unwrap();
    assert_eq!(lookup, Err(nix::Error::ENODEV));
    assert!(!lab.netns_path().join("shop_two").exists());
    let outcome = one.connect_tcp(at("10.1.0.2", 80), SOON).unwrap().outcome;
    assert!(matches!(outcome, Outcome::Unreachable(_)), "{outcome:?}");
}
