use podwitness_packet::{Fault, Fragment, read_frame};
use podwitness_wire::ipv4_mapped;

use crate::frames::{
    AUTHENTICATION, DESTINATION_OPTIONS, DESTINATION_PORT, Extension, FRAGMENT, HOP_BY_HOP, ICMPV6, IN_EIGHTS, Ipv6,
    ROUTING, SCTP, SOURCE_PORT, TCP, UDP, icmp, read, sctp, tcp, udp,
};

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
        for more in [0, 1, 2, 31, 255] {
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
    assert_eq!(read_frame(&chain(9).as_slice()), Err(Fault::Malformed));
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
        let packet = read(&Ipv6::with(UDP, [Extension::fragment(offset, more, 0xfeed_beef)]).frame(&udp()));
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
    let packet = read(&ipv6.frame(&[0xff; 3]));
    assert_eq!((packet.protocol, packet.fragment), (DESTINATION_OPTIONS, Fragment::Later(1)));
}

#[test]
fn a_fragment_of_a_fragment_is_malformed() {
    for (inner_offset, inner_more) in [(0, false), (0, true), (3, true)] {
        let extensions = [Extension::fragment(0, true, 1), Extension::fragment(inner_offset, inner_more, 2)];
        assert_eq!(read_frame(&Ipv6::with(UDP, extensions).frame(&udp()).as_slice()), Err(Fault::Malformed));
    }
}

#[test]
fn a_first_fragment_without_the_whole_chain_is_malformed() {
    // RFC 7112: else its ports would be in a fragment that claims none.
    let ipv6 = Ipv6::with(DESTINATION_OPTIONS, [Extension::fragment(0, true, 1)]);
    assert_eq!(read_frame(&ipv6.frame(&[]).as_slice()), Err(Fault::Malformed));
    let ipv6 = Ipv6::with(TCP, [Extension::fragment(0, true, 1)]);
    assert_eq!(read_frame(&ipv6.frame(&tcp(2, 1)[..16]).as_slice()), Err(Fault::Malformed));
}

#[test]
fn an_ipv4_mapped_address_is_no_address_on_the_wire() {
    let mapped = ipv4_mapped([10, 1, 0, 5]);
    let from = Ipv6 { source: mapped, ..Ipv6::new(UDP) };
    let to = Ipv6 { destination: mapped, ..Ipv6::new(UDP) };
    for ipv6 in [from, to] {
        assert_eq!(read_frame(&ipv6.frame(&udp()).as_slice()), Err(Fault::Malformed));
    }
}

#[test]
fn what_stands_behind_the_packets_own_end_is_padding() {
    for (protocol, payload) in [(TCP, tcp(2, 1)), (UDP, udp()), (SCTP, sctp()), (ICMPV6, icmp(128, 0, 1, &[]))] {
        let mut frame = Ipv6::new(protocol).frame(&payload);
        frame[19] = 3;
        assert_eq!(read_frame(&frame.as_slice()), Err(Fault::Malformed), "protocol {protocol}");
    }
    let mut frame = Ipv6::with(47, [Extension::new(ROUTING, 1)]).frame(&[0; 8]);
    frame[19] = 8;
    assert_eq!(
        read_frame(&frame.as_slice()),
        Err(Fault::Malformed),
        "an extension header that is longer than the packet"
    );
    let mut frame = Ipv6::with(UDP, [Extension::fragment(0, true, 1)]).frame(&udp());
    frame[19] = 4;
    assert_eq!(read_frame(&frame.as_slice()), Err(Fault::Malformed), "half a header of kind {FRAGMENT}");
}

#[test]
fn an_offloaded_packet_without_a_length_is_read() {
    let mut frame = Ipv6::new(TCP).frame(&tcp(0x10, 1));
    frame[18..20].copy_from_slice(&[0, 0]);
    assert_eq!(read(&frame).destination_port, DESTINATION_PORT);
}
