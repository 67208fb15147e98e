//! The kinds of maps that tables are kept in, and what is between two contents of one.

use aya::maps::{HashMap, InnerMap, LpmTrie, MapData, MapError, lpm_trie::Key};
use podwitness_sorted::{Difference, SortedList};
use podwitness_wire::{Address, AddressEntry, PolicyEntry, PolicyKeyData};

use crate::tables::{AddressPrefix, PolicyPrefix};

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

/// The entries of a table.
pub(super) type Entries<M> = SortedList<(<M as Kept>::Key, <M as Kept>::Value)>;

/// An entry's way from one content to another.
pub(super) type Edit<K, V> = Difference<(K, V)>;

/// All that differs between two contents.
pub(super) fn edits<K: Copy + Ord, V: Copy + PartialEq>(
    before: &SortedList<(K, V)>,
    after: &SortedList<(K, V)>,
) -> Vec<Edit<K, V>> {
    before.differences(after).map(|difference| difference.map(|entry| *entry)).collect()
}
