use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use podwitness_packet::{LinkMessage, link_message};
use podwitness_wire::{Address, ipv4_mapped};

use crate::frames::{
    CUSTOMER_TAG, DESTINATION_OPTIONS, Extension, HOP_BY_HOP, ICMPV6, Ipv4, Ipv6, Read, UDP, arp, icmp, read,
    read_frame, tagged,
};

const OUT: bool = true;
const IN: bool = false;

fn address(text: &str) -> Address {
    match text.parse().unwrap() {
        IpAddr::V4(v4) => ipv4_mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

fn message(frame: &[u8], leaves_pod: bool) -> Option<LinkMessage> {
    link_message(&frame, &read(frame), leaves_pod)
}

fn claiming(claims: Option<&str>, stays_on_link: bool) -> LinkMessage {
    LinkMessage { claims: claims.map(address), stays_on_link }
}

/// An ICMPv6 message whose target, where it has one, is `fd00::42`.
fn ndp(source: &str, destination: &str, kind: u8, hop_limit: u8) -> Vec<u8> {
    let ipv6 = Ipv6 { source: v6(source), destination: v6(destination), hop_limit, ..Ipv6::new(ICMPV6) };
    ipv6.frame(&icmp(kind, 0, 0, &v6("fd00::42")))
}

#[test]
fn each_message_passes_in_the_direction_of_a_host_alone() {
    for kind in 0..=255 {
        for (hop_limit, out, into) in [
            (255, [133, 135, 136].contains(&kind), (134..=137).contains(&kind)),
            (1, [131, 132, 143].contains(&kind), (130..=132).contains(&kind) || kind == 143),
            (64, false, false),
            (254, false, false),
        ] {
            let frame = ndp("fe80::1", "ff02::1", kind, hop_limit);
            assert_eq!(message(&frame, OUT).is_some(), out, "type {kind}, hop limit {hop_limit}, out of the pod");
            assert_eq!(message(&frame, IN).is_some(), into, "type {kind}, hop limit {hop_limit}, into the pod");
        }
    }
}

#[test]
fn what_a_sender_claims_is_what_its_receivers_learn() {
    for (source, destination, kind, claims) in [
        ("fd00::5", "ff02::1:ff00:42", 135, Some("fd00::5")),
        ("::", "ff02::1:ff00:42", 135, Some("fd00::42")),
        ("fe80::5", "ff02::1", 136, Some("fd00::42")),
        ("fd00::5", "fe80::1", 136, Some("fd00::42")),
        ("fe80::5", "ff02::2", 133, Some("fe80::5")),
        ("::", "ff02::2", 133, None),
    ] {
        let frame = ndp(source, destination, kind, 255);
        assert_eq!(message(&frame, OUT), Some(claiming(claims, true)), "{source} to {destination}, type {kind}");
        assert_eq!(message(&tagged(&[CUSTOMER_TAG], &frame), OUT), Some(claiming(claims, true)), "behind a VLAN tag");
    }
    for (source, claims) in [("fe80::5", Some("fe80::5")), ("::", None)] {
        assert_eq!(message(&ndp(source, "ff02::16", 143, 1), OUT), Some(claiming(claims, true)));
    }
    let mut unspecified = ndp("fe80::5", "ff02::1", 136, 255);
    unspecified[62..78].fill(0);
    assert_eq!(message(&unspecified, OUT), Some(claiming(None, true)));
}

#[test]
fn discovery_between_addresses_of_wider_scope_is_told_apart() {
    // As hosts on one link exchange it; but a router forwards it like any packet.
    for kind in [135, 136] {
        for (source, destination, stays) in [
            ("fd00::5", "fd00::1", false),
            ("2001:db8::1", "2001:db8:2::1", false),
            ("fd00::1", "fec0::1", false),
            ("2001:db8::1", "ff05::1", false),
            ("2001:db8::1", "ff0e::1", false),
            ("fe80::1", "2001:db8::1", true),
            ("2001:db8::1", "febf::1", true),
            ("::", "ff02::1", true),
            ("2001:db8::1", "ff02::1:ff00:1", true),
            ("2001:db8::1", "ff12::1", true),
        ] {
            for direction in [OUT, IN] {
                let read = message(&ndp(source, destination, kind, 255), direction).unwrap();
                assert_eq!(read.stays_on_link, stays, "{source} to {destination}");
            }
        }
    }
    for (kind, hop_limit, direction) in [(133, 255, OUT), (134, 255, IN), (137, 255, IN), (143, 1, OUT), (130, 1, IN)] {
        assert_eq!(
            message(&ndp("fd00::5", "fd00::1", kind, hop_limit), direction),
            None,
            "type {kind} stays or is none"
        );
    }
}

#[test]
fn only_a_link_local_router_advertises_or_redirects() {
    for kind in [134, 137] {
        for source in ["fd00::1", "::"] {
            assert_eq!(message(&ndp(source, "ff02::1", kind, 255), IN), None, "RFC 4861 sections 6.1.2 and 8.1");
        }
    }
}

#[test]
fn half_a_message_and_one_of_another_code_are_none() {
    let ipv6 = Ipv6 { source: v6("fe80::5"), destination: v6("ff02::1"), hop_limit: 255, ..Ipv6::new(ICMPV6) };
    for kind in [135, 136] {
        for length in 0..16 {
            let mut frame = ipv6.frame(&icmp(kind, 0, 0, &vec![0xfd; length]));
            assert_eq!(message(&frame, OUT), None, "{length} bytes of the target");
            frame.resize(100, 0xfd);
            assert_eq!(message(&frame, OUT), None, "{length} bytes of the target and padding");
        }
        assert_eq!(message(&ipv6.frame(&icmp(kind, 1, 0, &[0; 16])), OUT), None, "RFC 4861 section 7.1");
    }
}

#[test]
fn its_numbers_in_ipv4_are_none() {
    // Routers would forward it, with all that it carries.
    for (kind, time_to_live) in [(135, 255), (136, 255), (143, 1)] {
        let ipv4 = Ipv4 { source: [169, 254, 0, 1], time_to_live, ..Ipv4::new(ICMPV6) };
        assert_eq!(message(&ipv4.frame(&icmp(kind, 0, 0, &[0; 16])), OUT), None);
    }
}

#[test]
fn fragmented_discovery_is_none() {
    // RFC 6980; an atomic fragment is one too.
    for more in [true, false] {
        let ipv6 = Ipv6 {
            source: v6("fe80::5"),
            destination: v6("ff02::1"),
            hop_limit: 255,
            ..Ipv6::with(ICMPV6, [Extension::fragment(0, more, 1)])
        };
        assert_eq!(message(&ipv6.frame(&icmp(135, 0, 0, &[0; 16])), OUT), None);
        let ipv6 = Ipv6 { hop_limit: 1, ..ipv6 };
        assert_eq!(message(&ipv6.frame(&icmp(143, 0, 0, &[0; 16])), OUT), None);
    }
}

#[test]
fn listener_messages_alone_stand_behind_a_hop_by_hop_header() {
    let router_alert = Extension { kind: HOP_BY_HOP, rest: vec![0, 5, 2, 0, 0, 1, 0] };
    let behind = |extensions: &[Extension], kind, hop_limit| {
        let ipv6 =
            Ipv6 { source: v6("fe80::5"), destination: v6("ff02::16"), hop_limit, ..Ipv6::with(ICMPV6, extensions) };
        message(&ipv6.frame(&icmp(kind, 0, 0, &[0; 16])), OUT)
    };
    assert_eq!(behind(std::slice::from_ref(&router_alert), 143, 1), Some(claiming(Some("fe80::5"), true)));
    assert_eq!(behind(&[Extension::new(HOP_BY_HOP, 2)], 143, 1), Some(claiming(Some("fe80::5"), true)));
    assert_eq!(behind(&[], 143, 1), Some(claiming(Some("fe80::5"), true)));
    assert_eq!(behind(&[router_alert.clone(), Extension::new(DESTINATION_OPTIONS, 0)], 143, 1), None);
    assert_eq!(behind(&[router_alert.clone(), Extension::fragment(0, false, 1)], 143, 1), None);
    assert_eq!(behind(&[Extension::new(DESTINATION_OPTIONS, 0)], 143, 1), None);
    assert_eq!(behind(&[router_alert], 135, 255), None);
}

fn datagram(source_port: u16, destination_port: u16) -> Vec<u8> {
    let mut datagram = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
    datagram.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    datagram
}

#[test]
fn dhcpv6_passes_from_client_to_servers_and_back_on_the_link_alone() {
    let read = |source: &str, destination: &str, ports: (u16, u16), direction| {
        let ipv6 = Ipv6 { source: v6(source), destination: v6(destination), ..Ipv6::new(UDP) };
        message(&ipv6.frame(&datagram(ports.0, ports.1)), direction)
    };
    let (solicit, reply) = ((546, 547), (547, 546));
    assert_eq!(read("fe80::5", "ff02::1:2", solicit, OUT), Some(claiming(Some("fe80::5"), true)));
    assert_eq!(read("fe80::5", "fe80::1", solicit, OUT), Some(claiming(Some("fe80::5"), true)));
    assert_eq!(read("fe80::1", "fe80::5", reply, IN), Some(claiming(Some("fe80::1"), true)));
    for (source, destination, ports, direction) in [
        ("fd00::5", "ff02::1:2", solicit, OUT),
        ("::", "ff02::1:2", solicit, OUT),
        ("fe80::5", "ff05::1:3", solicit, OUT),
        ("fe80::5", "ff02::1", solicit, OUT),
        ("fe80::5", "fd00::1", solicit, OUT),
        ("fe80::5", "fe80::1", reply, OUT),
        ("fe80::5", "fe80::1", (546, 546), OUT),
        ("fe80::5", "fe80::1", (1024, 547), OUT),
        ("fe80::5", "ff02::1:2", solicit, IN),
        ("fe80::1", "fe80::5", solicit, IN),
        ("fe80::1", "ff02::1:2", reply, IN),
        ("fd00::1", "fe80::5", reply, IN),
        ("fe80::1", "fd00::5", reply, IN),
    ] {
        assert_eq!(read(source, destination, ports, direction), None, "{source} to {destination}, {ports:?}");
    }
    let behind = Ipv6 {
        source: v6("fe80::5"),
        destination: v6("ff02::1:2"),
        ..Ipv6::with(UDP, [Extension::fragment(0, false, 1)])
    };
    assert_eq!(message(&behind.frame(&datagram(546, 547)), OUT), None);
}

#[test]
fn dhcpv4_passes_as_a_broadcast_alone() {
    let read = |source: &str, destination: &str, ports: (u16, u16), direction| {
        let [source, destination] = [source, destination].map(|text| text.parse::<Ipv4Addr>().unwrap().octets());
        message(&Ipv4 { source, destination, ..Ipv4::new(UDP) }.frame(&datagram(ports.0, ports.1)), direction)
    };
    let (discover, offer) = ((68, 67), (67, 68));
    assert_eq!(read("0.0.0.0", "255.255.255.255", discover, OUT), Some(claiming(None, true)));
    assert_eq!(read("10.1.0.1", "255.255.255.255", offer, IN), Some(claiming(Some("10.1.0.1"), true)));
    for (source, destination, ports, direction) in [
        ("10.1.0.5", "255.255.255.255", discover, OUT),
        ("0.0.0.0", "10.1.0.1", discover, OUT),
        ("0.0.0.0", "10.1.0.255", discover, OUT),
        ("0.0.0.0", "255.255.255.255", offer, OUT),
        ("0.0.0.0", "255.255.255.255", (68, 53), OUT),
        ("0.0.0.0", "255.255.255.255", discover, IN),
        ("10.1.0.1", "10.1.0.5", offer, IN),
        ("10.1.0.1", "255.255.255.255", (53, 68), IN),
    ] {
        assert_eq!(read(source, destination, ports, direction), None, "{source} to {destination}, {ports:?}");
    }
    let fragment = Ipv4 { source: [0; 4], destination: [255; 4], flags_and_offset: 0x2000, ..Ipv4::new(UDP) };
    let payload = crate::frames::in_eights(datagram(68, 67));
    assert_eq!(message(&fragment.frame(&payload), OUT), None);
}

#[test]
fn arp_claims_its_sender() {
    let message = |sender| match read_frame(&arp(1, sender, [10, 1, 0, 1])) {
        Ok(Read::Arp(message)) => Some(message.link_message()),
        other => panic!("{other:?}"),
    };
    assert_eq!(message([10, 1, 0, 5]), Some(claiming(Some("10.1.0.5"), true)));
    assert_eq!(message([0; 4]), Some(claiming(None, true)), "a probe, RFC 5227");
}
