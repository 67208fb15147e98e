//! Identities by number and numbers by identity. There are as many as there were pods, and nothing is ever forgotten; so each word is kept
//! once, all of them in one text, and an identity is the numbers of its words.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use podwitness_spool::Identity;

/// The words of an identity: each of its fields.
type Words = [u32; 8];

/// All identities.
#[derive(Debug, Default)]
pub(super) struct Identities {
    words: Lexicon,
    /// Ascending by number.
    all: Vec<(u32, Words)>,
    places: HashTable<u32>,
    hashes: RandomState,
    last: u32,
}

impl Identities {
    /// Takes in that this is the identity of a number.
    pub(super) fn learn(&mut self, number: u32, identity: &Identity) {
        let words = fields(identity).map(|field| self.words.number(field));
        self.add(number, words);
    }

    /// The identity of a number; its own `id` is 0.
    pub(super) fn get(&self, number: u32) -> Option<Identity> {
        let words = self.words_of(number)?;
        let [namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels] =
            words.map(|word| self.words.text(word).to_owned());
        Some(Identity { id: 0, namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels })
    }

    /// The namespace of the identity of a number.
    pub(super) fn namespace(&self, number: u32) -> Option<&str> {
        self.words_of(number).map(|[namespace, ..]| self.words.text(*namespace))
    }

    /// The identity's number, and whether it is a new one.
    pub(super) fn number(&mut self, identity: &Identity) -> (u32, bool) {
        let words = fields(identity).map(|field| self.words.number(field));
        let known = self.places.find(self.hashes.hash_one(words), |place| self.all[index(*place)].1 == words);
        if let Some(place) = known {
            return (self.all[index(*place)].0, false);
        }
        let number = self.last + 1;
        self.add(number, words);
        (number, true)
    }

    fn add(&mut self, number: u32, words: Words) {
        // Numbers are given and written in order; should one come twice, what was said first holds.
        if self.all.last().is_some_and(|(last, _)| *last >= number) {
            return;
        }
        self.last = number;
        let place = place(self.all.len());
        reserve(&mut self.all, 1);
        self.all.push((number, words));
        let hash = |place: &u32| self.hashes.hash_one(self.all[index(*place)].1);
        self.places.insert_unique(self.hashes.hash_one(words), place, hash);
    }

    fn words_of(&self, number: u32) -> Option<&Words> {
        let place = self.all.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.all[place].1)
    }
}

fn fields(identity: &Identity) -> [&str; 8] {
    let Identity { id: _, namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels } = identity;
    [namespace, pod, pod_uid, service_account, workload_kind, workload, node, labels]
}

/// Words, each once.
#[derive(Debug, Default)]
struct Lexicon {
    /// One behind the other, in UTF-8.
    text: Vec<u8>,
    /// Where each word ends in the text, and the next one begins.
    ends: Vec<u32>,
    places: HashTable<u32>,
    hashes: RandomState,
}

impl Lexicon {
    fn number(&mut self, word: &str) -> u32 {
        let Self { text, ends, places, hashes } = self;
        let hash = hashes.hash_one(word.as_bytes());
        if let Some(number) = places.find(hash, |number| word_at(text, ends, *number) == word.as_bytes()) {
            return *number;
        }
        let number = place(ends.len());
        reserve(text, word.len());
        text.extend_from_slice(word.as_bytes());
        reserve(ends, 1);
        ends.push(place(text.len()));
        places.insert_unique(hash, number, |number| hashes.hash_one(word_at(text, ends, *number)));
        number
    }

    fn text(&self, number: u32) -> &str {
        std::str::from_utf8(word_at(&self.text, &self.ends, number)).expect("words are put there whole")
    }
}

fn word_at<'a>(text: &'a [u8], ends: &[u32], number: u32) -> &'a [u8] {
    let word = index(number);
    let begin = word.checked_sub(1).map_or(0, |before| index(ends[before]));
    &text[begin..index(ends[word])]
}

/// Makes room for so many more in a list that only grows, an eighth of it at a time: were it twice as much, as is usual,
/// half of the list would be for nothing.
fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8));
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).expect("a usize has 32 bits")
}

fn place(index: usize) -> u32 {
    u32::try_from(index).expect("there are fewer than 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(namespace: &str, pod: &str) -> Identity {
        Identity { namespace: namespace.to_owned(), pod: pod.to_owned(), ..Identity::default() }
    }

    #[test]
    fn what_was_numbered_is_given_back_word_for_word() {
        let mut identities = Identities::default();
        let all: Vec<Identity> =
            (0..500).map(|number| identity(&format!("ns-{}", number % 7), &format!("ü{number}"))).collect();
        for (number, identity) in (1..).zip(&all) {
            assert_eq!(identities.number(identity), (number, true));
        }
        for (number, identity) in (1..).zip(&all) {
            assert_eq!(identities.number(identity), (number, false));
            assert_eq!(identities.get(number).as_ref(), Some(identity));
            assert_eq!(identities.namespace(number), Some(identity.namespace.as_str()));
        }
        assert_eq!((identities.get(0), identities.get(501), identities.namespace(501)), (None, None, None));
        // The empty word, the namespaces and the pods.
        assert_eq!(identities.words.ends.len(), 1 + 7 + 500);
    }

    #[test]
    fn where_words_end_makes_a_difference() {
        let mut identities = Identities::default();
        assert_eq!(identities.number(&identity("ab", "c")), (1, true));
        assert_eq!(identities.number(&identity("a", "bc")), (2, true));
        assert_eq!(identities.number(&identity("", "abc")), (3, true));
        assert_eq!(identities.get(2), Some(identity("a", "bc")));
    }

    #[test]
    fn a_number_that_was_learnt_is_not_given_and_those_before_it_are_not_either() {
        let mut identities = Identities::default();
        identities.learn(1000, &Identity::default());
        identities.learn(7, &identity("shop", "late"));
        assert_eq!(identities.number(&identity("shop", "api")), (1001, true));
        assert_eq!(identities.get(7), None);
    }
}
