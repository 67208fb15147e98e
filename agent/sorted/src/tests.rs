use std::collections::BTreeMap;

use super::*;

type List = SortedList<(u32, u32)>;

fn list(elements: &BTreeMap<u32, u32>) -> List {
    elements.iter().map(|(key, value)| (*key, *value)).collect()
}

/// What must hold of every version.
fn check(list: &List, expected: &BTreeMap<u32, u32>) {
    let elements: Vec<(u32, u32)> = expected.iter().map(|(key, value)| (*key, *value)).collect();
    assert!(list.iter().eq(&elements), "the elements are others");
    assert_eq!((list.len(), list.is_empty()), (elements.len(), elements.is_empty()));
    assert!(list.chunks.iter().all(|chunk| (1..=MOST).contains(&chunk.len())), "a chunk is empty or too long");
    let few = list.chunks.iter().filter(|chunk| chunk.len() < FEW).count();
    assert!(few <= 2 + list.chunks.len() / 2, "{few} of {} chunks are nearly empty", list.chunks.len());
}

#[test]
fn versions_are_what_a_map_is_after_any_edits_and_differ_by_what_differs() {
    for seed in 0..64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let keys = random.u32(1..4000);
        let mut map = BTreeMap::new();
        let mut list = List::default();
        let mut versions = Vec::new();
        for _ in 0..random.usize(1..120) {
            versions.push((list.clone(), map.clone()));
            // A few here and there, many everywhere, or a range that goes but for some of it.
            let edits: BTreeMap<u32, Option<u32>> = match random.u8(..) {
                0..30 => (0..random.usize(..2000))
                    .map(|_| (random.u32(..keys), random.bool().then(|| random.u32(..3))))
                    .collect(),
                30..60 => {
                    let (from, to) = (random.u32(..keys), random.u32(..keys));
                    (from..to.min(from + 600)).map(|key| (key, (random.u8(..) < 20).then_some(1))).collect()
                }
                _ => (0..random.usize(..4))
                    .map(|_| (random.u32(..keys), random.bool().then(|| random.u32(..3))))
                    .collect(),
            };
            list.edit(edits.iter().map(|(key, value)| value.map_or(Edit::Take(key), |value| Edit::Put((*key, value)))));
            for (key, value) in edits {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
            check(&list, &map);
            let mut other = versions[random.usize(..versions.len())].0.clone();
            let is_other = other != list;
            assert_eq!(other.become_these(list.iter().copied().collect()), is_other);
            check(&other, &map);
        }
        for (version, then) in &versions {
            check(version, then);
            let differing = map.keys().chain(then.keys()).copied().collect::<std::collections::BTreeSet<u32>>();
            let expected: Vec<_> = differing
                .into_iter()
                .map(|key| (then.get(&key).map(|value| (key, *value)), map.get(&key).map(|value| (key, *value))))
                .filter(|(before, after)| before != after)
                .collect();
            let told: Vec<_> = version
                .differences(&list)
                .map(|told| told.map(|element| *element))
                .map(|told| (told.before(), told.after()))
                .collect();
            assert_eq!(told, expected, "seed {seed}");
            assert_eq!(*version == list, *then == map);
        }
        for key in 0..keys {
            assert_eq!(list.get(&key).map(|(_, value)| value), map.get(&key));
        }
        let from = random.u32(..keys);
        assert!(list.iter_from(&from).map(|(key, _)| key).eq(map.range(from..).map(|(key, _)| key)));
    }
}

#[test]
fn a_change_makes_no_more_than_its_chunk_anew() {
    let before = list(&(0..10_000).map(|key| (2 * key, 0)).collect());
    let mut after = before.clone();
    after.put((7001, 1));
    assert!(after.take(&40) && !after.take(&41));
    let is_shared = |chunk: &&Arc<[_]>| before.chunks.iter().any(|other| Arc::ptr_eq(chunk, other));
    let shared = after.chunks.iter().filter(is_shared).count();
    assert_eq!(before.chunks.len() - shared, 2);
    let told: Vec<_> = before.differences(&after).collect();
    assert_eq!(told, [Difference::Went(&(40, 0)), Difference::Came(&(7001, 1))]);
}

#[test]
fn what_becomes_what_it_was_stays_shared() {
    let before = list(&(0..1000).map(|key| (key, 0)).collect());
    let mut after = before.clone();
    assert!(!after.become_these((0..1000).map(|key| (key, 0)).collect()));
    assert!(after.chunks.iter().zip(before.chunks.iter()).all(|(one, other)| Arc::ptr_eq(one, other)));
    assert!(after.become_these((1..1000).map(|key| (key, u32::from(key == 500))).collect()));
    check(&after, &(1..1000).map(|key| (key, u32::from(key == 500))).collect());
    assert!(Arc::ptr_eq(after.chunks.last().unwrap(), before.chunks.last().unwrap()));
    assert!(after.become_these(Vec::new()));
    check(&after, &BTreeMap::new());
}

#[test]
fn elements_are_changed_in_one_version_alone() {
    let before = list(&(0..500).map(|key| (key, 0)).collect());
    let mut after = before.clone();
    after.get_mut(&77).unwrap().1 = 1;
    assert_eq!((before.get(&77), after.get(&77)), (Some(&(77, 0)), Some(&(77, 1))));
    assert_eq!(after.get_mut(&500), None);
    after.iter_mut().for_each(|(_, value)| *value += 1);
    assert!(after.iter().all(|(key, value)| *value == 1 + u32::from(*key == 77)));
    assert!(before.iter().all(|(_, value)| *value == 0));
}

#[test]
fn of_several_of_one_key_the_last_one_counts() {
    let list: List = [(3, 1), (1, 1), (3, 2), (2, 1), (1, 2)].into_iter().collect();
    check(&list, &[(1, 2), (2, 1), (3, 2)].into());
}
