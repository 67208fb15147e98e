//! Label selectors, with the API's meaning.

use std::ops::Deref;
use std::sync::Arc;

use super::Labels;

/// A label selector: every requirement must hold, and one without requirements selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector {
    /// The `matchLabels`, each as [`Operator::In`] with its one value, and the `matchExpressions`.
    pub requirements: Arc<[Requirement]>,
}

/// What a selector asks of one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of its value.
    pub operator: Operator,
}

/// The operators of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there, and its value is one of these.
    In(Values),
    /// The label's value is none of these, or the label is not there at all.
    NotIn(Values),
    /// The label is there, whatever its value.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// Values of a label, in order, each of them once. Most often it is one, in each of thousands of selectors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Values(Box<[String]>);

impl FromIterator<String> for Values {
    fn from_iter<I: IntoIterator<Item = String>>(values: I) -> Self {
        let mut values: Vec<String> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        Self(values.into())
    }
}

impl Deref for Values {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl LabelSelector {
    /// The empty selector, which selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector whose `matchLabels` are these.
    pub fn labels<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let of_label = |(key, value): (K, V)| {
            let values = [value.into()].into_iter().collect();
            Requirement { key: key.into(), operator: Operator::In(values) }
        };
        Self { requirements: labels.into_iter().map(of_label).collect() }
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    /// Whether it holds for these labels.
    pub fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|own| own == value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.iter().any(|own| own == value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}
