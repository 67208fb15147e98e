//! A sorted list of which many versions share what they have in common.
//!
//! The agent follows a cluster: from one change to the next nearly everything stays, and several parts hold the version
//! that they work with (the source the newest, the compiler and each slot of the kernel's tables the one that it was brought
//! to). Here a version costs what differs from the others, in memory as in time: the list is cut into chunks of at most
//! [`MOST`] elements, a change makes the chunks anew in which something changes, and whoever compares two versions passes
//! over the chunks that both have.
//!
//! Persistent trees of other libraries do this for any collection, with nodes of a fixed size that are half empty when
//! elements come in order; a chunk here has no room for what is not there, and elements that are found side by side.
#![forbid(unsafe_code)]

mod differences;

use std::sync::Arc;

pub use differences::{Difference, Differences};

/// The most elements of a chunk.
const MOST: usize = 128;
/// A chunk of fewer elements becomes one with the chunk behind it.
const FEW: usize = MOST / 4;

/// Something that has a key, by which it is sorted.
pub trait Keyed {
    /// What keys are.
    type Key: Ord + ?Sized;

    /// Its key. It is always the same.
    fn key(&self) -> &Self::Key;
}

/// An entry of a table.
impl<K: Ord, V> Keyed for (K, V) {
    type Key = K;

    fn key(&self) -> &K {
        &self.0
    }
}

/// A change of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a, T: Keyed> {
    /// This is put there, in the place of the element of its key if there is one.
    Put(T),
    /// The element of this key is taken away, if there is one.
    Take(&'a T::Key),
}

impl<T: Keyed> Edit<'_, T> {
    fn key(&self) -> &T::Key {
        match self {
            Self::Put(element) => element.key(),
            Self::Take(key) => key,
        }
    }
}

/// Elements in the order of their keys, no key twice. A clone costs nothing, and a change no more than the chunks in which
/// it is.
#[derive(Debug)]
pub struct SortedList<T> {
    /// None is empty.
    chunks: Arc<Vec<Arc<[T]>>>,
    len: usize,
}

impl<T: Keyed> SortedList<T> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element of this key.
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        let chunk = self.chunks.get(self.place(key)?)?;
        Some(&chunk[position(chunk, key).ok()?])
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Those of this key and behind it, in their order.
    pub fn iter_from<'a>(&'a self, key: &T::Key) -> impl Iterator<Item = &'a T> + Clone + use<'a, T> {
        let first = self.place(key).unwrap_or(0);
        let (chunk, behind) =
            self.chunks[first..].split_first().map_or((&[][..], &[][..]), |(chunk, behind)| (chunk, behind));
        let from = position(chunk, key).unwrap_or_else(|next| next);
        chunk[from..].iter().chain(behind.iter().flat_map(|chunk| chunk.iter()))
    }

    /// Whether it is the very same version, so that nothing differs.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// The place of the chunk in which the key's element is, if it is anywhere; none before the first chunk.
    fn place(&self, key: &T::Key) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk[0].key() <= key).checked_sub(1)
    }
}

impl<T: Keyed + Clone> SortedList<T> {
    /// Puts an element there, in the place of the one of its key if there is one.
    pub fn put(&mut self, element: T) {
        self.edit([Edit::Put(element)]);
    }

    /// Takes the element of a key away; returns whether there was one.
    pub fn take(&mut self, key: &T::Key) -> bool {
        let is_there = self.get(key).is_some();
        if is_there {
            self.edit([Edit::Take(key)]);
        }
        is_there
    }

