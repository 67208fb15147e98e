//! Any bytes: never a panic, and never another five-tuple than that of etherparse, where both read one.
//!
//! Where the two differ, and why:
//! - etherparse unwraps an authentication header in IPv4; here it is protocol 51, which no policy gives ports, because
//!   only `IPsec` at the receiver reads on.
//! - etherparse gives a fragment no transport header; here a first fragment has its ports.
//! - etherparse does not pass over mobility, host identity and shim6 headers; here what follows them counts.
//! - etherparse reads any number of extension headers and of fragment headers, and UDP whose own length contradicts the
//!   packet is refused by it alone.
//! - etherparse does not know SCTP.

use etherparse::{NetSlice, SlicedPacket, TransportSlice, ip_number};
use podwitness_packet::{Fragment, Frame, Packet, is_neighbour_discovery, read_frame, read_quoted};
use podwitness_wire::ipv4_mapped;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::frames::{
    AUTHENTICATION, Extension, HOST_IDENTITY, ICMP, ICMPV6, IN_EIGHTS, Ipv4, Ipv6, MOBILITY, SCTP, SHIM6, TCP, UDP,
    of_every_kind, tcp,
};

fn assert_agrees(frame: &[u8]) -> Result<bool, TestCaseError> {
    let ours = read_frame(&frame);
    if let Ok(Frame::Ip(packet)) = &ours {
        read_quoted(&frame, packet);
        is_neighbour_discovery(packet);
    }
    let (Ok(Frame::Ip(ours)), Ok(theirs)) = (ours, SlicedPacket::from_ethernet(frame)) else {
        return Ok(false);
    };
    let Some(net) = &theirs.net else { return Ok(false) };
    let (source, destination, protocol, fragmented) = match net {
        NetSlice::Ipv4(ipv4) => (
            ipv4_mapped(ipv4.header().source()),
            ipv4_mapped(ipv4.header().destination()),
            ipv4.header().protocol().0,
            ipv4.is_payload_fragmented(),
        ),
        NetSlice::Ipv6(ipv6) => (
            ipv6.header().source(),
            ipv6.header().destination(),
            ipv6.payload().ip_number.0,
            ipv6.is_payload_fragmented(),
        ),
        NetSlice::Arp(_) => return Err(TestCaseError::fail("ARP for one is IP for the other")),
    };
    prop_assert_eq!((ours.source, ours.destination), (source, destination));
    if matches!(protocol, MOBILITY | HOST_IDENTITY | SHIM6) {
        return Ok(true);
    }
    prop_assert_eq!(matches!(ours.fragment, Fragment::Whole), !fragmented);
    if fragmented {
        return Ok(true);
    }
    prop_assert_eq!(ours.protocol, protocol);
    if protocol == ip_number::AUTH.0 {
        return Ok(true);
    }
    assert_transport(&ours, theirs.transport.as_ref())?;
    Ok(true)
}

fn assert_transport(ours: &Packet, theirs: Option<&TransportSlice<'_>>) -> Result<(), TestCaseError> {
    let ports = (ours.source_port, ours.destination_port);
    match theirs {
        Some(TransportSlice::Tcp(tcp)) => {
            prop_assert_eq!(ports, (tcp.source_port(), tcp.destination_port()));
            prop_assert_eq!(ours.sequence, tcp.sequence_number());
            let flags = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
            let flags = flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
            prop_assert_eq!(ours.tcp_flags, flags);
        }
        Some(TransportSlice::Udp(udp)) => prop_assert_eq!(ports, (udp.source_port(), udp.destination_port())),
        Some(TransportSlice::Icmpv4(icmp)) => {
            prop_assert_eq!((ours.icmp_type, ours.icmp_code), (icmp.type_u8(), icmp.code_u8()));
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            prop_assert_eq!((ours.icmp_type, ours.icmp_code), (icmp.type_u8(), icmp.code_u8()));
        }
        Some(TransportSlice::Igmp(_)) | None => prop_assert!(ports == (0, 0) || ours.protocol == SCTP),
    }
    Ok(())
}

/// A frame that is nearly one: any fields, any chain of headers, any payload.
fn nearly_a_frame() -> impl Strategy<Value = Vec<u8>> {
    let protocol = select(vec![TCP, UDP, SCTP, ICMP, ICMPV6, 0, 2, 4, 41, 47, 50, 59, AUTHENTICATION]);
    let payload =
        prop_oneof![vec(any::<u8>(), 0..64), any::<(u8, u32)>().prop_map(|(flags, sequence)| tcp(flags, sequence))];
    let extension = prop_oneof![
        (select(IN_EIGHTS.to_vec()), 0..3u8).prop_map(|(kind, more)| Extension::new(kind, more)),
        (0..3u8).prop_map(|more| Extension::new(AUTHENTICATION, more + 1)),
        (0..3u16, any::<bool>(), any::<u32>()).prop_map(|(offset, more, id)| Extension::fragment(offset, more, id)),
    ];
    let ipv4 = (
        any::<[u8; 8]>(),
        protocol.clone(),
        select(vec![0u16, 0x4000, 0x2000, 0x2001, 7]),
        0..11usize,
        payload.clone(),
    )
        .prop_map(|(addresses, protocol, flags_and_offset, words, payload)| {
            let (source, destination) = addresses.split_at(4);
            Ipv4 {
                source: source.try_into().unwrap(),
                destination: destination.try_into().unwrap(),
                flags_and_offset,
                options: vec![1; words * 4],
                ..Ipv4::new(protocol)
            }
            .frame(&payload)
        });
    let ipv6 = (any::<[u8; 16]>(), protocol, vec(extension, 0..10), payload).prop_map(
        |(source, protocol, extensions, payload)| Ipv6 { source, extensions, ..Ipv6::new(protocol) }.frame(&payload),
    );
    prop_oneof![ipv4, ipv6]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200), ethertype in select(vec![0x0800u16, 0x86dd, 0x0806])) {
        assert_agrees(&bytes)?;
        assert_agrees(&crate::frames::ethernet(ethertype, &bytes))?;
    }

    #[test]
    fn no_five_tuple_differs_from_etherparses(
        frame in nearly_a_frame(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut frame = frame;
        for (index, byte) in changes {
            let length = frame.len();
            frame[index.index(length)] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        assert_agrees(&frame)?;
    }
}

#[test]
fn the_comparison_compares() {
    let compared = of_every_kind()
        .into_iter()
        .filter(|(name, frame)| assert_agrees(frame).unwrap_or_else(|e| panic!("{name}: {e}")));
    assert!(compared.count() > 60);
}
