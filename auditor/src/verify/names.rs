//! What a path below an evidence root names; `schemas/FORMAT.md`, section 2.

use std::fmt;

use chrono::{Datelike as _, NaiveDate};
use podwitness_schemas::layout;
use podwitness_seals::document::GREATEST_NUMBER;

/// The folders that have evidence alone.
pub(super) const FOLDERS: [&str; 6] = ["verdicts", "coverage", "policies", "seals", "deletions", "keys"];

/// A chain: of seals where it has a node, else of deletions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ChainName {
    pub(super) cluster: String,
    pub(super) node: Option<String>,
}

impl ChainName {
    /// Where its documents stand.
    pub(super) fn folder(&self) -> String {
        match &self.node {
            Some(node) => layout::seals_folder(&self.cluster, node),
            None => layout::deletions_folder(&self.cluster),
        }
    }

    /// The name that the document `number` has, as far as it follows from the chain.
    pub(super) fn name_of(&self, number: u64) -> String {
        match self.node {
            Some(_) => format!("{}/*-{number:012}.json", self.folder()),
            None => layout::deletion_path(&self.cluster, number),
        }
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(formatter, "{}/{node}", self.cluster),
            None => write!(formatter, "deletions of {}", self.cluster),
        }
    }
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A file of one of [`TABLES`](podwitness_seals::balance::TABLES).
    Object,
    /// A seal or a deletion, or the signature of one.
    Document { chain: ChainName, number: u64, signature: bool },
    /// A public key.
    Key { id: String },
    /// Something in a folder of evidence that has no name as evidence has.
    Stray,
    /// Something else, which is no evidence.
    Outside,
}

impl Name {
    /// What `path` names.
    pub(super) fn of(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').collect();
        let name = match segments.as_slice() {
            ["verdicts", cluster, namespace, date, hour, file] => (value(cluster, "cluster").is_some()
                && value(namespace, "namespace").is_some())
            .then(|| object(date, Some(hour), file)),
            ["coverage" | "policies", cluster, date, file] => {
                value(cluster, "cluster").map(|_| object(date, None, file))
            }
            ["seals", cluster, node, file] => seal(cluster, node, file),
            ["deletions", cluster, file] => deletion(cluster, file),
            ["keys", file] => key(file),
            [folder, _, ..] if FOLDERS.contains(folder) => None,
            _ => Some(Self::Outside),
        };
        name.unwrap_or(Self::Stray)
    }
}

/// The name in a segment such as `cluster=prod`.
fn value(segment: &str, key: &str) -> Option<String> {
    layout::decode(segment.strip_prefix(key)?.strip_prefix('=')?)
}

fn object(date: &str, hour: Option<&str>, file: &str) -> Name {
    let is_date = date.strip_prefix("date=").is_some_and(|date| {
        NaiveDate::parse_from_str(date, "%Y-%m-%d")
            .is_ok_and(|parsed| parsed.year() > 0 && parsed.format("%Y-%m-%d").to_string() == date)
    });
    let is_hour = hour.is_none_or(|hour| {
        hour.strip_prefix("hour=").is_some_and(|hour| (0..24).any(|number| format!("{number:02}") == hour))
    });
    let is_file = file.strip_suffix(".parquet").and_then(|stem| stem.rsplit_once('-')).is_some_and(|(origin, seq)| {
        // Where the node's name ends and the boot's begins only the content says: both may have a hyphen.
        let both = matches!(origin.as_bytes(), [_, between @ .., _] if between.contains(&b'-'));
        both && layout::decode(origin).is_some() && number(seq).is_some()
    });
    if is_date && is_hour && is_file { Name::Object } else { Name::Stray }
}

fn seal(cluster: &str, node: &str, file: &str) -> Option<Name> {
    let chain = ChainName { cluster: value(cluster, "cluster")?, node: Some(value(node, "node")?) };
    let (stem, signature) = document(file)?;
    let (boot, digits) = stem.rsplit_once('-')?;
    layout::decode(boot)?;
    Some(Name::Document { chain, number: number(digits)?, signature })
}

fn deletion(cluster: &str, file: &str) -> Option<Name> {
    let chain = ChainName { cluster: value(cluster, "cluster")?, node: None };
    let (stem, signature) = document(file)?;
    Some(Name::Document { chain, number: number(stem)?, signature })
}

/// A number as names have it: those of documents and sequences begin at 1.
fn number(digits: &str) -> Option<u64> {
    layout::sequence_number(digits).filter(|number| (1..=GREATEST_NUMBER).contains(number))
}

fn document(file: &str) -> Option<(&str, bool)> {
    let (file, signature) = match file.strip_suffix(layout::SIGNATURE_SUFFIX) {
        Some(file) => (file, true),
        None => (file, false),
    };
    Some((file.strip_suffix(".json")?, signature))
}

fn key(file: &str) -> Option<Name> {
    let id = file.strip_suffix(".pem")?;
    is_hash(id).then(|| Name::Key { id: id.to_owned() })
}

/// Whether `text` is a SHA-256 as documents have it.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
