//! The balance: what was counted on the way from the kernel to a seal, and the one place that says when it is right.
//!
//! ```text
//! kernel --ring, denials, losses--> agent --commits--> spool --batches--> files --windows--> seal
//! ```
//!
//! A count that both sides of an arrow have must be the same. Of the kernel, which counts while the agent reads, each
//! count is there twice, taken before the reading began and after it ended: what was read lies between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError};

/// The tables of the evidence.
pub const TABLES: [&str; 3] = ["coverage", "policies", "verdicts"];

/// What a seal states of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Of each table, how many rows came to which place.
    pub rows: BTreeMap<String, Rows>,
    /// Bytes of the spool that could not be read.
    pub damaged_bytes: u64,
    /// The newest statement of the agent among the records.
    pub kernel: Option<KernelBalance>,
}

/// Rows of one table in one window, at each place on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Read from the spool.
    pub spooled: u64,
    /// Written to files.
    pub written: u64,
    /// In the objects that the seal lists.
    pub sealed: u64,
}

/// The agent's statement of one moment; sums since the kernel's tables were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelBalance {
    /// The name of the kernel's tables.
    pub ring: String,
    /// Records that were offered to the ring.
    pub events_offered: u64,
    /// Records that found room in it.
    pub events_accepted: Around,
    /// Records that did not.
    pub events_refused: u64,
    /// Records that were taken out of it.
    pub events_read: u64,
    /// What was denied.
    pub denied_attempts: Around,
    /// What was denied and is in records of its own kind.
    pub denied_recorded: u64,
    /// What was denied and is in no record but a loss.
    pub denied_lost: u64,
    /// What could be kept nowhere.
    pub records_lost: Around,
    /// What of that is in a loss record.
    pub lost_recorded: u64,
    /// What of that was counted without its endpoint.
    pub lost_unattributed: u64,
    /// Rows handed to the spool in this boot, by table.
    pub spooled: BTreeMap<String, u64>,
}

/// A count of the kernel around a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Around {
    /// Before the reading began.
    pub before: u64,
    /// After it had ended.
    pub after: u64,
}

impl Around {
    fn holds(self, read: u64) -> bool {
        (self.before..=self.after).contains(&read)
    }
}

impl Balance {
    /// What does not hold, a sentence each; nothing where all does. `sealed` are the rows of the seal's objects, by table.
    pub fn differences(&self, sealed: &BTreeMap<String, u64>) -> Vec<String> {
        let mut found = Vec::new();
        let tables = self.rows.keys().chain(sealed.keys()).collect::<std::collections::BTreeSet<_>>();
        for table in tables {
            let rows = self.rows.get(table).copied().unwrap_or_default();
            let listed = sealed.get(table).copied().unwrap_or_default();
            if rows.sealed != listed {
                found.push(format!("{table}: the seal says {} rows and lists {listed}", rows.sealed));
            }
            if rows.spooled != rows.written || rows.written != rows.sealed {
                found.push(format!(
                    "{table}: {} rows were read from the spool, {} written to files, {} sealed",
                    rows.spooled, rows.written, rows.sealed
                ));
            }
        }
        found.extend(self.kernel.iter().flat_map(KernelBalance::differences));
        found
    }
}

impl KernelBalance {
    /// The statement as text, with sorted keys: what stands in the column `balance` of `coverage`.
    pub fn to_text(&self) -> String {
        let value = serde_json::to_value(self).expect("it is made of texts and numbers");
        serde_json_canonicalizer::to_string(&value).expect("a value is always JSON")
    }

    /// Reads [`KernelBalance::to_text`], and no other form. Keys that this version does not know are ignored.
    pub fn from_text(text: &str) -> Result<Self, DocumentError> {
        document::canonical(text.as_bytes()).and_then(|value| {
            serde_json::from_value(value).map_err(|error| DocumentError::Unreadable(error.to_string()))
        })
    }

    /// What does not hold, a sentence each.
    pub fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |what: &str, kernel: Around, read: u64| {
            if !kernel.holds(read) {
                found.push(format!(
                    "{what}: the kernel counted {} before the reading and {} after it, and {read} came out",
                    kernel.before, kernel.after
                ));
            }
        };
        check("events", self.events_accepted, self.events_read);
        check("denied attempts", self.denied_attempts, self.denied_recorded.saturating_add(self.denied_lost));
        check("losses", self.records_lost, self.lost_recorded.saturating_add(self.lost_unattributed));
        match self.events_offered.checked_sub(self.events_refused) {
            Some(accepted) => check("offered events", self.events_accepted, accepted),
            None => {
                found.push(format!("{} events were offered and {} refused", self.events_offered, self.events_refused));
            }
        }
        found
    }
}
