//! The kinds of maps that tables are kept in, and what is between two contents of one.

use aya::maps::{HashMap, InnerMap, LpmTrie, MapData, MapError, lpm_trie::Key};
use podwitness_wire::{Address, AddressEntry, PolicyEntry, PolicyKeyData};

use crate::tables::{AddressPrefix, PolicyPrefix, Shared};

/// `BPF_F_NO_PREALLOC`, which tries must have.
const NO_PREALLOCATION: u32 = 1;

/// A map of one table.
pub(super) trait Kept: InnerMap + Sized {
    type Key: Copy + Ord;
    type Value: Copy + PartialEq;

    /// A new map with room for so many entries.
    fn create(room: u32) -> Result<Self, MapError>;
    /// Puts an entry in, in the place of the one of its key.
    fn put(&mut self, key: Self::Key, value: &Self::Value) -> Result<(), MapError>;
    /// Takes the entry of a key out.
    fn take(&mut self, key: Self::Key) -> Result<(), MapError>;
}

impl<K: aya::Pod + Ord, V: aya::Pod + PartialEq> Kept for HashMap<MapData, K, V> {
    type Key = K;
    type Value = V;

    fn create(room: u32) -> Result<Self, MapError> {
        Self::create(room, 0)
    }

    fn put(&mut self, key: K, value: &V) -> Result<(), MapError> {
        self.insert(key, value, 0)
    }

    fn take(&mut self, key: K) -> Result<(), MapError> {
        self.remove(&key)
    }
}

/// A trie of a prefix type of ours.
macro_rules! trie {
    ($prefix:ty, $data:ident: $key:ty => $value:ty) => {
        impl Kept for LpmTrie<MapData, $key, $value> {
            type Key = $prefix;
            type Value = $value;

            fn create(room: u32) -> Result<Self, MapError> {
                Self::create(room, NO_PREALLOCATION)
            }

            fn put(&mut self, key: $prefix, value: &$value) -> Result<(), MapError> {
                self.insert(&Key::new(key.bits, key.$data), value, 0)
            }

            fn take(&mut self, key: $prefix) -> Result<(), MapError> {
                self.remove(&Key::new(key.bits, key.$data))
            }
        }
    };
}

trie!(AddressPrefix, address: Address => AddressEntry);
trie!(PolicyPrefix, data: PolicyKeyData => PolicyEntry);

/// The entries of a table, in the order of their keys.
pub(super) type Entries<M> = Shared<(<M as Kept>::Key, <M as Kept>::Value)>;

/// The entries in the order of their keys.
pub(super) fn in_order<K: Copy + Ord, V: Copy>(entries: &Shared<(K, V)>) -> Shared<(K, V)> {
    let mut entries = entries.clone();
    if !entries.is_sorted_by_key(|(key, _)| *key) {
        entries.sort_unstable_by_key(|(key, _)| *key);
    }
    entries
}

/// One entry's way from one content to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edit<K, V> {
    pub(crate) key: K,
    pub(crate) before: Option<V>,
    pub(crate) after: Option<V>,
}

/// All that differs between two contents, both in order.
pub(super) fn edits<K: Copy + Ord, V: Copy + PartialEq>(before: &[(K, V)], after: &[(K, V)]) -> Vec<Edit<K, V>> {
    let (mut old, mut new) = (before.iter().copied().peekable(), after.iter().copied().peekable());
    let mut edits = Vec::new();
    if std::ptr::eq(before, after) {
        return edits;
    }
    loop {
        let (key, before, after) = match (old.peek(), new.peek()) {
            (None, None) => return edits,
            (Some(&(key, _)), None) => (key, old.next(), None),
            (None, Some(&(key, _))) => (key, None, new.next()),
            (Some(&(gone, _)), Some(&(came, _))) => {
                let key = gone.min(came);
                (key, old.next_if(|(next, _)| *next == key), new.next_if(|(next, _)| *next == key))
            }
        };
        let (before, after) = (before.map(|(_, value)| value), after.map(|(_, value)| value));
        if before != after {
            edits.push(Edit { key, before, after });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(key: u32, before: Option<u32>, after: Option<u32>) -> Edit<u32, u32> {
        Edit { key, before, after }
    }

    #[test]
    fn edits_are_what_differs() {
        let before = [(1, 10), (2, 20), (4, 40), (7, 70)];
        let after = [(0, 0), (2, 20), (4, 41), (5, 50), (9, 90)];
        let expected = [
            edit(0, None, Some(0)),
            edit(1, Some(10), None),
            edit(4, Some(40), Some(41)),
            edit(5, None, Some(50)),
            edit(7, Some(70), None),
            edit(9, None, Some(90)),
        ];
        assert_eq!(edits(&before, &after), expected);
        assert_eq!(edits(&before, &before), []);
        assert_eq!(edits(&[], &[(3, 3)]), [edit(3, None, Some(3))]);
        assert_eq!(edits(&[(3, 3)], &[]), [edit(3, Some(3), None)]);
    }

    #[test]
    fn entries_are_put_in_order() {
        assert_eq!(*in_order(&vec![(2, 'b'), (1, 'a'), (3, 'c')].into()), [(1, 'a'), (2, 'b'), (3, 'c')]);
    }
}
