//! ICMP errors, and what a pod needs to live on its link.

use podwitness_wire::{Counter, Reason};

use crate::{
    fixture::{Kernel, OPENED},
    frames::{ICMPV6, IN, OUT, Pair, SYN, TCP, UDP, error, ethernet, icmp, packet_with_hop_limit},
    isolation::isolated,
    world::{World, families},
};

const DENIED: [Counter; 1] = [Counter::DeniedAttempts];

#[test]
fn an_error_about_a_connection_passes_and_another_is_decided_by_policy() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let (pod, peer, router) = (family.pod, family.peer, family.outside);
            let known = family.to(peer, 53);
            kernel.send(OUT, &known.udp(OUT)).passed(&OPENED);
            let sent = known.packet(OUT, UDP, &known.datagram(OUT));
            let received = known.packet(IN, UDP, &known.datagram(IN));
            // Into the pod: from the peer, and from any router in between.
            kernel.send(IN, &error(peer, pod, &sent)).passed(&[Counter::Related]);
            kernel.send(IN, &error(router, pod, &sent)).passed(&[Counter::Related]);
            // Out of the pod: about what it received.
            kernel.send(OUT, &error(pod, peer, &received)).passed(&[Counter::Related]);

            let unknown = family.to(peer, 54);
            for (direction, frame) in [
                (IN, error(router, pod, &unknown.packet(OUT, UDP, &unknown.datagram(OUT)))),
                (IN, error(router, pod, &known.packet(OUT, TCP, &known.segment(OUT, SYN, 1)))),
                (OUT, error(pod, peer, &unknown.packet(IN, UDP, &unknown.datagram(IN)))),
                // It quotes what went the other way.
                (IN, error(peer, pod, &received)),
            ] {
                kernel.send(direction, &frame).dropped(&DENIED);
                let (key, _) = kernel.denial();
                assert_eq!(key.reason, Reason::NoRule.number());
                let expected = if pod.is_ipv4() { (3, 1) } else { (1, 1) };
                assert_eq!((key.icmp_type, key.icmp_code), expected);
            }
        }
        kernel.assert_balance();
    });
}

#[test]
fn an_error_about_a_connection_that_is_denied_now_is_not_related() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let known = family.to(family.peer, 53);
            kernel.activate(&World::isolated());
            kernel.send(OUT, &known.udp(OUT)).passed(&OPENED);
            kernel.activate(&World::closed());
            kernel.send(OUT, &known.udp(OUT));
            let sent = known.packet(OUT, UDP, &known.datagram(OUT));
            kernel.send(IN, &error(family.peer, family.pod, &sent)).dropped(&DENIED);
        }
    });
}

#[test]
fn an_error_is_no_way_to_send_to_somebody_else() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let known = family.to(family.peer, 53);
            kernel.send(OUT, &known.udp(OUT)).passed(&OPENED);
            let received = known.packet(IN, UDP, &known.datagram(IN));
            kernel.send(OUT, &error(family.pod, family.outside, &received)).dropped(&DENIED);
        }
    });
}

#[test]
fn neighbour_discovery_passes_uncounted_as_a_connection() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        let link = |text: &str| text.parse().unwrap();
        for (source, destination, kind, hop_limit, directions) in [
            ("fe80::1", "ff02::2", 133, 255, &[OUT][..]),
            // A pod is no router.
            ("fe80::2", "ff02::1", 134, 255, &[IN]),
            ("::", "ff02::1:ff00:5", 135, 255, &[OUT, IN]),
            ("fd01::5", "ff02::1:ff00:1", 135, 255, &[OUT, IN]),
            ("fe80::1", "fe80::2", 136, 255, &[OUT, IN]),
            ("::", "ff02::16", 143, 1, &[OUT, IN]),
        ] {
            let message = icmp(kind, 0, 0, &[0; 16]);
            let frame = ethernet(&packet_with_hop_limit(link(source), link(destination), ICMPV6, hop_limit, &message));
            for direction in [OUT, IN] {
                let sent = kernel.send(direction, &frame);
                if directions.contains(&direction) {
                    sent.passed(&[Counter::Neighbour]);
                } else {
                    sent.dropped(&DENIED);
                }
            }
            // What has passed a router is none.
            let frame = ethernet(&packet_with_hop_limit(link(source), link(destination), ICMPV6, 64, &message));
            kernel.send(IN, &frame).dropped(&DENIED);
        }
        assert_eq!(kernel.connections(), []);
    });
}

