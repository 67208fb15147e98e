//! What a check says.

use serde::Serialize;

/// How it stands with what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, and somebody should know this.
    Warning,
    /// Enforcement or evidence is not what it should be.
    Failed,
    /// It could not be found out.
    Unknown,
}

/// One thing that was looked at. Its fields are the keys of `-o json`, which stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at, as a word that stays the same: `kernel.btf`. Several checks of one run may have the same.
    pub(super) name: &'static str,
    /// Which of several, such as an interface; null where there is but one.
    pub(super) subject: Option<String>,
    /// How it stands.
    pub(super) state: State,
    /// What was found, as one clause.
    pub(super) found: String,
    /// What to do, as one clause; null where all is well.
    pub(super) advice: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, subject: None, state: State::Ok, found: found.into(), advice: None }
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::not_ok(name, State::Warning, found.into(), advice.into())
    }

    pub(super) fn failed(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::not_ok(name, State::Failed, found.into(), advice.into())
    }

    pub(super) fn unknown(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::not_ok(name, State::Unknown, found.into(), advice.into())
    }

    /// The same about one of several.
    pub(super) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    fn not_ok(name: &'static str, state: State, found: String, advice: String) -> Self {
        Self { name, subject: None, state, found, advice: Some(advice) }
    }
}

impl State {
    /// The word of `-o json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// At most so many names stand in a sentence; more are counted.
const NAMES_SHOWN: usize = 5;

/// Names as a list in a sentence.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(AsRef::as_ref).collect();
    let text = shown.join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// A number of things, with the word for one of them or for several.
pub(super) fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// An error and its causes, in one clause.
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.ends_with(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    // Stores and the kernel's verifier answer in several lines.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{count, list};

    #[test]
    fn many_names_are_counted() {
        assert_eq!(list(&["a", "b"]), "a, b");
        assert_eq!(list(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
        assert_eq!((count(1, "pod", "pods"), count(0, "pod", "pods")), ("1 pod".into(), "0 pods".into()));
    }
}
