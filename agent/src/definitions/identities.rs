//! Identities by number and numbers by identity. There are as many as there were pods, twice, and nothing is ever
//! forgotten; so each word is kept once, and so is what several identities have in common: who the pod is, and what
//! replicas share.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use podwitness_policy::Uid;
use podwitness_spool::Identity;

use super::lexicon::{Lexicon, index, place, reserve};

/// The numbers of an identity's two halves: [`Who`] it is, and [`What`].
type Halves = [u32; 2];

/// All identities.
#[derive(Debug, Default)]
pub(super) struct Identities {
    words: Lexicon,
    /// Ascending by number.
    all: Vec<Halves>,
    /// Where numbers do not go on from the one before: the number, and its place. Ascending.
    runs: Vec<(u32, u32)>,
    places: HashTable<u32>,
    hashes: RandomState,
    last: u32,
}

impl Identities {
    /// Takes in that this is the identity of a number.
    pub(super) fn learn(&mut self, number: u32, identity: &Identity) {
        let halves = self.halves(identity);
        self.add(number, halves);
    }

    /// The identity of a number; its own `id` is 0.
    pub(super) fn get(&self, number: u32) -> Option<Identity> {
        let [who, what] = self.halves_of(number)?;
        let text = |word: u32| self.text(word).to_owned();
        let Who { namespace, node, uid, pod } = Who::read(self.words.word(who));
        let What { service_account, workload_kind, workload, labels } = What::read(self.words.word(what));
        Some(Identity {
            id: 0,
            namespace: text(namespace),
            pod: std::str::from_utf8(pod).expect(WHOLE).to_owned(),
            pod_uid: match uid {
                KeptUid::Uuid(bytes) => Uid::of_bytes(bytes).to_string(),
                KeptUid::Word(word) => text(word),
            },
            service_account: text(service_account),
            workload_kind: text(workload_kind),
            workload: text(workload),
            node: text(node),
            labels: text(labels),
        })
    }

    /// The namespace of the identity of a number.
    pub(super) fn namespace(&self, number: u32) -> Option<&str> {
        let [who, _] = self.halves_of(number)?;
        Some(self.text(Who::read(self.words.word(who)).namespace))
    }

    /// The identity's number, and whether it is a new one.
    pub(super) fn number(&mut self, identity: &Identity) -> (u32, bool) {
        let halves = self.halves(identity);
        let known = self.places.find(self.hashes.hash_one(halves), |place| self.all[index(*place)] == halves);
        if let Some(place) = known {
            return (self.number_at(*place), false);
        }
        let number = self.last + 1;
        self.add(number, halves);
        (number, true)
    }

    fn halves(&mut self, identity: &Identity) -> Halves {
        let words = &mut self.words;
        let mut number = |word: &str| words.number(word.as_bytes());
        let uid = Uid::from(identity.pod_uid.as_str()).bytes();
        let who = Who {
            namespace: number(&identity.namespace),
            node: number(&identity.node),
            uid: uid.map_or_else(|| KeptUid::Word(number(&identity.pod_uid)), KeptUid::Uuid),
            pod: identity.pod.as_bytes(),
        };
        let what = What {
            service_account: number(&identity.service_account),
            workload_kind: number(&identity.workload_kind),
            workload: number(&identity.workload),
            labels: number(&identity.labels),
        };
        [words.number(&who.written()), words.number(&what.written())]
    }

    fn add(&mut self, number: u32, halves: Halves) {
        // Numbers are given and written in order; should one come twice, what was said first holds.
        if !self.all.is_empty() && number <= self.last {
            return;
        }
        let place = place(self.all.len());
        if self.all.is_empty() || number != self.last + 1 {
            self.runs.push((number, place));
        }
        self.last = number;
        reserve(&mut self.all, 1);
        self.all.push(halves);
        let hash = |place: &u32| self.hashes.hash_one(self.all[index(*place)]);
        self.places.insert_unique(self.hashes.hash_one(halves), place, hash);
    }

    fn number_at(&self, place: u32) -> u32 {
        let behind = self.runs.partition_point(|(_, first)| *first <= place);
        let (number, first) = self.runs[behind - 1];
        number + (place - first)
    }

    fn halves_of(&self, number: u32) -> Option<Halves> {
        let behind = self.runs.partition_point(|(first, _)| *first <= number);
        let (first, place) = *self.runs.get(behind.checked_sub(1)?)?;
        let end = self.runs.get(behind).map_or(self.all.len(), |(_, place)| index(*place));
        let place = index(place) + index(number - first);
        (place < end).then(|| self.all[place])
    }

    fn text(&self, word: u32) -> &str {
        std::str::from_utf8(self.words.word(word)).expect(WHOLE)
    }
}

const WHOLE: &str = "words are put there whole";

/// The pod whatever its labels: what its incarnations have in common. It is kept as a word of the lexicon.
struct Who<'a> {
    namespace: u32,
    node: u32,
    uid: KeptUid,
    pod: &'a [u8],
}

enum KeptUid {
    /// Its bytes stand there.
    Uuid([u8; 16]),
    /// It is a word.
    Word(u32),
}

/// What replicas have in common. It is kept as a word of the lexicon.
struct What {
    service_account: u32,
    workload_kind: u32,
    workload: u32,
    labels: u32,
}