#[test]
fn the_numbers_of_neighbour_discovery_in_ipv4_are_no_way_out() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        let family = families()[0];
        let message = icmp(135, 0, 0, &[0; 16]);
        let frame = ethernet(&packet_with_hop_limit(family.pod, family.outside, ICMPV6, 255, &message));
        kernel.send(OUT, &frame).dropped(&DENIED);
    });
}

#[test]
fn an_error_from_an_address_that_is_not_the_pods_own_is_spoofed() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let known = family.to(family.peer, 53);
            kernel.send(OUT, &known.udp(OUT)).passed(&OPENED);
            let received = known.packet(IN, UDP, &known.datagram(IN));
            kernel.send(OUT, &error(family.not_own, family.peer, &received)).dropped(&DENIED);
            assert_eq!(kernel.denial().0.reason, Reason::Spoofed.number());
        }
    });
}

/// Routers forward it: between two addresses of global scope only its receiver looks at the hop limit.
#[test]
fn neighbour_discovery_to_who_is_not_on_this_node_is_no_way_out() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        let family = families()[1];
        for kind in 133..=137 {
            let message = icmp(kind, 0, 0, b"sixteen bytes of secrets");
            for (destination, is_on_the_link) in [(family.outside, false), (family.peer, false), (family.node, true)] {
                let packet = packet_with_hop_limit(family.pod, destination, ICMPV6, 255, &message);
                let sent = kernel.send(OUT, &ethernet(&packet));
                if is_on_the_link && kind == 135 {
                    sent.passed(&[Counter::Neighbour]);
                } else if !is_on_the_link {
                    sent.dropped(&DENIED);
                }
            }
        }
    });
}

#[test]
fn dhcp_passes_on_the_link_and_is_no_way_out() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        let pair = |pod: &str, peer: &str| Pair { pod: pod.parse().unwrap(), peer: peer.parse().unwrap() };
        for (direction, pair) in [
            (OUT, pair("0.0.0.0:68", "255.255.255.255:67")),
            (IN, pair("255.255.255.255:68", "10.1.0.1:67")),
            (OUT, pair("[fe80::5]:546", "[ff02::1:2]:547")),
            (IN, pair("[fe80::5]:546", "[fe80::1]:547")),
        ] {
            kernel.send(direction, &pair.udp(direction)).passed(&[Counter::Neighbour]);
        }
        for pair in [pair("10.1.0.5:68", "198.51.100.1:67"), pair("[fd01::5]:546", "[2001:db8:2::1]:547")] {
            kernel.send(OUT, &pair.udp(OUT)).dropped(&DENIED);
        }
        assert_eq!(kernel.connections(), []);
    });
}

#[test]
fn a_vlan_tag_in_the_frame_changes_neither_the_connection_nor_its_bytes() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let frame = family.to(family.peer, 53).udp(OUT);
            let tagged = [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat();
            kernel.send(OUT, &tagged).passed(&OPENED);
            kernel.send(OUT, &frame).passed(&[]);
            let connections = kernel.connections();
            let (_, connection) =
                connections.iter().find(|(key, _)| key.pod == crate::world::address(family.pod)).unwrap();
            let bytes = u64::try_from(frame.len() - 14).unwrap();
            assert_eq!((connection.packets_out, connection.bytes_out), (2, 2 * bytes));
        }
    });
}
