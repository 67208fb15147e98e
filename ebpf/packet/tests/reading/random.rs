//! Frames that nobody wrote: any bytes, frames that are nearly one, and those of the fuzzer's corpus with changes. None may
//! set the two parsers apart.

use proptest::{collection::vec, prelude::*, sample::Index, sample::select};

use crate::{
    corpus,
    frames::{
        ARP, AUTHENTICATION, CUSTOMER_TAG, Extension, ICMP, ICMPV6, IN_EIGHTS, Ipv4, Ipv6, SCTP, SERVICE_TAG, TCP, UDP,
        ethernet, icmp, of_every_kind, tagged, tcp, udp,
    },
    second_parser::{Outcome, compare},
};

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let quote = prop_oneof![
        vec(any::<u8>(), 0..48),
        vec(any::<u8>(), 0..24).prop_map(|payload| Ipv4::new(UDP).packet(&payload)),
        vec(any::<u8>(), 0..24).prop_map(|payload| Ipv6::new(TCP).packet(&payload)),
    ];
    prop_oneof![
        vec(any::<u8>(), 0..64),
        any::<(u8, u32)>().prop_map(|(flags, sequence)| tcp(flags, sequence)),
        Just(udp()),
        (select(vec![1u8, 3, 8, 11, 13, 128, 135, 136, 143]), quote).prop_map(|(kind, quote)| icmp(kind, 0, 7, &quote)),
    ]
}

fn protocol() -> impl Strategy<Value = u8> {
    select(vec![TCP, UDP, SCTP, ICMP, ICMPV6, 0, 2, 4, 41, 47, 50, 59, AUTHENTICATION])
}

fn ipv4() -> impl Strategy<Value = Vec<u8>> {
    let options = prop_oneof![
        (0..11usize).prop_map(|words| vec![1; words * 4]),
        (0..11usize).prop_flat_map(|words| vec(select(vec![0u8, 1, 2, 3, 4, 7, 131, 148]), words * 4)),
    ];
    let flags_and_offset = select(vec![0u16, 0x4000, 0x2000, 0x2001, 1, 7]);
    (any::<[u8; 8]>(), protocol(), flags_and_offset, options, payload()).prop_map(
        |(addresses, protocol, flags_and_offset, options, payload)| {
            let (source, destination) = addresses.split_at(4);
            let (source, destination) = (source.try_into().unwrap(), destination.try_into().unwrap());
            Ipv4 { source, destination, flags_and_offset, options, ..Ipv4::new(protocol) }.frame(&payload)
        },
    )
}

fn ipv6() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop_oneof![
        (select(IN_EIGHTS.to_vec()), 0..3u8).prop_map(|(kind, more)| Extension::new(kind, more)),
        (0..3u8).prop_map(|more| Extension::new(AUTHENTICATION, more)),
        (0..4u16, any::<bool>(), any::<u32>()).prop_map(|(offset, more, id)| Extension::fragment(offset, more, id)),
    ];
    (any::<[u8; 16]>(), protocol(), select(vec![1u8, 64, 255]), vec(extension, 0..10), payload()).prop_map(
        |(source, protocol, hop_limit, extensions, payload)| {
            Ipv6 { source, hop_limit, extensions, ..Ipv6::new(protocol) }.frame(&payload)
        },
    )
}

/// A frame that is nearly one: any fields, any chain of headers, any payload, any tags.
fn nearly_a_frame() -> impl Strategy<Value = Vec<u8>> {
    let tags = vec(select(vec![CUSTOMER_TAG, SERVICE_TAG]), 0..4);
    let tags = prop_oneof![4 => Just(Vec::new()), 1 => tags];
    (prop_oneof![ipv4(), ipv6()], tags).prop_map(|(frame, tags)| tagged(&tags, &frame))
}

/// One of the corpus or of every kind.
fn known_frame() -> impl Strategy<Value = Vec<u8>> {
    let frames: Vec<_> = of_every_kind().into_iter().map(|(_, frame)| frame).chain(corpus::frames()).collect();
    select(frames)
}

/// Has the packet say that it ends so many bytes before its frame does, as if the rest were padding.
fn shorten(frame: &mut [u8], bytes: u16) {
    let at = if frame.get(12..14) == Some(&[0x86, 0xdd]) { 18 } else { 16 };
    if let Some(length) = frame.get_mut(at..at + 2) {
        let shorter = u16::from_be_bytes([length[0], length[1]]).saturating_sub(bytes);
        length.copy_from_slice(&shorter.to_be_bytes());
    }
}

fn assert_agrees(mut frame: Vec<u8>, padding: Option<u16>, changes: Vec<(Index, u8)>, cut: Option<Index>) {
    if let Some(bytes) = padding {
        shorten(&mut frame, bytes);
    }
    for (index, byte) in changes {
        if !frame.is_empty() {
            let at = index.index(frame.len());
            frame[at] = byte;
        }
    }
    if let Some(cut) = cut {
        frame.truncate(cut.index(frame.len() + 1));
    }
    compare(&frame);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200), ethertype in select(vec![0x0800u16, 0x86dd, ARP])) {
        compare(&bytes);
        compare(&ethernet(ethertype, &bytes));
    }

    #[test]
    fn no_five_tuple_differs_from_the_second_parsers(
        frame in nearly_a_frame(),
        padding in prop::option::weighted(0.3, 1..40u16),
        changes in vec((any::<Index>(), any::<u8>()), 0..3),
        cut in prop::option::weighted(0.2, any::<Index>()),
    ) {
        assert_agrees(frame, padding, changes, cut);
    }

    #[test]
    fn no_change_of_a_known_frame_sets_the_parsers_apart(
        frame in known_frame(),
        padding in prop::option::weighted(0.3, 1..40u16),
        changes in vec((any::<Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        assert_agrees(frame, padding, changes, cut);
    }
}

#[test]
fn the_comparison_compares() {
    let outcomes: Vec<_> = of_every_kind().iter().map(|(_, frame)| compare(frame)).collect();
    let count = |outcome| outcomes.iter().filter(|found| **found == outcome).count();
    assert!(count(Outcome::Packet) > 100, "{outcomes:?}");
    assert_eq!((count(Outcome::PacketAndQuote), count(Outcome::Arp)), (2, 2));
    assert!(count(Outcome::Neither) == 0 && !outcomes.iter().any(|found| matches!(found, Outcome::TheyAlone(_))));
}
