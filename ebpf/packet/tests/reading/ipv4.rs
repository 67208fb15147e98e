use podwitness_packet::{Fault, Fragment, tcp};
use podwitness_wire::ipv4_mapped;

use crate::frames::{
    DESTINATION_PORT, ICMP, Ipv4, SCTP, SOURCE_PORT, TCP, UDP, icmp, in_eights, read, read_frame, record_route, sctp,
    tcp, udp,
};

#[test]
fn a_tcp_segment_is_read_whole() {
    let packet = read(&Ipv4::new(TCP).frame(&tcp(tcp::SYN | tcp::ACK, 0xdead_beef)));
    assert_eq!(packet.source, ipv4_mapped([10, 1, 0, 5]));
    assert_eq!(packet.destination, ipv4_mapped([192, 0, 2, 7]));
    assert_eq!((packet.source_port, packet.destination_port), (SOURCE_PORT, DESTINATION_PORT));
    assert_eq!((packet.protocol, packet.tcp_flags, packet.sequence), (TCP, tcp::SYN | tcp::ACK, 0xdead_beef));
    assert_eq!((packet.hop_limit, packet.transport_offset, packet.fragment), (64, 34, Fragment::Whole));
    assert_eq!((packet.icmp_type, packet.icmp_code), (0, 0));
}

#[test]
fn options_of_every_length_are_passed_over() {
    for words in 0..=10 {
        let ipv4 = Ipv4 { options: record_route(words * 4), ..Ipv4::new(UDP) };
        let packet = read(&ipv4.frame(&udp()));
        assert_eq!((packet.source_port, packet.destination_port), (SOURCE_PORT, DESTINATION_PORT), "{words} words");
        assert_eq!(packet.transport_offset, 34 + u32::from(words) * 4);
    }
}

#[test]
fn sctp_has_ports_and_nothing_else() {
    let packet = read(&Ipv4::new(SCTP).frame(&sctp()));
    assert_eq!((packet.source_port, packet.destination_port), (SOURCE_PORT, DESTINATION_PORT));
    assert_eq!((packet.tcp_flags, packet.sequence), (0, 0));
}

#[test]
fn echo_has_its_identifier_for_ports_and_other_icmp_has_none() {
    for (kind, identifier) in [(0, 77), (8, 77), (3, 0), (11, 0), (13, 0)] {
        let packet = read(&Ipv4::new(ICMP).frame(&icmp(kind, 4, 77, b"data")));
        assert_eq!((packet.icmp_type, packet.icmp_code), (kind, 4));
        assert_eq!((packet.source_port, packet.destination_port), (identifier, identifier), "type {kind}");
    }
}

#[test]
fn other_protocols_have_no_ports() {
    let packet = read(&Ipv4::new(47).frame(&[0xff; 8]));
    assert_eq!((packet.protocol, packet.source_port, packet.destination_port), (47, 0, 0));
}

#[test]
fn fragments_are_told_apart_and_later_ones_claim_no_ports() {
    let fragment = |flags_and_offset| {
        let ipv4 = Ipv4 { flags_and_offset, identification: 0xabcd, ..Ipv4::new(UDP) };
        let packet = read(&ipv4.frame(&in_eights(udp())));
        (packet.fragment, packet.source_port)
    };
    assert_eq!(fragment(0x4000), (Fragment::Whole, SOURCE_PORT), "don't fragment");
    assert_eq!(fragment(0x2000), (Fragment::First(0xabcd), SOURCE_PORT));
    assert_eq!(fragment(0x2001), (Fragment::Later(0xabcd), 0), "in the middle");
    assert_eq!(fragment(0x1fff), (Fragment::Later(0xabcd), 0), "the last");
}

#[test]
fn a_transport_header_behind_the_packets_own_end_is_padding() {
    for (protocol, payload) in [(TCP, tcp(tcp::SYN, 1)), (UDP, udp()), (SCTP, sctp()), (ICMP, icmp(8, 0, 1, &[]))] {
        let mut frame = Ipv4::new(protocol).frame(&payload);
        for total in 20..24u8 {
            frame[16..18].copy_from_slice(&[0, total]);
            assert_eq!(read_frame(&frame), Err(Fault::Malformed), "protocol {protocol}, {total} bytes");
        }
    }
}

#[test]
fn ethernet_padding_changes_nothing() {
    let frame = Ipv4::new(UDP).frame(&udp());
    let mut padded = frame.clone();
    padded.resize(60, 0xff);
    assert_eq!(read(&padded), read(&frame));
}

/// Of an offloaded one (BIG TCP) the frame's length is the packet's; of any other it is a lie.
#[test]
fn a_total_length_of_zero_is_that_of_a_packet_longer_than_any_length() {
    let mut frame = Ipv4::new(TCP).frame(&tcp(tcp::ACK, 1));
    frame[16..18].copy_from_slice(&[0, 0]);
    for (packet_bytes, is_read) in [(40, false), (0xffff, false), (0x1_0000, true), (0x2_0000, true)] {
        frame.resize(14 + packet_bytes, 0);
        let read = read_frame(&frame);
        assert_eq!(read.is_ok(), is_read, "{packet_bytes} bytes: {read:?}");
    }
    let packet = read(&frame);
    assert_eq!((packet.destination_port, packet.end), (DESTINATION_PORT, 14 + 0x2_0000));
}

