//! Packets that nobody should send. None may pass for an isolated pod that policy does not allow, and each drop has its
//! reason counted.

use std::{
    env,
    net::{IpAddr, Ipv4Addr},
};

use podwitness_wire::{Counter, Reason};

use crate::{
    fixture::{Action, Kernel},
    frames::{
        ACK, FIN, GRE, ICMP, ICMPV6, IN, OUT, Pair, RST, SYN, TCP, UDP, error, ethernet, ethernet_of_type, icmp,
        packet_with_hop_limit,
    },
    isolation::isolated,
    world::{Family, World, address, families},
};

/// How much of a frame `BPF_PROG_TEST_RUN` wants at the least: newer kernels refuse half an IP header.
fn least_bytes(frame: &[u8]) -> usize {
    match frame[12..14] {
        [0x08, 0x00] => 14 + 20,
        [0x86, 0xdd] => 14 + 40,
        _ => 14,
    }
}

/// Frames of every kind, out of the pod.
pub(crate) fn of_every_kind(family: &Family) -> Vec<Vec<u8>> {
    let pair = family.https();
    let icmp_protocol = if family.pod.is_ipv4() { ICMP } else { ICMPV6 };
    let mut frames = vec![
        pair.tcp(OUT, SYN, 1),
        pair.tcp(OUT, FIN, 1),
        pair.udp(OUT),
        pair.sctp(OUT),
        pair.echo(OUT, 7),
        pair.frame(OUT, icmp_protocol, &icmp(13, 0, 7, &[0; 12])),
        pair.frame(OUT, GRE, &[0; 8]),
        pair.fragment(OUT, 1, 0, true),
        pair.fragment(OUT, 1, 2, false),
        pair.fragment(OUT, 2, 2, false),
        error(family.pod, family.peer, &pair.packet(IN, UDP, &pair.datagram(IN))),
    ];
    if family.pod.is_ipv6() {
        for kind in [0, 43, 60, 51, 135, 139, 140] {
            let mut payload = vec![TCP, 1, 0, 0, 0, 0, 0, 0];
            payload.resize(if kind == 51 { 12 } else { 16 }, 0);
            payload.extend(pair.segment(OUT, SYN, 1));
            frames.push(pair.frame(OUT, kind, &payload));
        }
    }
    frames
}

/// Nothing is allowed: whatever is sent is dropped, unless it is neighbour discovery, and has its reason counted.
fn assert_denied(kernel: &mut Kernel, direction: podwitness_wire::Direction, frame: &[u8], note: &str) {
    let sent = kernel.send(direction, frame);
    if sent.has_moved(Counter::Neighbour) {
        sent.passed(&[Counter::Neighbour]);
        let is_arp = frame[12..14] == [8, 6];
        let is_icmpv6 = frame[12..14] == [0x86, 0xdd];
        assert!(is_arp || is_icmpv6, "{note}: {frame:?}");
        return;
    }
    if sent.has_moved(Counter::DeniedAttempts) {
        sent.dropped(&[Counter::DeniedAttempts]);
    } else {
        // A segment like the one before.
        sent.dropped(&[]);
        assert_eq!(sent.action, Action::Drop);
    }
}

/// All that was denied is in the denial table.
fn assert_all_counted(kernel: &mut Kernel) {
    kernel.assert_balance();
    let dropped = kernel.outlet.counters().unwrap().get(Counter::PacketsDropped);
    let (denials, losses) = kernel.drain();
    assert_eq!(losses, []);
    assert_eq!(denials.iter().map(|(_, denial)| denial.packets).sum::<u64>(), dropped);
    assert!(denials.iter().all(|(key, _)| Reason::from_number(key.reason).is_some()));
    assert_eq!(kernel.connections(), []);
    assert_eq!(kernel.events(), []);
}

fn kernel_with_room() -> Kernel {
    let mut kernel = Kernel::with(&podwitness_datapath::Options { denials: 65_536, ..crate::fixture::options() });
    kernel.activate(&World::closed());
    kernel
}

