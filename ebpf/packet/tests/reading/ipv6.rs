use podwitness_packet::{Fault, Fragment};
use podwitness_wire::ipv4_mapped;

use crate::frames::{
    AUTHENTICATION, DESTINATION_OPTIONS, DESTINATION_PORT, Extension, FRAGMENT, HOP_BY_HOP, ICMPV6, IN_EIGHTS, Ipv6,
    ROUTING, SCTP, SOURCE_PORT, TCP, UDP, icmp, in_eights, read, read_frame, sctp, tcp, udp,
};

const NO_NEXT_HEADER: u8 = 59;

const PORTS: (u16, u16) = (SOURCE_PORT, DESTINATION_PORT);

#[test]
fn the_transport_protocols_are_read() {
    for (protocol, payload) in [(TCP, tcp(2, 9)), (UDP, udp()), (SCTP, sctp())] {
        let ipv6 = Ipv6::new(protocol);
        let packet = read(&ipv6.frame(&payload));
        assert_eq!((packet.source, packet.destination), (ipv6.source, ipv6.destination));
        assert_eq!((packet.protocol, packet.transport_offset, packet.hop_limit), (protocol, 54, 64));
        assert_eq!((packet.source_port, packet.destination_port), PORTS);
    }
    let packet = read(&Ipv6::new(ICMPV6).frame(&icmp(129, 0, 77, &[])));
    assert_eq!((packet.icmp_type, packet.source_port, packet.destination_port), (129, 77, 77));
}

#[test]
fn every_extension_header_is_passed_over_at_every_length() {
    for kind in IN_EIGHTS.into_iter().chain([AUTHENTICATION]) {
        for more in [1, 2, 31, 255] {
            let packet = read(&Ipv6::with(TCP, [Extension::new(kind, more)]).frame(&tcp(2, 9)));
            assert_eq!(packet.protocol, TCP, "header {kind}, length {more}");
            assert_eq!((packet.source_port, packet.destination_port), PORTS, "header {kind}, length {more}");
        }
    }
}

#[test]
fn eight_extension_headers_are_read_and_nine_are_not() {
    let chain = |count| Ipv6::with(UDP, vec![Extension::new(DESTINATION_OPTIONS, 0); count]).frame(&udp());
    assert_eq!((read(&chain(8)).protocol, read(&chain(8)).source_port), (UDP, SOURCE_PORT));
    assert_eq!(read_frame(&chain(9)), Err(Fault::Malformed));
}

#[test]
fn all_kinds_stacked_are_read() {
    let mut extensions: Vec<Extension> =
        [HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING].map(|kind| Extension::new(kind, 1)).into();
    extensions.push(Extension::fragment(0, false, 1));
    extensions.extend([AUTHENTICATION, DESTINATION_OPTIONS].map(|kind| Extension::new(kind, 2)));
    let packet = read(&Ipv6::with(TCP, extensions).frame(&tcp(2, 9)));
    assert_eq!((packet.protocol, packet.source_port, packet.destination_port), (TCP, PORTS.0, PORTS.1));
}

#[test]
fn fragments_are_told_apart_and_later_ones_claim_no_ports() {
    let fragment = |offset, more| {
        let ipv6 = Ipv6::with(UDP, [Extension::fragment(offset, more, 0xfeed_beef)]);
        let packet = read(&ipv6.frame(&in_eights(udp())));
        (packet.fragment, packet.source_port)
    };
    assert_eq!(fragment(0, false), (Fragment::Whole, SOURCE_PORT), "atomic, RFC 6946");
    assert_eq!(fragment(0, true), (Fragment::First(0xfeed_beef), SOURCE_PORT));
    assert_eq!(fragment(1, true), (Fragment::Later(0xfeed_beef), 0));
    assert_eq!(fragment(0x1fff, false), (Fragment::Later(0xfeed_beef), 0));
}

