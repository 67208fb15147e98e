//! What differs between two versions of a list.

use std::sync::Arc;

use crate::Keyed;

/// What differs between two versions of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<T> {
    /// This was not there before.
    Came(T),
    /// This is there no more.
    Went(T),
    /// One has taken the place of the other.
    Changed {
        /// The one that was there.
        before: T,
        /// The one that is there now.
        after: T,
    },
}

impl<T> Difference<T> {
    /// The same of what is made of each.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> Difference<U> {
        match self {
            Self::Came(after) => Difference::Came(make(after)),
            Self::Went(before) => Difference::Went(make(before)),
            Self::Changed { before, after } => Difference::Changed { before: make(before), after: make(after) },
        }
    }

    /// What was there before, if anything was.
    pub fn before(self) -> Option<T> {
        match self {
            Self::Came(_) => None,
            Self::Went(before) | Self::Changed { before, .. } => Some(before),
        }
    }

    /// What is there now, if anything is.
    pub fn after(self) -> Option<T> {
        match self {
            Self::Went(_) => None,
            Self::Came(after) | Self::Changed { after, .. } => Some(after),
        }
    }
}

impl<T: Copy> Difference<T> {
    /// What was there before and what is there now.
    pub fn both(&self) -> impl Iterator<Item = T> + use<T> {
        self.before().into_iter().chain(self.after())
    }
}

/// What differs between two versions of a list, in the order of the keys.
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
    type Item = Difference<&'a T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.pass_shared();
            let key = match (self.before.peek(), self.after.peek()) {
                (None, None) => return None,
                (Some(one), None) | (None, Some(one)) => one.key(),
                (Some(one), Some(other)) => one.key().min(other.key()),
            };
            match (self.before.next_if(key), self.after.next_if(key)) {
                (Some(before), Some(after)) if before == after => {}
                (Some(before), Some(after)) => return Some(Difference::Changed { before, after }),
                (None, Some(after)) => return Some(Difference::Came(after)),
                (Some(before), None) => return Some(Difference::Went(before)),
                (None, None) => unreachable!("the key is that of one of them"),
            }
        }
    }
}