impl<'a> Who<'a> {
    fn written(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(25 + self.pod.len());
        bytes.extend_from_slice(&self.namespace.to_le_bytes());
        bytes.extend_from_slice(&self.node.to_le_bytes());
        match &self.uid {
            KeptUid::Uuid(uuid) => {
                bytes.push(1);
                bytes.extend_from_slice(uuid);
            }
            KeptUid::Word(word) => {
                bytes.push(0);
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        bytes.extend_from_slice(self.pod);
        bytes
    }

    fn read(mut bytes: &'a [u8]) -> Self {
        let namespace = u32::from_le_bytes(take(&mut bytes));
        let node = u32::from_le_bytes(take(&mut bytes));
        let uid = match take(&mut bytes) {
            [0] => KeptUid::Word(u32::from_le_bytes(take(&mut bytes))),
            [_] => KeptUid::Uuid(take(&mut bytes)),
        };
        Self { namespace, node, uid, pod: bytes }
    }
}

impl What {
    fn written(&self) -> Vec<u8> {
        let Self { service_account, workload_kind, workload, labels } = self;
        [service_account, workload_kind, workload, labels].into_iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn read(mut bytes: &[u8]) -> Self {
        let mut word = || u32::from_le_bytes(take(&mut bytes));
        Self { service_account: word(), workload_kind: word(), workload: word(), labels: word() }
    }
}

/// Takes so many bytes from the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (first, behind) = bytes.split_first_chunk().expect(WHOLE);
    *bytes = behind;
    *first
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
        let uid = |number: u32| match number % 3 {
            0 => String::new(),
            1 => format!("0b5e1f3a-9c2d-4e7f-8a6b-{number:012x}"),
            _ => format!("0B5E1F3A-9C2D-4E7F-8A6B-{number:012X}"),
        };
        let word = |number: u32, of: u32, word: &str| format!("{word}{}", number / of % 3);
        let all: Vec<Identity> = (0..729)
            .flat_map(|number| {
                let owner = Identity {
                    node: word(number, 3, "node"),
                    pod_uid: uid(number),
                    ..identity(&format!("ns-{}", number % 7), &format!("ü{number}"))
                };
                let incarnation = Identity {
                    service_account: word(number, 9, ""),
                    workload_kind: word(number, 27, "kind"),
                    workload: word(number, 81, "node"),
                    labels: word(number, 243, "{}"),
                    ..owner.clone()
                };
                [owner, incarnation]
            })
            .collect();
        for (number, identity) in (1..).zip(&all) {
            assert_eq!(identities.number(identity), (number, true));
        }
        for (number, identity) in (1..).zip(&all) {
            assert_eq!(identities.number(identity), (number, false));
            assert_eq!(identities.get(number).as_ref(), Some(identity));
            assert_eq!(identities.namespace(number), Some(identity.namespace.as_str()));
        }
        let none = place(all.len()) + 1;
        assert_eq!((identities.get(0), identities.get(none), identities.namespace(none)), (None, None, None));
    }

    #[test]
    fn where_words_end_makes_a_difference() {
        let mut identities = Identities::default();
        assert_eq!(identities.number(&identity("ab", "c")), (1, true));
        assert_eq!(identities.number(&identity("a", "bc")), (2, true));
        assert_eq!(identities.number(&identity("", "abc")), (3, true));
        assert_eq!(identities.get(2), Some(identity("a", "bc")));
        // The bytes of a UUID, and a pod that is called as they are.
        let uuid = Identity { pod_uid: "61616161-6161-6161-6161-616161616161".to_owned(), ..identity("", "") };
        let called = identity("", "aaaaaaaaaaaaaaaa");
        assert_eq!((identities.number(&uuid), identities.number(&called)), ((4, true), (5, true)));
        assert_eq!((identities.get(4), identities.get(5)), (Some(uuid), Some(called)));
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
    fn numbers_that_do_not_go_on_are_found_and_those_between_are_nobodys() {
        let mut identities = Identities::default();
        let numbers = [3, 4, 5, 9, 11, 12, u32::MAX - 1];
        for number in numbers {
            identities.learn(number, &identity("shop", &format!("pod-{number}")));
        }
        for number in (0..20).chain(u32::MAX - 3..=u32::MAX) {
            let expected = numbers.contains(&number).then(|| identity("shop", &format!("pod-{number}")));
            assert_eq!(identities.get(number), expected, "{number}");
            assert_eq!(identities.namespace(number), expected.as_ref().map(|_| "shop"), "{number}");
        }
        for number in numbers {
            assert_eq!(identities.number(&identity("shop", &format!("pod-{number}"))), (number, false));
        }
        assert_eq!(identities.number(&identity("shop", "new")), (u32::MAX, true));
    }

    #[test]
    fn a_pod_of_a_large_cluster_takes_less_than_120_bytes() {
        let mut identities = Identities::default();
        let pods: u32 = 10_000;
        for pod in 0..pods {
            let owner = Identity {
                pod_uid: format!("0b5e1f3a-9c2d-4e7f-8a6b-{pod:012x}"),
                node: format!("ip-10-0-0-{}.eu-west-1.compute.internal", pod % 90),
                ..identity(&format!("team-{:03}", pod / 50), &format!("checkout-{:010x}-{pod:05}", pod / 10))
            };
            let labels = format!("{{\"app\":\"checkout\",\"pod-template-hash\":\"{:010x}\"}}", pod / 10);
            let word = || "checkout".to_owned();
            let incarnation = Identity { labels, service_account: word(), workload: word(), ..owner.clone() };
            identities.number(&incarnation);
            identities.number(&owner);
        }
        let Identities { words, all, runs, places, .. } = &identities;
        let bytes = words.bytes() + all.capacity() * size_of::<Halves>() + places.allocation_size();
        assert_eq!(runs.len(), 1);
        assert!(bytes < 120 * index(pods), "{} bytes a pod", bytes / index(pods));
    }
}
