use podwitness_packet::Fault;

use crate::frames::{ICMP, Ipv4, Ipv6, Read, SCTP, TCP, UDP, of_every_kind, read_frame, tcp, udp};

#[test]
fn every_frame_that_is_whole_is_read() {
    for (name, frame) in of_every_kind() {
        assert!(read_frame(&frame).is_ok(), "{name}");
    }
}

/// A frame that is cut is not read, or it is read as the whole one: it never seems to be of another connection.
#[test]
fn a_cut_frame_claims_nothing_that_the_whole_one_does_not() {
    let mut faults = 0;
    for (name, frame) in of_every_kind() {
        let whole = read_frame(&frame);
        for length in 0..frame.len() {
            match read_frame(&frame[..length]) {
                Err(fault) => {
                    assert_eq!(fault, Fault::Malformed, "{name} cut to {length}");
                    faults += 1;
                }
                cut => assert_eq!(cut, whole, "{name} cut to {length}"),
            }
        }
    }
    assert!(faults > 1000, "cutting found {faults} faults alone");
}

#[test]
fn half_a_transport_header_is_malformed() {
    for (protocol, header_bytes) in [(TCP, 20), (UDP, 8), (SCTP, 12), (ICMP, 8)] {
        for length in 0..40u8 {
            let mut payload = vec![0x50; usize::from(length)];
            if protocol == UDP && length >= 6 {
                payload[4..6].copy_from_slice(&[0, length]);
            }
            let is_read = read_frame(&Ipv4::new(protocol).frame(&payload)).is_ok();
            assert_eq!(is_read, length >= header_bytes, "protocol {protocol}, {length} bytes of it");
        }
    }
}

/// Its receiver throws it away, and what is behind the frame's end is nobody's.
#[test]
fn a_packet_longer_than_its_frame_is_malformed() {
    let padded = [tcp(2, 1), vec![0; 30]].concat();
    for frame in [Ipv4::new(TCP).frame(&padded), Ipv6::new(TCP).frame(&padded), Ipv4::new(47).frame(&padded)] {
        assert!(read_frame(&frame).is_ok());
        assert_eq!(read_frame(&frame[..frame.len() - 1]), Err(Fault::Malformed));
    }
}

#[test]
fn a_udp_length_that_contradicts_the_packets_is_malformed() {
    for length in 0..=255u8 {
        let mut datagram = udp();
        datagram.resize(40, 0);
        datagram[5] = length;
        let expected = if (8..=40).contains(&length) { None } else { Some(Fault::Malformed) };
        for frame in [Ipv4::new(UDP).frame(&datagram), Ipv6::new(UDP).frame(&datagram)] {
            assert_eq!(read_frame(&frame).err(), expected, "{length}");
        }
        // A first fragment has only a part of it.
        let first = Ipv4 { flags_and_offset: 0x2000, ..Ipv4::new(UDP) }.frame(&datagram);
        assert_eq!(read_frame(&first).is_ok(), length >= 8, "{length}");
    }
}

#[test]
fn a_wrong_version_or_header_length_is_malformed() {
    let frame = Ipv4::new(TCP).frame(&tcp(2, 1));
    for first in 0..=255u8 {
        let mut broken = frame.clone();
        broken[14] = first;
        let read = read_frame(&broken);
        if first == 0x45 {
            assert!(read.is_ok());
        } else {
            // A longer header leaves the TCP header no room; a shorter one is none.
            assert_eq!(read, Err(Fault::Malformed), "{first:#x}");
        }
    }
    let frame = Ipv6::new(TCP).frame(&tcp(2, 1));
    for first in 0..=255u8 {
        let mut broken = frame.clone();
        broken[14] = first;
        assert_eq!(read_frame(&broken).is_ok(), first >> 4 == 6, "{first:#x}");
    }
}

#[test]
fn a_total_length_below_the_header_is_malformed() {
    let mut frame = Ipv4 { options: vec![1; 4], ..Ipv4::new(47) }.frame(&[]);
    for total in 0..24 {
        frame[17] = total;
        assert_eq!(read_frame(&frame), Err(Fault::Malformed), "{total}");
    }
    frame[17] = 24;
    assert!(matches!(read_frame(&frame), Ok(Read::Ip(_))));
}

#[test]
fn a_tcp_header_of_another_length_than_it_has_is_malformed() {
    for room in [20, 32, 60] {
        for data_offset in 0..16 {
            let mut segment = tcp(2, 1);
            segment.resize(room, 1);
            segment[12] = data_offset << 4;
            let is_true = data_offset >= 5 && usize::from(data_offset) * 4 <= room;
            for frame in [Ipv4::new(TCP).frame(&segment), Ipv6::new(TCP).frame(&segment)] {
                assert_eq!(read_frame(&frame).is_ok(), is_true, "{data_offset} words in {room} bytes");
            }
        }
    }
}