#[test]
fn nothing_that_is_cut_short_passes() {
    isolated(|| {
        let mut kernel = kernel_with_room();
        for family in families() {
            for frame in of_every_kind(&family) {
                for length in least_bytes(&frame)..=frame.len() {
                    assert_denied(&mut kernel, OUT, &frame[..length], "cut");
                    assert_denied(&mut kernel, IN, &frame[..length], "cut");
                }
            }
        }
        assert_all_counted(&mut kernel);
    });
}

#[test]
fn what_is_cut_short_opens_no_other_connection_than_the_whole() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::open());
        for family in families() {
            for frame in of_every_kind(&family) {
                kernel.send(OUT, &frame);
            }
        }
        let whole: Vec<_> = kernel.connections().into_iter().map(|(key, _)| key).collect();
        assert!(whole.len() > 10);
        for family in families() {
            for frame in of_every_kind(&family) {
                for length in least_bytes(&frame)..frame.len() {
                    kernel.send(OUT, &frame[..length]);
                }
            }
        }
        for (key, _) in kernel.connections() {
            assert!(whole.contains(&key), "{key:?}");
        }
    });
}

#[test]
fn nothing_that_contradicts_itself_passes() {
    isolated(|| {
        let mut kernel = kernel_with_room();
        let [v4, v6] = families().map(|family| family.https().tcp(OUT, SYN, 1));
        for (frame, at, bytes) in [
            (&v4, 14, 0x65), // version 6 behind IPv4's type
            (&v4, 14, 0x44), // a header of sixteen bytes
            (&v4, 14, 0x4f), // a header longer than the packet
            (&v4, 17, 19),   // shorter than its own header
            (&v4, 17, 30),   // shorter than its TCP header
            (&v4, 46, 0x40), // a TCP header of sixteen bytes
            (&v6, 14, 0x45), // version 4 behind IPv6's type
            (&v6, 19, 10),   // shorter than its TCP header
            (&v6, 20, 0),    // a TCP header for a hop-by-hop header
        ] {
            let mut frame = frame.clone();
            frame[at] = bytes;
            for direction in [OUT, IN] {
                assert_denied(&mut kernel, direction, &frame, "contradiction");
                let (key, _) = kernel.denial();
                assert_eq!(key.reason, Reason::Malformed.number(), "byte {at} is {bytes:#x}");
            }
        }
    });
}

#[test]
fn what_is_no_ip_is_denied_with_its_own_reason() {
    isolated(|| {
        let mut kernel = kernel_with_room();
        for ethertype in [0x002e, 0x8100, 0x8847, 0x88a8, 0x88cc, 0xffff] {
            assert_denied(&mut kernel, OUT, &ethernet_of_type(ethertype, &[0; 46]), "no IP");
            let (key, _) = kernel.denial();
            assert_eq!(key.reason, Reason::NotIp.number(), "{ethertype:#x}");
        }
        kernel.activate(&World::open());
        kernel.send(OUT, &ethernet_of_type(0x88cc, &[0; 46])).passed(&[Counter::NotIsolatedUnparsed]);
    });
}

#[test]
fn an_ipv4_mapped_address_in_ipv6_does_not_pass_for_the_ipv4_address() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let [v4, v6] = families();
        let mut frame = v6.https().tcp(OUT, SYN, 1);
        frame[14 + 8..14 + 24].copy_from_slice(&crate::world::address(v4.pod));
        frame[14 + 24..14 + 40].copy_from_slice(&crate::world::address(v4.peer));
        kernel.send(OUT, &frame).dropped(&[Counter::DeniedAttempts]);
        assert_eq!(kernel.denial().0.reason, Reason::Malformed.number());
    });
}

