use podwitness_packet::{Packet, read_quoted};
use podwitness_wire::ipv4_mapped;

use crate::frames::{
    CUSTOMER_TAG, DESTINATION_PORT, Extension, ICMP, ICMPV6, Ipv4, Ipv6, SOURCE_PORT, TCP, UDP, icmp, read,
    record_route, tagged, tcp, udp,
};

/// What the pod 10.1.0.5 sent to 192.0.2.7.
fn sent_v4(protocol: u8) -> Ipv4 {
    Ipv4::new(protocol)
}

fn sent_v6(protocol: u8) -> Ipv6 {
    Ipv6::new(protocol)
}

fn error_v4(kind: u8, quoted: &[u8]) -> Vec<u8> {
    // A router in between says it, not the destination.
    let outer = Ipv4 { source: [203, 0, 113, 1], destination: sent_v4(0).source, ..Ipv4::new(ICMP) };
    outer.frame(&icmp(kind, 1, 0, quoted))
}

fn error_v6(kind: u8, quoted: &[u8]) -> Vec<u8> {
    let sent = sent_v6(0);
    Ipv6 { source: sent.destination, destination: sent.source, ..Ipv6::new(ICMPV6) }.frame(&icmp(kind, 0, 0, quoted))
}

fn quoted(frame: &[u8]) -> Option<Packet> {
    let mut quoted = Packet::default();
    read_quoted(&frame, &read(frame), &mut quoted).then_some(quoted)
}

#[test]
fn an_error_quotes_addresses_and_ports() {
    for (protocol, payload) in [(TCP, tcp(2, 1)), (UDP, udp())] {
        // Eight bytes of it are all that RFC 792 asks for.
        let packet = quoted(&error_v4(3, &sent_v4(protocol).packet(&payload)[..28])).unwrap();
        assert_eq!(packet.source, ipv4_mapped([10, 1, 0, 5]));
        assert_eq!(packet.destination, ipv4_mapped([192, 0, 2, 7]));
        assert_eq!(
            (packet.protocol, packet.source_port, packet.destination_port),
            (protocol, SOURCE_PORT, DESTINATION_PORT)
        );
        let packet = quoted(&error_v6(1, &sent_v6(protocol).packet(&payload)[..48])).unwrap();
        assert_eq!((packet.source, packet.destination), (sent_v6(0).source, sent_v6(0).destination));
        assert_eq!(
            (packet.protocol, packet.source_port, packet.destination_port),
            (protocol, SOURCE_PORT, DESTINATION_PORT)
        );
    }
}

#[test]
fn options_extension_headers_and_echo_are_read_in_a_quote_too() {
    let with_options = Ipv4 { options: record_route(8), ..sent_v4(UDP) }.packet(&udp());
    assert_eq!(quoted(&error_v4(11, &with_options)).unwrap().destination_port, DESTINATION_PORT);
    let with_header = Ipv6::with(UDP, [Extension::new(60, 1)]).packet(&udp());
    assert_eq!(quoted(&error_v6(3, &with_header)).unwrap().destination_port, DESTINATION_PORT);
    assert_eq!(quoted(&error_v4(3, &sent_v4(ICMP).packet(&icmp(8, 0, 77, &[])))).unwrap().source_port, 77);
}

#[test]
fn only_errors_quote() {
    let (v4, v6) = (sent_v4(UDP).packet(&udp()), sent_v6(UDP).packet(&udp()));
    for kind in 0..=255 {
        let expected = matches!(kind, 3 | 4 | 5 | 11 | 12);
        assert_eq!(quoted(&error_v4(kind, &v4)).is_some(), expected, "ICMP type {kind}");
        assert_eq!(quoted(&error_v6(kind, &v6)).is_some(), (1..=4).contains(&kind), "ICMPv6 type {kind}");
    }
}

#[test]
fn an_error_that_does_not_go_to_the_sender_of_what_it_quotes_is_none() {
    // Else a pod could send anything anywhere, by quoting one connection that it has.
    let quote = sent_v4(UDP).packet(&udp());
    let outer = Ipv4 { source: [192, 0, 2, 7], destination: [198, 51, 100, 1], ..Ipv4::new(ICMP) };
    assert_eq!(quoted(&outer.frame(&icmp(3, 1, 0, &quote))), None);
    let quote = sent_v6(UDP).packet(&udp());
    let outer = Ipv6 { source: sent_v6(0).destination, destination: [0xfd; 16], ..Ipv6::new(ICMPV6) };
    assert_eq!(quoted(&outer.frame(&icmp(1, 1, 0, &quote))), None);
}

#[test]
fn an_error_of_the_other_family_quotes_nothing() {
    let quote = sent_v4(UDP).packet(&udp());
    assert_eq!(quoted(&Ipv6::new(ICMP).frame(&icmp(3, 1, 0, &quote))), None);
    let quote = sent_v6(UDP).packet(&udp());
    assert_eq!(quoted(&Ipv4::new(ICMPV6).frame(&icmp(1, 1, 0, &quote))), None);
}

#[test]
fn an_error_about_a_later_fragment_is_none() {
    // RFC 1122 section 3.2.2; it has no ports to find a connection by.
    let fragment = |flags_and_offset| Ipv4 { flags_and_offset, ..sent_v4(UDP) }.packet(&udp());
    assert!(quoted(&error_v4(11, &fragment(0x2000))).is_some());
    assert_eq!(quoted(&error_v4(11, &fragment(0x2009))), None);
    let fragment = |offset| Ipv6::with(UDP, [Extension::fragment(offset, true, 1)]).packet(&udp());
    assert!(quoted(&error_v6(3, &fragment(0))).is_some());
    assert_eq!(quoted(&error_v6(3, &fragment(9))), None);
}

#[test]
fn an_error_behind_a_vlan_tag_quotes_too() {
    let frame = tagged(&[CUSTOMER_TAG], &error_v4(3, &sent_v4(UDP).packet(&udp())));
    assert_eq!(quoted(&frame).unwrap().destination_port, DESTINATION_PORT);
}

#[test]
fn a_fragmented_error_and_a_broken_quote_are_none() {
    let quote = sent_v4(UDP).packet(&udp());
    let frame = error_v4(3, &quote);
    let mut fragmented = frame.clone();
    fragmented[20] = 0x20;
    assert_eq!(quoted(&fragmented), None);
    for length in 0..quote.len() {
        // Whole up to the ports and the four bytes behind them (RFC 792), or nothing; what stands behind the error is
        // padding.
        let mut frame = error_v4(3, &quote[..length]);
        assert_eq!(quoted(&frame).is_some(), length >= 28, "{length} bytes");
        frame.extend(&quote[length..]);
        assert_eq!(quoted(&frame).is_some(), length >= 28, "{length} bytes and padding");
    }
    let mut no_ip = quote;
    no_ip[0] = 0x55;
    assert_eq!(quoted(&error_v4(3, &no_ip)), None);
}
