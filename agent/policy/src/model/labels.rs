//! The labels of an object.

use std::collections::BTreeMap;
use std::fmt;

/// What ends each key and each value. None of them has it in the API.
const END: char = '\0';

/// The labels of an object, in the order of their keys. They are one text: a tree of them would be a dozen blocks.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Box<str>);

impl Labels {
    /// The value of the label with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// All of them, each with its key and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut words = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((words.next()?, words.next()?)))
    }

    /// Gives the label of this key this value, whether or not there was one.
    pub fn set(&mut self, key: &str, value: &str) {
        *self = self.iter().chain([(key, value)]).collect();
    }

    /// Takes the label of this key away, if there is one.
    pub fn remove(&mut self, key: &str) {
        *self = self.iter().filter(|(own, _)| *own != key).collect();
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    /// Of several with one key the last counts. U+0000, which no label has, becomes U+FFFD.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let word = |given: &str| given.replace(END, "\u{fffd}");
        let labels = labels.into_iter().map(|(key, value)| (word(key.as_ref()), word(value.as_ref())));
        let sorted: BTreeMap<String, String> = labels.collect();
        let mut text = String::with_capacity(sorted.iter().map(|(key, value)| key.len() + value.len() + 2).sum());
        for word in sorted.iter().flat_map(|(key, value)| [key, value]) {
            text.push_str(word);
            text.push(END);
        }
        Self(text.into())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_a_map() {
        let given = [("b", ""), ("a.example/b", "x"), ("", ""), ("tier", "front"), ("b", "ü"), ("a", "-")];
        let map: BTreeMap<&str, &str> = given.into_iter().collect();
        let labels: Labels = given.into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), map.clone().into_iter().collect::<Vec<_>>());
        for key in ["", "a", "b", "tier", "front", "x", "c"] {
            assert_eq!(labels.get(key), map.get(key).copied(), "{key}");
        }
        assert_eq!(labels, given.into_iter().rev().filter(|label| *label != ("b", "")).collect());
        assert_eq!(Labels::default().iter().next(), None);
        assert_eq!(Labels::default(), [("", ""); 0].into_iter().collect());
        assert_ne!(Labels::default(), [("", "")].into_iter().collect());
        assert_ne!(labels, [("b", "")].into_iter().collect());
    }

    #[test]
    fn one_of_them_changes_and_the_others_stay() {
        let mut labels: Labels = [("a", "1"), ("c", "3")].into_iter().collect();
        labels.set("b", "2");
        labels.set("c", "4");
        labels.remove("a");
        labels.remove("d");
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("b", "2"), ("c", "4")]);
    }

    #[test]
    fn a_value_cannot_be_another_label() {
        let labels: Labels = [("a", "1\0role\0admin")].into_iter().collect();
        assert_eq!(labels.get("role"), None);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1\u{fffd}role\u{fffd}admin")]);
    }
}
