//! Reads the keys of one section and collects what is wrong, so that every fault is told and not only the first.

use std::cell::RefCell;
use std::fmt::Write;

use crate::fault::Fault;
use crate::tree::{Entry, Node, Value};

/// Where faults are collected; shared by all sections of one file.
pub(crate) type Faults = RefCell<Vec<Fault>>;

/// One section of the file. A key is known once it was asked for; [`Section::finish`] refuses all others, so it comes
/// last.
pub(crate) struct Section<'a> {
    path: String,
    /// The line of the section's key, or `None` where the file does not have the section.
    line: Option<u64>,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    faults: &'a Faults,
    faults_before: usize,
}

impl<'a> Section<'a> {
    /// The file's outermost section.
    pub(crate) fn root(tree: &'a Node, faults: &'a Faults) -> Self {
        let root = Self::open(String::new(), Some((tree.line, &tree.value)), faults);
        // What is missing from the file as a whole is missing on no line in particular.
        Self { line: None, ..root }
    }

    /// A section that is absent or empty has no keys, so that each has its default.
    fn open(path: String, found: Option<(u64, &'a Value)>, faults: &'a Faults) -> Self {
        let faults_before = faults.borrow().len();
        let entries = match found {
            None | Some((_, Value::Null)) => &[],
            Some((_, Value::Map(entries))) => entries.as_slice(),
            Some((line, other)) => {
                let problem = format!("expected a section of `key: value` lines, found {other}");
                faults.borrow_mut().push(Fault { key: path.clone(), line: Some(line), problem });
                &[]
            }
        };
        let line = found.map(|(line, _)| line);
        Self { path, line, entries, known: Vec::new(), faults, faults_before }
    }

    /// The section under `key`.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'a> {
        let found = self.find(key).map(|entry| (entry.line, &entry.node.value));
        Section::open(self.path_of(key), found, self.faults)
    }

    /// Whether `key` stands in the file, whatever its value.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// The value of `key` as `read` understands it; `None` where it is absent, or `read` told a fault.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.find(key)?;
        match read(&entry.node.value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.push(self.path_of(key), Some(entry.node.line), problem);
                None
            }
        }
    }

    /// As [`Section::optional`], and a fault that names what was `expected` where the key is absent.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.fault(key, format!("missing; expected {expected}"));
        }
        self.optional(key, read)
    }

    /// The value of `key`, or `default` where it is absent or a fault was told.
    pub(crate) fn or<T>(&mut self, key: &'static str, default: T, read: impl FnOnce(&Value) -> Result<T, String>) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// Each item of the list under `key`, without those of which `read` told a fault; absent is empty.
    pub(crate) fn list<T: PartialEq>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(entry) = self.find(key) else { return Vec::new() };
        let Value::List(items) = &entry.node.value else {
            self.push(
                self.path_of(key),
                Some(entry.node.line),
                format!("expected a list such as `[a, b]`, found {}", entry.node.value),
            );
            return Vec::new();
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let problem = match read(&item.value) {
                Ok(value) if list.contains(&value) => format!("{} stands in the list already", item.value),
                Ok(value) => {
                    list.push(value);
                    continue;
                }
                Err(problem) => problem,
            };
            self.push(format!("{}[{index}]", self.path_of(key)), Some(item.line), problem);
        }
        list
    }

    /// Tells a fault of `key`: of its absence, or of its value beside others.
    pub(crate) fn fault(&mut self, key: &'static str, problem: String) {
        let line = self.find(key).map(|entry| entry.node.line).or(self.line);
        self.push(self.path_of(key), line, problem);
    }

    /// Tells a fault of the section as a whole.
    pub(crate) fn fault_here(&mut self, problem: String) {
        self.push(self.path.clone(), self.line, problem);
    }

    /// Whether no fault was told since the section was opened: values are compared only then, lest a default that
    /// stands in for a faulty value make a second fault.
    pub(crate) fn is_sound(&self) -> bool {
        self.faults.borrow().len() == self.faults_before
    }

    /// Refuses every key that was never asked for.
    pub(crate) fn finish(self) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let mut problem = "unknown key".to_owned();
            if let Some(near) = nearest(&entry.key, &self.known) {
                let _ = write!(problem, "; did you mean `{near}`?");
            } else if self.known.is_empty() {
                problem.push_str("; this section has none");
            } else {
                let _ = write!(problem, "; expected one of `{}`", self.known.join("`, `"));
            }
            self.push(self.path_of(&entry.key), Some(entry.line), problem);
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn push(&self, key: String, line: Option<u64>, problem: String) {
        self.faults.borrow_mut().push(Fault { key, line, problem });
    }
}

/// The known key that a person most probably meant, if one is near: at most a third of its letters differ.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let key = key.to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(&key, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}
