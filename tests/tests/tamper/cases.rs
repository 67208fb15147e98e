//! The table: every tampering with every part of the root.

mod deletions;
mod files;
mod keys;
mod marker;
mod seals;

use podwitness_tests::sealed_root::golden::Golden;

use crate::edit::Edit;
use crate::expect::{Expect, Findings};

/// What somebody does.
pub(crate) const TAMPERINGS: [&str; 10] =
    ["flip", "truncate", "replace", "delete", "add", "rename", "re-date", "re-order", "re-sign", "roll-back"];

/// With what.
pub(crate) const PARTS: [&str; 9] =
    ["verdicts", "coverage", "policies", "seals", "signatures", "keys", "deletions", "deletion-signatures", "marker"];

/// What makes no sense, and why.
pub(crate) const NO_SENSE: [(&str, &[&str], &str); 10] = [
    (
        "re-sign",
        &["verdicts", "coverage", "policies"],
        "a file has no signature of its own; its seal's is `re-sign/seals`",
    ),
    ("re-sign", &["keys"], "a key is signed by nobody; another one in its place is `replace/keys`"),
    ("re-sign", &["signatures"], "the signature is what `re-sign/seals` puts anew"),
    ("re-sign", &["deletion-signatures"], "the signature is what `re-sign/deletions` puts anew"),
    ("re-sign", &["marker"], "it is not signed"),
    ("re-date", &["keys"], "a key's path has no date and no folder of somebody"),
    ("re-date", &["marker"], "there is one place for it"),
    ("re-order", &["marker"], "there is one of it"),
    ("add", &["marker"], "there is one place for it, and another name at the root is no evidence"),
    (
        "roll-back",
        &["verdicts", "coverage", "policies", "signatures", "keys", "deletion-signatures", "marker"],
        "an object is created once, so there is no older copy of one; a chain that is rolled back is `roll-back/seals` and `roll-back/deletions`",
    ),
];

/// One tampering, and what must be found.
pub(crate) struct Case {
    /// `tampering/part/which`.
    pub(crate) name: String,
    /// Whether the verifiers are given keys.
    pub(crate) trusted: bool,
    pub(crate) edits: Vec<Edit>,
    pub(crate) findings: Findings,
}

impl Case {
    fn new(tampering: &str, part: &str, which: &str, edits: Vec<Edit>, findings: Findings) -> Self {
        Self { name: format!("{tampering}/{part}/{which}"), trusted: true, edits, findings }
    }
}

/// All of them.
pub(crate) fn cases(golden: &Golden) -> Vec<Case> {
    let expect = Expect::of(golden);
    let mut cases = Vec::new();
    for table in ["verdicts", "coverage", "policies"] {
        cases.extend(files::cases(golden, table));
    }
    cases.extend(seals::of_seals(golden, &expect));
    cases.extend(seals::of_signatures(golden, &expect));
    cases.extend(keys::cases(golden, &expect));
    cases.extend(deletions::of_deletions(golden, &expect));
    cases.extend(deletions::of_signatures(golden, &expect));
    cases.extend(marker::cases());
    cases
}

/// The first, the middle and the last of them, by these names.
fn thirds(paths: &[String]) -> [(&'static str, String); 3] {
    [("first", paths[0].clone()), ("middle", paths[paths.len() / 2].clone()), ("last", paths[paths.len() - 1].clone())]
}

/// Where `needle` stands in an object.
fn find(golden: &Golden, path: &str, needle: &str) -> usize {
    let bytes = &golden.root.objects[path];
    bytes.windows(needle.len()).position(|at| at == needle.as_bytes()).expect("it is in there") + needle.len() - 1
}

fn size(golden: &Golden, path: &str) -> usize {
    golden.root.objects[path].len()
}

fn flip(path: &str, at: usize) -> Edit {
    Edit::Flip { path: path.to_owned(), at }
}

fn truncate(path: &str, bytes: usize) -> Edit {
    Edit::Truncate { path: path.to_owned(), bytes }
}

fn delete(path: &str) -> Edit {
    Edit::Delete { path: path.to_owned() }
}

fn relocate(from: &str, to: &str) -> Edit {
    Edit::Move { from: from.to_owned(), to: to.to_owned() }
}

fn copy(from: &str, to: &str) -> Edit {
    Edit::Copy { from: from.to_owned(), to: to.to_owned() }
}

fn swap(one: &str, other: &str) -> Edit {
    Edit::Swap { one: one.to_owned(), other: other.to_owned() }
}

fn signature(path: &str) -> String {
    podwitness_tests::sealed_root::signature_path(path)
}