#[test]
fn a_later_fragments_payload_is_not_read_as_headers() {
    // Its first header may be any extension header, of which this fragment has some middle part.
    let ipv6 = Ipv6::with(DESTINATION_OPTIONS, [Extension::fragment(4, true, 1)]);
    let packet = read(&ipv6.frame(&[0xff; 8]));
    assert_eq!((packet.protocol, packet.fragment), (DESTINATION_OPTIONS, Fragment::Later(1)));
}

#[test]
fn a_fragment_of_a_fragment_is_malformed() {
    for (inner_offset, inner_more) in [(0, false), (0, true), (3, true)] {
        let extensions = [Extension::fragment(0, true, 1), Extension::fragment(inner_offset, inner_more, 2)];
        let frame = Ipv6::with(UDP, extensions).frame(&in_eights(udp()));
        assert_eq!(read_frame(&frame), Err(Fault::Malformed));
    }
}

#[test]
fn a_first_fragment_without_the_whole_chain_is_malformed() {
    // RFC 7112: else its ports would be in a fragment that claims none.
    let ipv6 = Ipv6::with(DESTINATION_OPTIONS, [Extension::fragment(0, true, 1)]);
    assert_eq!(read_frame(&ipv6.frame(&[])), Err(Fault::Malformed));
    let ipv6 = Ipv6::with(TCP, [Extension::fragment(0, true, 1)]);
    assert_eq!(read_frame(&ipv6.frame(&tcp(2, 1)[..16])), Err(Fault::Malformed));
    assert!(read_frame(&ipv6.frame(&in_eights(tcp(2, 1)))).is_ok());
}

#[test]
fn an_ipv4_mapped_address_is_no_address_on_the_wire() {
    let mapped = ipv4_mapped([10, 1, 0, 5]);
    let from = Ipv6 { source: mapped, ..Ipv6::new(UDP) };
    let to = Ipv6 { destination: mapped, ..Ipv6::new(UDP) };
    for ipv6 in [from, to] {
        assert_eq!(read_frame(&ipv6.frame(&udp())), Err(Fault::Malformed));
    }
}

#[test]
fn what_stands_behind_the_packets_own_end_is_padding() {
    for (protocol, payload) in [(TCP, tcp(2, 1)), (UDP, udp()), (SCTP, sctp()), (ICMPV6, icmp(128, 0, 1, &[]))] {
        let mut frame = Ipv6::new(protocol).frame(&payload);
        frame[19] = 3;
        assert_eq!(read_frame(&frame), Err(Fault::Malformed), "protocol {protocol}");
    }
    let mut frame = Ipv6::with(47, [Extension::new(ROUTING, 1)]).frame(&[0; 8]);
    frame[19] = 8;
    assert_eq!(read_frame(&frame), Err(Fault::Malformed), "an extension header that is longer than the packet");
    let mut frame = Ipv6::with(UDP, [Extension::fragment(0, true, 1)]).frame(&udp());
    frame[19] = 4;
    assert_eq!(read_frame(&frame), Err(Fault::Malformed), "half a header of kind {FRAGMENT}");
}

/// Of an offloaded one (BIG TCP) the frame's length is the packet's; any other has no payload.
#[test]
fn a_payload_length_of_zero_is_that_of_a_packet_longer_than_any_length() {
    let mut frame = Ipv6::new(TCP).frame(&tcp(0x10, 1));
    frame[18..20].copy_from_slice(&[0, 0]);
    for (payload_bytes, is_read) in [(20, false), (0xffff, false), (0x1_0000, true)] {
        frame.resize(54 + payload_bytes, 0);
        assert_eq!(read_frame(&frame).is_ok(), is_read, "{payload_bytes} bytes");
    }
    assert_eq!((read(&frame).destination_port, read(&frame).end), (DESTINATION_PORT, 54 + 0x1_0000));
    // With the jumbo payload option (RFC 2675).
    let jumbo = Extension { kind: HOP_BY_HOP, rest: vec![0, 0xc2, 4, 0, 1, 0, 0] };
    let mut frame = Ipv6::with(TCP, [jumbo]).frame(&tcp(0x10, 1));
    frame[18..20].copy_from_slice(&[0, 0]);
    frame.resize(54 + 0x1_0000, 0);
    assert_eq!(read(&frame).destination_port, DESTINATION_PORT);
    let frame = Ipv6::new(NO_NEXT_HEADER).frame(&[]);
    assert_eq!((read(&frame).protocol, read(&frame).end), (NO_NEXT_HEADER, 54));
}

