//! Identities by number and numbers by identity. There are as many as there were pods, and nothing is ever forgotten; so each word is kept
//! once, all of them in one text, and an identity is the numbers of its words.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
};

use podwitness_spool::Identity;

/// The words of an identity: each of its fields.
type Words = [u32; 8];

/// All identities.
#[derive(Debug, Default)]
pub(super) struct Identities {
    words: Lexicon,
    /// Ascending by number.
    all: Vec<(u32, Words)>,
    places: Places,
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
        let known = self.places.find(&words, |place| self.all[place].1 == words);
        if let Some(place) = known {
            return (self.all[place].0, false);
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
        self.places.add(&words, self.all.len());
        self.all.push((number, words));
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
    text: String,
    /// Where each word ends in the text, and the next one begins.
    ends: Vec<usize>,
    places: Places,
}

impl Lexicon {
    fn number(&mut self, word: &str) -> u32 {
        let place = self.places.find(word, |place| self.at(place) == word).unwrap_or_else(|| {
            let place = self.ends.len();
            self.places.add(word, place);
            self.text.push_str(word);
            self.ends.push(self.text.len());
            place
        });
        u32::try_from(place).expect("there are fewer words than 2^32")
    }

    fn text(&self, number: u32) -> &str {
        self.at(usize::try_from(number).expect("a usize has 32 bits"))
    }

    fn at(&self, place: usize) -> &str {
        let begin = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[place]]
    }
}

/// Where things stand in a list, by their hash: of those with one hash the second stands under the next one, and so on.
#[derive(Debug, Default)]
struct Places {
    by_hash: HashMap<u64, u32>,
    hashes: RandomState,
}

impl Places {
    /// The place of a thing, which `is_it` knows when it sees it.
    fn find<T: Hash + ?Sized>(&self, thing: &T, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut hash = self.hashes.hash_one(thing);
        loop {
            let place = usize::try_from(*self.by_hash.get(&hash)?).expect("a usize has 32 bits");
            if is_it(place) {
                return Some(place);
            }
            hash = hash.wrapping_add(1);
        }
    }

    /// Takes in that a thing, which has no place yet, stands there.
    fn add<T: Hash + ?Sized>(&mut self, thing: &T, place: usize) {
        let mut hash = self.hashes.hash_one(thing);
        while self.by_hash.contains_key(&hash) {
            hash = hash.wrapping_add(1);
        }
        self.by_hash.insert(hash, u32::try_from(place).expect("there are fewer than 2^32"));
    }
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

    #[test]
    fn things_of_one_hash_have_places_of_their_own() {
        let mut places = Places::default();
        let hash = places.hashes.hash_one("word");
        places.by_hash.insert(hash, 5);
        places.by_hash.insert(hash.wrapping_add(1), 6);
        assert_eq!(places.find("word", |place| place == 6), Some(6));
        assert_eq!(places.find("word", |place| place == 7), None);
        places.add("word", 7);
        assert_eq!(places.find("word", |place| place == 7), Some(7));
    }
}
