use podwitness_packet::{Fault, Frame, read_frame};

use crate::frames::{ICMP, Ipv4, Ipv6, SCTP, TCP, UDP, of_every_kind, tcp};

#[test]
fn every_frame_that_is_whole_is_read() {
    for (name, frame) in of_every_kind() {
        assert!(read_frame(&frame.as_slice()).is_ok(), "{name}");
    }
}

/// A frame that is cut is not read, or it is read as the whole one: it never seems to be of another connection.
#[test]
fn a_cut_frame_claims_nothing_that_the_whole_one_does_not() {
    let mut faults = 0;
    for (name, frame) in of_every_kind() {
        let whole = read_frame(&frame.as_slice());
        for length in 0..frame.len() {
            match read_frame(&&frame[..length]) {
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

/// Up to where a header must be there, so that its receiver would not throw the packet away.
#[test]
fn half_a_transport_header_is_malformed() {
    for (protocol, header_bytes) in [(TCP, 20), (UDP, 8), (SCTP, 12), (ICMP, 6)] {
        let frame = Ipv4::new(protocol).frame(&[0x50; 40]);
        for length in 0..40 {
            let is_read = read_frame(&&frame[..34 + length]).is_ok();
            assert_eq!(is_read, length >= header_bytes, "protocol {protocol}, {length} bytes of it");
        }
    }
}

#[test]
fn a_wrong_version_or_header_length_is_malformed() {
    let frame = Ipv4::new(TCP).frame(&tcp(2, 1));
    for first in 0..=255u8 {
        let mut broken = frame.clone();
        broken[14] = first;
        let read = read_frame(&broken.as_slice());
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
        assert_eq!(read_frame(&broken.as_slice()).is_ok(), first >> 4 == 6, "{first:#x}");
    }
}

#[test]
fn a_total_length_below_the_header_is_malformed() {
    let mut frame = Ipv4 { options: vec![1; 4], ..Ipv4::new(47) }.frame(&[]);
    for total in 1..24 {
        frame[17] = total;
        assert_eq!(read_frame(&frame.as_slice()), Err(Fault::Malformed), "{total}");
    }
    frame[17] = 24;
    assert!(matches!(read_frame(&frame.as_slice()), Ok(Frame::Ip(_))));
}

#[test]
fn a_tcp_data_offset_below_five_is_malformed() {
    for data_offset in 0..16 {
        let mut segment = tcp(2, 1);
        segment[12] = data_offset << 4;
        for frame in [Ipv4::new(TCP).frame(&segment), Ipv6::new(TCP).frame(&segment)] {
            let expected = if data_offset < 5 { Some(Fault::Malformed) } else { None };
            assert_eq!(read_frame(&frame.as_slice()).err(), expected, "{data_offset}");
        }
    }
}
