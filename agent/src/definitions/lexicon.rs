//! Words, each kept once.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

/// Any number of bytes in a row, each once, with a number by which it is found.
#[derive(Debug, Default)]
pub(super) struct Lexicon {
    /// One behind the other, each behind its length. The number of a word is its place here.
    text: Vec<u8>,
    places: HashTable<u32>,
    hashes: RandomState,
}

impl Lexicon {
    /// The number of a word, which is taken in if it is new.
    pub(super) fn number(&mut self, word: &[u8]) -> u32 {
        let Self { text, places, hashes } = self;
        let hash = hashes.hash_one(word);
        if let Some(number) = places.find(hash, |number| word_at(text, *number) == word) {
            return *number;
        }
        let number = place(text.len());
        let mut length = word.len();
        let mut before = Vec::with_capacity(5);
        while length >= usize::from(MORE) {
            before.push(u8::try_from(length % usize::from(MORE)).expect("seven bits") | MORE);
            length /= usize::from(MORE);
        }
        before.push(u8::try_from(length).expect("seven bits"));
        reserve(text, before.len() + word.len());
        text.extend_from_slice(&before);
        text.extend_from_slice(word);
        places.insert_unique(hash, number, |number| hashes.hash_one(word_at(text, *number)));
        number
    }

    /// The word of a number that was given.
    pub(super) fn word(&self, number: u32) -> &[u8] {
        word_at(&self.text, number)
    }
}

#[cfg(test)]
impl Lexicon {
    /// The bytes of its lists.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity() + self.places.allocation_size()
    }
}

/// Set in each byte of a length but the last, which are seven bits of it, the lowest first.
const MORE: u8 = 0x80;

fn word_at(text: &[u8], number: u32) -> &[u8] {
    let mut rest = &text[index(number)..];
    let (mut length, mut bits) = (0, 0);
    while let [byte, behind @ ..] = rest {
        rest = behind;
        length |= usize::from(byte & !MORE) << bits;
        bits += 7;
        if byte & MORE == 0 {
            break;
        }
    }
    &rest[..length]
}

/// Makes room for so many more in a list that only grows, an eighth of it at a time: were it twice as much, as is usual,
/// half of the list would be for nothing.
pub(super) fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8));
    }
}

pub(super) fn index(place: u32) -> usize {
    usize::try_from(place).expect("a usize has 32 bits")
}

pub(super) fn place(index: usize) -> u32 {
    u32::try_from(index).expect("there are fewer than 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_length_are_kept_once_and_given_back() {
        let mut lexicon = Lexicon::default();
        let lengths = [0, 1, 126, 127, 128, 129, 255, 256, 16_383, 16_384, 70_000];
        let words: Vec<Vec<u8>> =
            lengths.iter().flat_map(|length| [vec![0x80; *length], vec![0; *length], vec![b'x'; *length]]).collect();
        let numbers: Vec<u32> = words.iter().map(|word| lexicon.number(word)).collect();
        let bytes = lexicon.text.len();
        for (word, number) in words.iter().zip(&numbers) {
            assert_eq!(lexicon.word(*number), word);
            assert_eq!(lexicon.number(word), *number);
        }
        assert_eq!(lexicon.text.len(), bytes);
        assert_eq!(lexicon.places.len(), 1 + 3 * (lengths.len() - 1));
    }
}