    /// Makes changes, which are in the order of their keys, no key twice.
    pub fn edit<'a>(&mut self, edits: impl IntoIterator<Item = Edit<'a, T>>)
    where
        T: 'a,
    {
        let mut edits = edits.into_iter().peekable();
        while let Some(first) = edits.peek() {
            let chunks = Arc::make_mut(&mut self.chunks);
            let place = chunks.partition_point(|chunk| chunk[0].key() <= first.key()).saturating_sub(1);
            let before = chunks.get(place).map_or(&[][..], |chunk| chunk);
            let next = chunks.get(place + 1);
            let here = std::iter::from_fn(|| edits.next_if(|edit| next.is_none_or(|next| edit.key() < next[0].key())));
            let mut after = edited(before, here);
            let mut replaced = place..(place + 1).min(chunks.len());
            self.len = self.len - before.len() + after.len();
            if let Some(next) = next.filter(|_| after.len() < FEW) {
                after.extend_from_slice(next);
                replaced.end += 1;
            }
            chunks.splice(replaced, pieces(after));
        }
    }

    /// Has it hold these elements, which are in the order of their keys, no key twice; returns whether anything is different.
    /// What is as it was stays shared with other versions.
    pub fn become_these(&mut self, elements: Vec<T>) -> bool
    where
        T: PartialEq,
    {
        let after = Self::from_sorted(elements);
        let before = self.clone();
        let edits: Vec<Edit<'_, T>> = before
            .differences(&after)
            .map(|difference| match difference {
                Difference::Came(now) | Difference::Changed { after: now, .. } => Edit::Put(now.clone()),
                Difference::Went(gone) => Edit::Take(gone.key()),
            })
            .collect();
        let is_different = !edits.is_empty();
        self.edit(edits);
        is_different
    }

    /// The element of this key, to be changed in everything but its key.
    pub fn get_mut(&mut self, key: &T::Key) -> Option<&mut T> {
        let place = self.place(key)?;
        let position = position(&self.chunks[place], key).ok()?;
        Some(&mut Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[place])[position])
    }

    /// All of them, to be changed in everything but their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        Arc::make_mut(&mut self.chunks).iter_mut().flat_map(|chunk| Arc::make_mut(chunk).iter_mut())
    }

    fn from_sorted(elements: Vec<T>) -> Self {
        Self { len: elements.len(), chunks: Arc::new(pieces(elements)) }
    }
}

impl<T: Keyed + PartialEq> SortedList<T> {
    /// What differs between this version and another one, in the order of the keys.
    pub fn differences<'a>(&'a self, after: &'a Self) -> Differences<'a, T> {
        Differences::between(&self.chunks, &after.chunks)
    }
}

/// The place of a key's element, or else where it would be.
fn position<T: Keyed>(chunk: &[T], key: &T::Key) -> Result<usize, usize> {
    chunk.binary_search_by(|element| element.key().cmp(key))
}

/// A chunk's elements after some edits; both are in order.
fn edited<'a, T: Keyed + Clone + 'a>(before: &[T], edits: impl Iterator<Item = Edit<'a, T>>) -> Vec<T> {
    let mut after = Vec::with_capacity(before.len() + 1);
    let mut rest = before;
    for edit in edits {
        let (untouched, behind) = rest.split_at(position(rest, edit.key()).unwrap_or_else(|next| next));
        after.extend_from_slice(untouched);
        rest = match behind {
            [first, behind @ ..] if first.key() == edit.key() => behind,
            behind => behind,
        };
        if let Edit::Put(element) = edit {
            after.push(element);
        }
    }
    after.extend_from_slice(rest);
    after
}

/// Elements in chunks of about the same size.
fn pieces<T>(elements: Vec<T>) -> Vec<Arc<[T]>> {
    let number = elements.len().div_ceil(MOST);
    if number <= 1 {
        return (number == 1).then(|| elements.into()).into_iter().collect();
    }
    let size = elements.len().div_ceil(number);
    let mut elements = elements.into_iter();
    (0..number).map(|_| elements.by_ref().take(size).collect()).collect()
}

impl<T> Default for SortedList<T> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<T> Clone for SortedList<T> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<T: Keyed + PartialEq> PartialEq for SortedList<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.len == other.len && self.differences(other).next().is_none()
    }
}

impl<T: Keyed + Eq> Eq for SortedList<T> {}

/// In any order; of several of one key the last one counts.
impl<T: Keyed + Clone> FromIterator<T> for SortedList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements: Vec<T> = elements.into_iter().collect();
        elements.reverse();
        elements.sort_by(|one, other| one.key().cmp(other.key()));
        elements.dedup_by(|later, first| later.key() == first.key());
        Self::from_sorted(elements)
    }
}

#[cfg(test)]
mod tests;
