use podwitness_packet::{Fault, Fragment, read_frame, tcp};
use podwitness_wire::ipv4_mapped;

use crate::frames::{DESTINATION_PORT, ICMP, Ipv4, SCTP, SOURCE_PORT, TCP, UDP, icmp, read, sctp, tcp, udp};

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
        let ipv4 = Ipv4 { options: vec![1; words * 4], ..Ipv4::new(UDP) };
        let packet = read(&ipv4.frame(&udp()));
        assert_eq!((packet.source_port, packet.destination_port), (SOURCE_PORT, DESTINATION_PORT), "{words} words");
        assert_eq!(packet.transport_offset as usize, 34 + words * 4);
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
        let packet = read(&ipv4.frame(&udp()));
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
            assert_eq!(read_frame(&frame.as_slice()), Err(Fault::Malformed), "protocol {protocol}, {total} bytes");
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

#[test]
fn an_offloaded_packet_without_a_length_is_read() {
    let mut frame = Ipv4::new(TCP).frame(&tcp(tcp::ACK, 1));
    frame[16..18].copy_from_slice(&[0, 0]);
    assert_eq!(read(&frame).destination_port, DESTINATION_PORT);
}
