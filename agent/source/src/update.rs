//! What a source delivers.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use podwitness_manifests::Effect;
use podwitness_policy::Cluster;

/// The whole cluster, delivered each time it changed.
#[derive(Clone, Debug)]
pub struct Update {
    /// Every object that can be used; none before all of the source could be read once.
    pub cluster: Option<Arc<Cluster>>,
    /// What could not be read or used, sorted.
    pub faults: Vec<Fault>,
    /// Whether `cluster` is what the source says now: false while part of it cannot be read, and what was read
    /// before, if anything, stands in for it. An object that was read and cannot be used is a fault and does not change
    /// this.
    pub complete: bool,
    /// When the source first learnt of the change.
    pub received: Instant,
}

/// Something that a source could not read or use; shown as one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where: a file's path, or the address of an API server.
    pub origin: String,
    /// The document's number in a file, from 1, where it is about one document.
    pub document: Option<usize>,
    /// What is wrong and what to do, with the object's kind and name where it is about an object.
    pub message: String,
    /// What follows for the object, where it is about one.
    pub effect: Option<Effect>,
}

impl Fault {
    /// A fault of a file or folder as a whole.
    pub(crate) fn of_file(path: &str, message: &str) -> Self {
        Self { origin: path.to_owned(), document: None, message: message.to_owned(), effect: None }
    }
}

impl From<podwitness_manifests::Fault> for Fault {
    fn from(fault: podwitness_manifests::Fault) -> Self {
        let podwitness_manifests::Fault { place, object, problem } = fault;
        let item = place.item.map(|item| format!("items[{item}]: "));
        let object = object.map(|object| format!("{object}: "));
        let message = format!("{}{}{problem}", item.unwrap_or_default(), object.unwrap_or_default());
        Self { origin: place.origin, document: Some(place.document), message, effect: Some(problem.effect) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.origin)?;
        if let Some(document) = self.document {
            write!(formatter, ", document {document}")?;
        }
        write!(formatter, ": {}", self.message)
    }
}
