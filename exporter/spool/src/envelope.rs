//! What stands in frames: the messages of the format itself, around those of [`crate::message`].

use std::collections::BTreeMap;

use prost::Message as _;

use crate::message::{Checkpoint, Identity, Origin, Record, Revision, RuleSet, Trail};

/// The payload of every frame.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Envelope {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4")]
    pub(crate) body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Body {
    #[prost(message, boxed, tag = "1")]
    Header(Box<Header>),
    #[prost(message, boxed, tag = "2")]
    Batch(Box<StoredBatch>),
    #[prost(message, tag = "3")]
    Mark(Mark),
    #[prost(message, tag = "4")]
    Cursor(Cursor),
}

impl Body {
    pub(crate) fn into_payload(self) -> Vec<u8> {
        Envelope { body: Some(self) }.encode_to_vec()
    }
}

/// The first frame of a segment: everything a reader or a recovery needs from the segments before it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Header {
    #[prost(message, required, tag = "1")]
    pub(crate) origin: Origin,
    /// Where the last committed batch of the segment before ends, its mark not counted: behind it is nothing to read.
    #[prost(uint64, tag = "2")]
    pub(crate) previous_length: u64,
    /// The next number of each sequence that has begun in this boot, by the names of [`crate::sequences`].
    #[prost(btree_map = "string, int64", tag = "3")]
    pub(crate) next_seq: BTreeMap<String, i64>,
    /// The number with which any other sequence begins: 1, or more after damage.
    #[prost(int64, tag = "4")]
    pub(crate) first_seq: i64,
    /// The last one that was committed in this boot.
    #[prost(message, optional, tag = "5")]
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// One commit.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredBatch {
    #[prost(message, required, tag = "1")]
    pub(crate) checkpoint: Checkpoint,
    #[prost(message, repeated, tag = "2")]
    pub(crate) identities: Vec<Identity>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) rule_sets: Vec<RuleSet>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) revisions: Vec<Revision>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) entries: Vec<Entry>,
    /// All trails, where they are others than those stated in the segment before.
    #[prost(message, optional, tag = "6")]
    pub(crate) trails: Option<Trails>,
}

/// The trails of all namespaces that have one, by namespace.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Trails {
    #[prost(message, repeated, tag = "1")]
    pub(crate) trails: Vec<Trail>,
}

/// A record, or nothing where a newer program has written a kind that this one does not know.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(oneof = "Record", tags = "1, 2, 3")]
    pub(crate) record: Option<Record>,
}

/// Says that the frame before it, and with it everything before, has been synced. Its encoded length never varies, so
/// that it can be found behind damage.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Mark {
    /// Where the batch's frame begins; never 0.
    #[prost(fixed64, tag = "1")]
    pub(crate) offset: u64,
    /// The batch's checksum. Optional only so that a 0 is encoded too.
    #[prost(fixed32, optional, tag = "2")]
    pub(crate) crc: Option<u32>,
}

/// What the reader has marked done.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Cursor {
    #[prost(uint64, tag = "1")]
    pub(crate) segment: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) offset: u64,
}

const BATCH_FIELD: u8 = 2;
const ENTRY_FIELD: u8 = 5;

/// Appends to `buffer` the payload of a batch that has the head's checkpoint and definitions and these records: the
/// bytes that [`Body::into_payload`] would give, without copying the records first.
pub(crate) fn encode_batch(head: &StoredBatch, records: &[Record], buffer: &mut Vec<u8>) {
    debug_assert!(head.entries.is_empty(), "the head must not have records of its own");
    let entry_lengths: Vec<usize> = records.iter().map(Record::encoded_len).collect();
    let entries: usize = entry_lengths.iter().map(|&length| 1 + prost::length_delimiter_len(length) + length).sum();
    let length = head.encoded_len() + entries;
    buffer.reserve(length + 16);
    put_key(BATCH_FIELD, length, buffer);
    head.encode_raw(buffer);
    for (record, length) in records.iter().zip(entry_lengths) {
        put_key(ENTRY_FIELD, length, buffer);
        record.encode(buffer);
    }
}

/// A length-delimited field's key (number below 16, wire type 2) and length.
fn put_key(field: u8, length: usize, buffer: &mut Vec<u8>) {
    buffer.push(field << 3 | 2);
    prost::encode_length_delimiter(length, buffer).expect("a vector grows as needed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Coverage, PolicyVersion, Verdict};

    #[test]
    fn batch_encoded_without_copies_is_the_same_protobuf() {
        let records = vec![
            Record::Verdict(Verdict { seq: 1, namespace: "shop".to_owned(), ..Verdict::default() }),
            Record::Verdict(Verdict::default()),
            Record::Verdict(Verdict { src_ip: vec![7; 300], ..Verdict::default() }),
            Record::Coverage(Coverage { seq: 1, addresses: vec![vec![7; 4]], ..Coverage::default() }),
            Record::Policy(PolicyVersion { seq: 1, text: "{}".to_owned(), ..PolicyVersion::default() }),
        ];
        let mut batch = StoredBatch {
            checkpoint: Checkpoint {
                ring: "r".to_owned(),
                ring_position: 9,
                drained_epoch: 2,
                drained_entries: 0,
                sums: None,
            },
            identities: vec![Identity { id: 3, ..Identity::default() }],
            rule_sets: vec![RuleSet { id: 4, policies: Vec::new() }],
            revisions: vec![Revision { number: 5, sha256: "ab".to_owned() }],
            entries: Vec::new(),
            trails: None,
        };
        let mut ours = Vec::new();
        encode_batch(&batch, &records, &mut ours);
        batch.entries = records.into_iter().map(|record| Entry { record: Some(record) }).collect();
        assert_eq!(ours, Body::Batch(Box::new(batch)).into_payload());
    }
}
