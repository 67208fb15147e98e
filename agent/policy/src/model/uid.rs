//! The uid of an object.

use std::fmt;
use std::num::NonZeroU64;

/// An object's uid, as it was given; empty where the source has none. An API server gives UUIDs (RFC 9562), which are kept
/// in 16 bytes; anything else is kept as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Kept);

/// One text is kept in one way only, so that those which are kept alike are the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kept {
    /// A UUID in lower case, as RFC 9562 writes it. That its second half is not 0 (it begins with a variant) is what tells
    /// it from a text in no more than its 16 bytes.
    Uuid(u64, NonZeroU64),
    /// `None` is the empty one.
    Text(Option<Box<Text>>),
}

/// A pointer to it is one word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Text(Box<str>);

impl Uid {
    /// Whether the source has none.
    pub fn is_empty(&self) -> bool {
        self.0 == Kept::Text(None)
    }

    /// Its 16 bytes, where it is a UUID that is kept as such; [`of_bytes`](Self::of_bytes) makes it of them again.
    pub fn bytes(&self) -> Option<[u8; 16]> {
        match self.0 {
            Kept::Uuid(high, low) => Some((u128::from(high) << 64 | u128::from(low.get())).to_be_bytes()),
            Kept::Text(_) => None,
        }
    }

    /// The UUID of these bytes.
    pub fn of_bytes(bytes: [u8; 16]) -> Self {
        let (high, low) = halves(u128::from_be_bytes(bytes));
        NonZeroU64::new(low).map_or_else(|| Self::from(text(high, low).as_str()), |low| Self(Kept::Uuid(high, low)))
    }
}

impl Default for Uid {
    fn default() -> Self {
        Self(Kept::Text(None))
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        let text_of = || Kept::Text((!text.is_empty()).then(|| Box::new(Text(text.into()))));
        Self(uuid(text).map_or_else(text_of, |(high, low)| Kept::Uuid(high, low)))
    }
}

/// The two halves of a text that is written exactly as they are shown.
fn uuid(given: &str) -> Option<(u64, NonZeroU64)> {
    let (high, low) = halves(u128::from_str_radix(&given.replace('-', ""), 16).ok()?);
    Some((high, NonZeroU64::new(low)?)).filter(|_| text(high, low) == given)
}

fn halves(bits: u128) -> (u64, u64) {
    let half = |bits: u128| u64::try_from(bits).expect("it has 64 bits");
    (half(bits >> 64), half(bits & u128::from(u64::MAX)))
}

/// How RFC 9562 writes it.
fn text(high: u64, low: u64) -> String {
    let (first, second, third) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    let (fourth, fifth) = (low >> 48, low & 0xffff_ffff_ffff);
    format!("{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{fifth:012x}")
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Uuid(high, low) => formatter.write_str(&text(*high, low.get())),
            Kept::Text(text) => formatter.write_str(text.as_ref().map_or("", |text| &text.0)),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in_16_bytes(uid: &Uid) -> bool {
        matches!(uid.0, Kept::Uuid(..))
    }

    #[test]
    fn a_uid_is_shown_byte_for_byte_as_it_was_given() {
        let uuids = [
            "0b5e1f3a-9c2d-4e7f-8a6b-1c2d3e4f5a6b",
            "00000000-0000-0000-0000-000000000001",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "00000000-0000-4000-8000-000000000000",
        ];
        for text in uuids {
            let uid = Uid::from(text);
            assert!(is_in_16_bytes(&uid), "{text}");
            assert_eq!(uid.to_string(), text);
            assert!(!uid.is_empty());
            assert_eq!(Uid::of_bytes(uid.bytes().unwrap()), uid);
        }
        let others = [
            "",
            "u1",
            "0B5E1F3A-9C2D-4E7F-8A6B-1C2D3E4F5A6B",
            "0b5e1f3a9c2d4e7f8a6b1c2d3e4f5a6b",
            "0b5e1f3a-9c2d-4e7f-8a6b-1c2d3e4f5a6",
            "0b5e1f3a-9c2d-4e7f-8a6b-1c2d3e4f5a6bc",
            "0b5e1f3a-9c2d-4e7f-8a6b1-c2d3e4f5a6b",
            "+b5e1f3a-9c2d-4e7f-8a6b-1c2d3e4f5a6b",
            "0b5e1f3a-9c2d-4e7f-8a6b-1c2d3e4f5a6b\0",
            "0b5e1f3a-9c2d-4e7f-8a6b-1c2d3e4f5aé",
            "0b5e1f3a-9c2d-4e7f-0000-00000000000g",
            "0b5e1f3a-9c2d-4e7f-0000-000000000000",
            "00000000-0000-0000-0000-000000000000",
        ];
        for text in others {
            let uid = Uid::from(text);
            assert!(!is_in_16_bytes(&uid), "{text}");
            assert_eq!(uid.to_string(), text);
            assert_eq!(uid.is_empty(), text.is_empty());
        }
        assert_eq!(Uid::of_bytes([0; 16]), Uid::from("00000000-0000-0000-0000-000000000000"));
        let all: std::collections::BTreeSet<Uid> = uuids.into_iter().chain(others).map(Uid::from).collect();
        assert_eq!(all.len(), uuids.len() + others.len(), "each is another one");
    }

    #[test]
    fn it_takes_16_bytes() {
        assert_eq!(size_of::<Uid>(), 16);
    }
}