#[test]
fn options_are_walked_and_none_of_a_wrong_length_is_accepted() {
    let is_read = |options: &[u8]| {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        read_frame(&Ipv4 { options, ..Ipv4::new(UDP) }.frame(&udp())).is_ok()
    };
    assert!(is_read(&[148, 4, 0, 0]), "router alert, RFC 2113");
    assert!(is_read(&[1, 7, 7, 4, 0, 0, 0, 0]), "record route, RFC 791");
    assert!(is_read(&[68, 8, 5, 0, 0, 0, 0, 0, 148, 4, 0, 0]), "a timestamp and a router alert");
    assert!(is_read(&[0, 148, 0, 0]), "what follows the end of options is none");
    assert!(is_read(&[148, 40].into_iter().chain([0; 38]).collect::<Vec<_>>()));
    for length in [0, 1, 5, 255] {
        assert!(!is_read(&[148, length, 0, 0]), "an option of {length} bytes in four");
        assert!(!is_read(&[1, 1, 1, 1, 148, length, 0, 0]), "an option of {length} bytes in four");
    }
    assert!(!is_read(&[1, 1, 1, 148]), "an option without a length");
    assert!(is_read(&[1; 16]) && !is_read(&[1; 20]), "no more than sixteen are read");
    let before = |count| [vec![1; count], vec![148, 4, 0, 0]].concat();
    assert!(is_read(&before(15)) && !is_read(&before(16)), "no more than sixteen are read");
}

#[test]
fn a_source_routed_packet_is_malformed() {
    // Its real destination stands in the option.
    for kind in [131, 137] {
        let route = [kind, 7, 4, 198, 51, 100, 1, 0];
        for before in 0..4 {
            let mut options = vec![1; before * 4];
            options.extend(route);
            let frame = Ipv4 { options, ..Ipv4::new(UDP) }.frame(&udp());
            assert_eq!(read_frame(&frame), Err(Fault::Malformed), "option {kind} behind {before} words");
        }
        let hidden = Ipv4 { options: vec![148, 12, 0, 0, kind, 7, 4, 198, 51, 100, 1, 0], ..Ipv4::new(UDP) };
        assert!(read_frame(&hidden.frame(&udp())).is_ok(), "the data of another option is no route");
        let ended = Ipv4 { options: vec![1, 1, 1, kind, 7, 8, 198, 51, 100, 1, 0, 0], ..Ipv4::new(UDP) };
        assert_eq!(read_frame(&ended.frame(&udp())), Err(Fault::Malformed), "at its end too (RFC 7126)");
    }
}

/// RFC 1858, RFC 3128: such a fragment would change the flags that were decided on.
#[test]
fn a_later_fragment_over_the_transport_header_is_malformed() {
    for (protocol, least_offset) in [(TCP, 3), (SCTP, 2), (UDP, 1), (ICMP, 1), (47, 1)] {
        for offset in 1..6 {
            let frame = Ipv4 { flags_and_offset: offset, ..Ipv4::new(protocol) }.frame(&[0; 12]);
            let is_read = read_frame(&frame).is_ok();
            assert_eq!(is_read, offset >= least_offset, "protocol {protocol} at {offset}");
        }
    }
}

#[test]
fn a_fragment_that_is_not_the_last_is_a_multiple_of_eight_bytes() {
    for (flags_and_offset, needs_eights) in [(0x2000, true), (0x2009, true), (9, false), (0, false)] {
        for length in 20..=40 {
            let mut segment = tcp(2, 1);
            segment.resize(length, 0);
            let frame = Ipv4 { flags_and_offset, ..Ipv4::new(TCP) }.frame(&segment);
            let expected = !needs_eights || length % 8 == 0;
            assert_eq!(read_frame(&frame).is_ok(), expected, "{flags_and_offset:#x}, {length} bytes");
        }
    }
}

/// RFC 1858: a tiny first fragment keeps the flags out of what is decided on.
#[test]
fn a_first_fragment_without_the_whole_transport_header_is_malformed() {
    for (protocol, payload) in [(TCP, tcp(2, 1)), (SCTP, sctp())] {
        for length in [0, 8, 16, 24] {
            let mut part = payload.clone();
            part.resize(length, 0);
            let frame = Ipv4 { flags_and_offset: 0x2000, ..Ipv4::new(protocol) }.frame(&part);
            let is_whole = length >= if protocol == TCP { 20 } else { 12 };
            assert_eq!(read_frame(&frame).is_ok(), is_whole, "protocol {protocol}, {length} bytes");
        }
    }
}
