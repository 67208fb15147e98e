//! `auditor/verify.py`, run as a person runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{cache, path_in};

/// `PODWITNESS_PYTHON`, else the one of the environment that the set-up script has made in the cache.
pub fn python() -> Result<PathBuf> {
    let found = path_in("PODWITNESS_PYTHON").or_else(|| cache().map(|cache| cache.join("python/bin/python")));
    found.filter(|path| path.is_file()).context(
        "the Python of the tests is not here: run deploy/dev/setup, or set PODWITNESS_PYTHON to one with cryptography and duckdb",
    )
}

/// `verify.py`, to which options and a root are to be given.
pub fn second_verifier() -> Result<Command> {
    let mut verifier = Command::new(python()?);
    verifier.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../auditor/verify.py"));
    Ok(verifier)
}
