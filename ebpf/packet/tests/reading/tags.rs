use podwitness_packet::{Arp, Fault};
use podwitness_wire::ipv4_mapped;

use crate::frames::{
    CUSTOMER_TAG, DESTINATION_PORT, Ipv4, Ipv6, Read, SERVICE_TAG, TCP, UDP, arp, ethernet, read, read_frame, tagged,
    tcp, udp,
};

#[test]
fn up_to_two_tags_are_stepped_over() {
    for tags in [
        vec![],
        vec![CUSTOMER_TAG],
        vec![SERVICE_TAG],
        vec![SERVICE_TAG, CUSTOMER_TAG],
        vec![CUSTOMER_TAG; 2],
        vec![SERVICE_TAG; 2],
    ] {
        let tag_bytes = u32::try_from(tags.len()).unwrap() * 4;
        for (frame, header_bytes) in [(Ipv4::new(TCP).frame(&tcp(2, 1)), 20), (Ipv6::new(TCP).frame(&tcp(2, 1)), 40)] {
            let (plain, packet) = (read(&frame), read(&tagged(&tags, &frame)));
            assert_eq!(packet.network_offset, 14 + tag_bytes, "{tags:x?}");
            assert_eq!(packet.transport_offset, 14 + tag_bytes + header_bytes, "{tags:x?}");
            assert_eq!(packet.end, 14 + tag_bytes + header_bytes + 20, "{tags:x?}");
            let offsets = (plain.network_offset, plain.transport_offset, plain.end);
            let (network_offset, transport_offset, end) = offsets;
            let untagged = podwitness_packet::Packet { network_offset, transport_offset, end, ..packet };
            assert_eq!(untagged, plain, "tags change nothing else");
        }
        let message = tagged(&tags, &arp(1, [10, 1, 0, 5], [10, 1, 0, 1]));
        let expected = Arp { sender: ipv4_mapped([10, 1, 0, 5]) };
        assert_eq!(read_frame(&message), Ok(Read::Arp(expected)));
    }
}

#[test]
fn a_third_tag_is_malformed_and_what_is_no_tag_is_no_ip() {
    let frame = Ipv4::new(UDP).frame(&udp());
    for outer in [CUSTOMER_TAG, SERVICE_TAG] {
        for inner in [CUSTOMER_TAG, SERVICE_TAG] {
            let tags = [outer, SERVICE_TAG, inner];
            assert_eq!(read_frame(&tagged(&tags, &frame)), Err(Fault::Malformed), "{tags:x?}");
        }
    }
    for ethertype in [0, 46, 0x05ff, 0x8847, 0x88cc, 0x88e5, 0x9100] {
        let frame = ethernet(ethertype, &Ipv4::new(6).packet(&[0; 40]));
        assert_eq!(read_frame(&frame), Err(Fault::NotIp), "{ethertype:#x}");
        let frame = tagged(&[CUSTOMER_TAG], &frame);
        assert_eq!(read_frame(&frame), Err(Fault::NotIp), "{ethertype:#x} behind a tag");
    }
    assert_eq!(read(&tagged(&[CUSTOMER_TAG], &frame)).destination_port, DESTINATION_PORT);
}

#[test]
fn arp_of_other_hardware_protocol_or_operation_is_malformed() {
    let frame = arp(2, [10, 1, 0, 5], [10, 1, 0, 1]);
    for at in 14..22 {
        for value in 0..=255 {
            let mut changed = frame.clone();
            changed[at] = value;
            let is_read = changed == frame || (at == 21 && value == 1);
            assert_eq!(read_frame(&changed).is_ok(), is_read, "byte {at} is {value}");
        }
    }
    assert_eq!(read_frame(&frame[..41]), Err(Fault::Malformed), "cut short");
}