#[test]
fn a_routing_header_with_segments_left_is_malformed() {
    // The packet's destination stands in it (RFC 8200 section 4.4).
    for kind in [0, 2, 3, 4, 253] {
        for segments_left in 0..4 {
            let mut routing = Extension::new(ROUTING, 2);
            routing.rest[1] = kind;
            routing.rest[2] = segments_left;
            for fragment in [None, Some(Extension::fragment(0, true, 1)), Some(Extension::fragment(9, false, 1))] {
                let extensions: Vec<_> = [routing.clone()].into_iter().chain(fragment).collect();
                let frame = Ipv6::with(UDP, extensions).frame(&in_eights(udp()));
                let is_read = read_frame(&frame).is_ok();
                assert_eq!(is_read, segments_left == 0, "type {kind}, {segments_left} segments left");
            }
        }
    }
}

#[test]
fn a_hop_by_hop_header_stands_first_or_is_malformed() {
    for before in [DESTINATION_OPTIONS, ROUTING, AUTHENTICATION, HOP_BY_HOP] {
        let extensions = [Extension::new(before, 1), Extension::new(HOP_BY_HOP, 0)];
        assert_eq!(read_frame(&Ipv6::with(UDP, extensions).frame(&udp())), Err(Fault::Malformed));
    }
    let extensions = [Extension::fragment(0, false, 1), Extension::new(HOP_BY_HOP, 0)];
    assert_eq!(read_frame(&Ipv6::with(UDP, extensions).frame(&udp())), Err(Fault::Malformed));
}

#[test]
fn an_authentication_header_of_two_words_is_malformed() {
    let frame = Ipv6::with(UDP, [Extension::new(AUTHENTICATION, 0)]).frame(&udp());
    assert_eq!(read_frame(&frame), Err(Fault::Malformed));
}

#[test]
fn encryption_and_no_next_header_are_protocols_without_ports() {
    for protocol in [50, NO_NEXT_HEADER] {
        let packet = read(&Ipv6::new(protocol).frame(&[0xff; 24]));
        assert_eq!((packet.protocol, packet.source_port, packet.destination_port), (protocol, 0, 0));
    }
}

#[test]
fn a_later_fragment_over_the_transport_header_is_malformed() {
    for (protocol, least_offset) in [(TCP, 3), (SCTP, 2), (UDP, 1)] {
        for offset in 1..6 {
            let frame = Ipv6::with(protocol, [Extension::fragment(offset, false, 1)]).frame(&[0; 8]);
            assert_eq!(read_frame(&frame).is_ok(), offset >= least_offset, "protocol {protocol} at {offset}");
        }
    }
}

#[test]
fn a_fragment_that_is_not_the_last_is_a_multiple_of_eight_bytes() {
    for (offset, more, needs_eights) in [(0, true, true), (9, true, true), (9, false, false), (0, false, false)] {
        for length in 12..=24 {
            let mut datagram = udp();
            datagram.resize(length, 0);
            let extensions = [Extension::new(DESTINATION_OPTIONS, 1), Extension::fragment(offset, more, 1)];
            let frame = Ipv6::with(UDP, extensions).frame(&datagram);
            let expected = !needs_eights || length % 8 == 0;
            assert_eq!(read_frame(&frame).is_ok(), expected, "{offset}, {more}, {length} bytes");
        }
    }
}
