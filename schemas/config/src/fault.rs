//! What is wrong with a configuration, in sentences for the person who wrote it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with one configuration file. Its text is one line for one fault; for several, a line that
/// counts them and then one line for each: first what is missing, then from the file's top to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigFaults {
    origin: PathBuf,
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key's full path, such as `spool.maxBytes` or `labels.columns[1]`; empty where the file as a whole is meant.
    pub key: String,
    /// The line of the file on which the value stands, from 1, or that of the section from which it is missing; `None`
    /// where there is neither, or where the problem says its place itself.
    pub line: Option<u64>,
    /// What was expected and what was found.
    pub problem: String,
}

impl ConfigFaults {
    pub(crate) fn new(origin: &Path, faults: Vec<Fault>) -> Self {
        Self { origin: origin.to_owned(), faults }
    }

    pub(crate) fn whole_file(origin: &Path, problem: String) -> Self {
        Self::new(origin, vec![Fault { key: String::new(), line: None, problem }])
    }

    /// The faults, at least one.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration {}: ", self.origin.display())?;
        if let [fault] = self.faults.as_slice() {
            return fault.fmt(f);
        }
        write!(f, "{} faults", self.faults.len())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}
