//! What tests of the whole chain need: a node with pods, the two programs on it, traffic, the evidence read back, and what
//! the slow evaluator says that it must be.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`scenario`] | the lab's node with the programs, started, watched by their own metrics, and stopped |
//! | [`traffic`] | probes, each from a source port of its own, and what became of them |
//! | [`evidence`] | every row of every Parquet file below an evidence root |
//! | [`duckdb`] | the same as `DuckDB` reads it |
//! | [`memory`] | what the kernel says about the memory of a process |
//! | [`oracle`] | the records that policy says there must be |
//! | [`check`] | the comparison of the two, and what holds of any evidence |
//! | [`second_verifier`] | `verify.py`, and the Python that runs it |
//! | [`sealed_root`] | evidence roots of seals and deletions, made without a node and always of the same bytes |
//! | [`field`] | pods with steady traffic between them, and the account of it |
//! | [`cases`] | the table of cases in `tests/cases`, read and put together with the cluster that they change |
//! | [`cluster`] | a cluster of `tests/cluster`, started and ended, and its commands |
#![forbid(unsafe_code)]

pub mod cases;
pub mod check;
pub mod cluster;
pub mod duckdb;
pub mod evidence;
pub mod field;
pub mod memory;
pub mod oracle;
pub mod scenario;
pub mod sealed_root;
pub mod second_verifier;
pub mod traffic;

use std::env;
use std::path::PathBuf;

/// The path that the environment has under this name, where it has one.
pub fn path_in(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder into which the set-up script puts what the tests need.
pub fn cache() -> Option<PathBuf> {
    path_in("PODWITNESS_CACHE")
        .or_else(|| path_in("XDG_CACHE_HOME").map(|cache| cache.join("podwitness")))
        .or_else(|| path_in("HOME").map(|home| home.join(".cache/podwitness")))
}
