//! What differs between two versions of a list.

use std::sync::Arc;

use crate::Keyed;

/// What differs between two versions of a list: for each key the element of the one and that of the other, of which one may
/// be missing.
#[derive(Debug)]
pub struct Differences<'a, T> {
    before: Rest<'a, T>,
    after: Rest<'a, T>,
}

/// What was not looked at yet.
#[derive(Debug)]
struct Rest<'a, T> {
    chunks: &'a [Arc<[T]>],
    /// The place of the next element in the first of them.
    place: usize,
}

impl<'a, T> Differences<'a, T> {
    pub(crate) fn between(before: &'a [Arc<[T]>], after: &'a [Arc<[T]>]) -> Self {
        let [before, after] = [before, after].map(|chunks| Rest { chunks, place: 0 });
        Self { before, after }
    }

    /// Passes over the chunks that both have next.
    fn pass_shared(&mut self) {
        while let (Rest { chunks: [one, ..], place: 0 }, Rest { chunks: [other, ..], place: 0 }) =
            (&self.before, &self.after)
            && Arc::ptr_eq(one, other)
        {
            self.before.chunks = &self.before.chunks[1..];
            self.after.chunks = &self.after.chunks[1..];
        }
    }
}

impl<'a, T: Keyed> Rest<'a, T> {
    fn peek(&self) -> Option<&'a T> {
        self.chunks.first().map(|chunk| &chunk[self.place])
    }

    /// The next element, if its key is this one.
    fn next_if(&mut self, key: &T::Key) -> Option<&'a T> {
        let next = self.peek().filter(|next| next.key() == key)?;
        self.place += 1;
        if self.place == self.chunks[0].len() {
            *self = Self { chunks: &self.chunks[1..], place: 0 };
        }
        Some(next)
    }
}

impl<'a, T: Keyed + PartialEq> Iterator for Differences<'a, T> {
    type Item = (Option<&'a T>, Option<&'a T>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.pass_shared();
            let key = match (self.before.peek(), self.after.peek()) {
                (None, None) => return None,
                (Some(one), None) | (None, Some(one)) => one.key(),
                (Some(one), Some(other)) => one.key().min(other.key()),
            };
            let (before, after) = (self.before.next_if(key), self.after.next_if(key));
            if before != after {
                return Some((before, after));
            }
        }
    }
}
