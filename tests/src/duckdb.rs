//! `DuckDB` as people use it: the command, with the views that they are given.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{cache, path_in};

/// `PODWITNESS_DUCKDB`, else one on the path, else the one that the set-up script has put into the cache.
pub fn find() -> Result<PathBuf> {
    let named = path_in("PODWITNESS_DUCKDB");
    let on_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let folders = on_path.chain(cache().map(|cache| cache.join("bin")));
    named.into_iter().chain(folders.map(|folder| folder.join("duckdb"))).find(|path| path.is_file()).context(
        "the DuckDB command is not here: run deploy/dev/setup, or set PODWITNESS_DUCKDB to where it is; it is what this \
         test is about",
    )
}

/// The rows of the answer.
pub fn ask(duckdb: &Path, init: &Path, question: &str) -> Result<Vec<Value>> {
    let output = Command::new(duckdb).args(["-batch", "-json", "-init"]).arg(init).args(["-c", question]).output()?;
    let (answer, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success() && !said.contains("Error"), "DuckDB could not answer {question}: {said}");
    if answer.trim().is_empty() { Ok(Vec::new()) } else { Ok(serde_json::from_str(&answer)?) }
}
