//! The table of cases: rules of the `NetworkPolicy` API in words, each with policies and the truth table that a person says
//! they mean. They stand in `tests/cases/*.md`, whose `README.md` says how they are written.

mod table;
mod text;
mod world;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use podwitness_policy::Protocol;
use serde_json::Value;

pub use table::{Family, Probe, Table};
pub use world::{Object, PODS, Party, World, addresses};

/// One rule of the API, shown.
#[derive(Clone, Debug)]
pub struct Case {
    /// The rule in words.
    pub title: String,
    /// Where it comes from: a test of the upstream suite, a section of the documentation, a recipe.
    pub sources: String,
    /// The file and the line of its title.
    pub place: String,
    /// What happens one after the other.
    pub steps: Vec<Step>,
}

/// A change of the cluster, and what is allowed after it.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Objects that are applied: a policy replaces the one of its name, another object is merged into the one that is there.
    pub apply: Vec<Value>,
    /// Objects that are deleted.
    pub delete: Vec<Value>,
    /// Truth tables.
    pub tables: Vec<Table>,
}

/// What a truth table's ports are on.
pub type ProtocolPort = (Protocol, u16);

/// Reads every case, in the order of the files' names and of their text.
pub fn all() -> Result<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    files.retain(|name| name != "README.md");
    files.sort();
    let mut cases = Vec::new();
    for name in files {
        let text = fs::read_to_string(folder.join(&name))?;
        cases.extend(text::read(&name, &text)?);
    }
    ensure!(!cases.is_empty(), "{} holds no case", folder.display());
    Ok(cases)
}

#[cfg(test)]
mod tests;
