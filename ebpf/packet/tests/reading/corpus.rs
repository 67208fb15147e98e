//! The frames that the fuzzer has found to take ways of their own through the parsers (`fuzz/corpus/frame`).

use std::{collections::BTreeSet, fs, path::Path};

use crate::second_parser::{
    Outcome::{self, Arp, Neither, PacketAndQuote},
    TheyAlone, WeAlone, compare,
};

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/frame");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_corpus_sets_the_parsers_nowhere_apart_that_is_not_listed() {
    let outcomes: BTreeSet<Outcome> = frames().iter().map(|frame| compare(frame)).collect();
    let mut expected = BTreeSet::from([Outcome::Packet, PacketAndQuote, Arp, Neither]);
    expected.extend(
        [WeAlone::AuthenticationInIpv4, WeAlone::Igmp, WeAlone::Timestamp, WeAlone::LaterFragment]
            .map(Outcome::WeAlone),
    );
    expected.extend(
        [
            TheyAlone::Tags,
            TheyAlone::Arp,
            TheyAlone::Options,
            TheyAlone::MappedAddress,
            TheyAlone::NoPayloadLength,
            TheyAlone::SegmentsLeft,
            TheyAlone::FragmentOfFragment,
            TheyAlone::Headers,
            TheyAlone::FragmentLength,
            TheyAlone::FragmentOverHeader,
            TheyAlone::TransportHeader,
            TheyAlone::NoUdpLength,
        ]
        .map(Outcome::TheyAlone),
    );
    assert_eq!(outcomes, expected, "each difference that is listed is one that there is");
}

/// The one difference that no frame of the corpus is long enough for.
#[test]
fn a_packet_longer_than_any_length_is_read_here_alone() {
    let mut frame = crate::frames::Ipv4::new(crate::frames::TCP).frame(&crate::frames::tcp(0x10, 1));
    frame[16..18].fill(0);
    frame.resize(14 + 0x1_0000, 0);
    assert_eq!(compare(&frame), Outcome::WeAlone(WeAlone::LongerThanAnyLength));
}
