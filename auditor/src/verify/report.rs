//! What was found, gathered from all threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::finding::{AdmissionCode, FindingCode, NoteCode};
use super::names::ChainName;

/// A finding: something is missing, altered or contradicts itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reasons {
    /// The seal or deletion that says otherwise.
    pub(super) seal: Option<String>,
    /// A sentence for each reason.
    pub(super) sentences: BTreeSet<String>,
}

/// Alike admissions of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admissions {
    /// How many documents or files say so.
    pub(super) count: u64,
    /// What is counted in them, such as lost records; 0 where nothing is.
    pub(super) sum: u64,
    /// The first of them by path.
    pub(super) first: String,
}

/// Alike notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notes {
    /// How many.
    pub(super) count: u64,
    /// The first by path, where it is about one.
    pub(super) first: Option<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// By object and code.
    pub(super) findings: BTreeMap<(String, FindingCode), Reasons>,
    /// By code and chain.
    pub(super) admissions: BTreeMap<(AdmissionCode, ChainName), Admissions>,
    /// By code and sentence.
    pub(super) notes: BTreeMap<(NoteCode, String), Notes>,
}

/// Gathers what is found.
#[derive(Debug, Default)]
pub(super) struct Report(Mutex<Found>);

impl Report {
    /// `object` is not as it should be, because of `why`; `seal` is the document that says otherwise.
    pub(super) fn finding(&self, code: FindingCode, object: &str, seal: Option<&str>, why: impl Into<String>) {
        let mut found = self.lock();
        let reasons = found.findings.entry((object.to_owned(), code)).or_default();
        if reasons.seal.is_none() {
            reasons.seal = seal.map(str::to_owned);
        }
        reasons.sentences.insert(why.into());
    }

    /// `object` of `chain` says that something is not known, `sum` records for example.
    pub(super) fn admission(&self, code: AdmissionCode, chain: &ChainName, object: &str, sum: u64) {
        let mut found = self.lock();
        let first = object.to_owned();
        let alike = found.admissions.entry((code, chain.clone())).or_insert(Admissions { count: 0, sum: 0, first });
        alike.count += 1;
        alike.sum = alike.sum.saturating_add(sum);
        if object < alike.first.as_str() {
            object.clone_into(&mut alike.first);
        }
    }

    /// `what`, which is no fault, is so of `object`.
    pub(super) fn note(&self, code: NoteCode, object: Option<&str>, what: impl Into<String>) {
        let mut found = self.lock();
        let alike = found.notes.entry((code, what.into())).or_insert(Notes { count: 0, first: None });
        alike.count += 1;
        if let Some(object) = object
            && alike.first.as_deref().is_none_or(|first| object < first)
        {
            alike.first = Some(object.to_owned());
        }
    }

    /// All of it.
    pub(super) fn into_found(self) -> Found {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        // Each change is complete when a panic could come.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
