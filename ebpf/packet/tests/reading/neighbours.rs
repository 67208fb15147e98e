use std::net::Ipv6Addr;

use podwitness_packet::{Fault, Frame, is_neighbour_discovery, read_frame, stays_on_link};

use crate::frames::{Extension, ICMPV6, Ipv4, Ipv6, ethernet, icmp, read};

fn is_discovery(kind: u8, hop_limit: u8) -> bool {
    is_neighbour_discovery(&read(&Ipv6 { hop_limit, ..Ipv6::new(ICMPV6) }.frame(&icmp(kind, 0, 0, &[0; 16]))))
}

#[test]
fn discovery_is_known_by_its_type_and_hop_limit() {
    for kind in 0..=255 {
        assert_eq!(is_discovery(kind, 255), (133..=137).contains(&kind), "type {kind}");
        assert_eq!(is_discovery(kind, 1), (130..=132).contains(&kind) || kind == 143, "type {kind}");
        assert!(!is_discovery(kind, 64), "type {kind} that has passed a router");
    }
}

#[test]
fn its_numbers_in_ipv4_are_not_discovery() {
    // Routers would forward it, with all that it carries.
    let ipv4 = Ipv4 { time_to_live: 255, ..Ipv4::new(ICMPV6) };
    assert!(!is_neighbour_discovery(&read(&ipv4.frame(&icmp(135, 0, 0, &[0; 16])))));
}

#[test]
fn fragmented_discovery_is_none() {
    // RFC 6980.
    let ipv6 = Ipv6 { hop_limit: 255, ..Ipv6::with(ICMPV6, [Extension::fragment(0, true, 1)]) };
    assert!(!is_neighbour_discovery(&read(&ipv6.frame(&icmp(135, 0, 0, &[0; 16])))));
}

#[test]
fn arp_is_told_from_what_is_neither() {
    assert_eq!(read_frame(&ethernet(0x0806, &[0; 28]).as_slice()), Ok(Frame::Arp));
    for ethertype in [0, 46, 0x05ff, 0x8100, 0x8847, 0x88a8, 0x88cc] {
        let frame = ethernet(ethertype, &Ipv4::new(6).packet(&[0; 40]));
        assert_eq!(read_frame(&frame.as_slice()), Err(Fault::NotIp), "{ethertype:#x}");
    }
}

#[test]
fn what_stays_on_the_link_is_told_by_the_addresses_scope() {
    let packet = |source: &str, destination: &str| {
        let [source, destination] = [source, destination].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
        read(&Ipv6 { source, destination, ..Ipv6::new(ICMPV6) }.frame(&icmp(135, 0, 0, &[0; 16])))
    };
    for (source, destination) in [
        ("fe80::1", "2001:db8::1"),
        ("2001:db8::1", "febf::1"),
        ("::", "ff02::1"),
        ("2001:db8::1", "ff02::1:ff00:1"),
        ("2001:db8::1", "ff12::1"),
    ] {
        assert!(stays_on_link(&packet(source, destination)), "{source} to {destination}");
    }
    for (source, destination) in [
        ("2001:db8::1", "2001:db8:2::1"),
        ("fd00::1", "fec0::1"),
        ("2001:db8::1", "ff05::1"),
        ("2001:db8::1", "ff0e::1"),
    ] {
        assert!(!stays_on_link(&packet(source, destination)), "{source} to {destination}");
    }
}