#[test]
fn no_random_packet_passes() {
    isolated(|| {
        let seed = env::var("PODWITNESS_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        let note = format!("PODWITNESS_TEST_SEED={seed}");
        println!("{note}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut kernel = kernel_with_room();
        let kinds: Vec<Vec<u8>> = families().iter().flat_map(of_every_kind).collect();
        for _ in 0..6000 {
            let frame = if random.bool() {
                let mut frame = random.choice(&kinds).unwrap().clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(14..frame.len());
                    frame[at] = random.u8(..);
                }
                frame.truncate(random.usize(least_bytes(&frame)..=frame.len()));
                frame
            } else {
                let mut bytes = vec![0; random.usize(40..200)];
                random.fill(&mut bytes);
                ethernet_of_type(*random.choice(&[0x0800, 0x86dd, 0x8100]).unwrap(), &bytes)
            };
            let direction = if random.bool() { OUT } else { IN };
            assert_denied(&mut kernel, direction, &frame, &note);
        }
        assert_all_counted(&mut kernel);
    });
}

/// A pod on a bridge could take its neighbours' traffic by saying that their address is its own.
#[test]
fn a_pod_cannot_claim_another_address_on_its_link() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::open());
        let [v4, v6] = families();
        let (IpAddr::V4(own), IpAddr::V4(other)) = (v4.pod, v4.peer) else { panic!("the first family is IPv4") };
        let arp = |sender: Ipv4Addr| {
            let mut message = vec![0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1];
            message.extend(sender.octets());
            message.extend([0; 10]);
            ethernet_of_type(0x0806, &message)
        };
        let advertisement = |target: IpAddr| {
            let IpAddr::V6(target) = target else { panic!("the second family is IPv6") };
            let source = "fe80::5".parse().unwrap();
            let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
            message.extend(target.octets());
            ethernet(&packet_with_hop_limit(source, "ff02::1".parse().unwrap(), 58, 255, &message))
        };
        for (own, other) in [(arp(own), arp(other)), (advertisement(v6.pod), advertisement(v6.peer))] {
            kernel.send(OUT, &own).passed(&[Counter::Neighbour]);
            kernel.send(OUT, &other).dropped(&[Counter::DeniedAttempts]);
            let (key, _) = kernel.denial();
            assert_eq!(key.reason, Reason::Spoofed.number());
            assert!([v4.peer, v6.peer].map(address).contains(&key.pod), "it says which was claimed");
            // Of others the pod may hear what they say of themselves.
            kernel.send(IN, &other).passed(&[Counter::Neighbour]);
        }
    });
}

/// What leaves a pod as an answer to a connection that nobody saw begin is from its own address too.
#[test]
fn a_pretended_answer_from_another_address_is_spoofed() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::open());
        for family in families() {
            for source in [family.not_own, family.node, family.outside] {
                for (port, flags) in [(443, SYN | ACK), (80, ACK), (80, RST)] {
                    let pair = Pair { pod: (source, port).into(), peer: (family.peer, 40_000).into() };
                    kernel.send(OUT, &pair.tcp(OUT, flags, 1)).dropped(&[Counter::DeniedAttempts]);
                    let (key, _) = kernel.denial();
                    assert_eq!((key.reason, key.pod), (Reason::Spoofed.number(), address(source)));
                }
            }
        }
        assert_eq!(kernel.connections(), []);
    });
}

/// Who may be asked whether it is there may not therefore ask.
#[test]
fn an_echo_request_is_no_reply() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated_with_everything_out());
        for family in families() {
            let pair = family.to(family.peer, 0);
            assert_eq!(kernel.send(OUT, &pair.echo(OUT, 7)).action, Action::Next);
            kernel.send(IN, &pair.echo(IN, 7)).passed(&[]);
            let (protocol, kind) = if family.pod.is_ipv4() { (ICMP, 8) } else { (ICMPV6, 128) };
            let request = pair.frame(IN, protocol, &icmp(kind, 0, 7, &[]));
            kernel.send(IN, &request).dropped(&[Counter::DeniedAttempts]);
        }
    });
}
