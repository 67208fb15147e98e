//! The same questions, answered by `DuckDB`'s own command.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::table::Line;
use crate::failure::Failure;

/// Names the command, where it is none of the usual ones.
const VARIABLE: &str = "PODWITNESS_DUCKDB";

/// What the demo's table says, in SQL, over the views that `podwitness sql` prints.
pub(super) const QUESTION: &str = r#"
    SELECT source AS "from", destination AS "to", dst_port || '/' || protocol AS port, direction AS "seen at", verdict,
           coalesce(nullif(policies, ''), reason) AS "policy[rule]"
    FROM connections() ORDER BY first_time"#;

/// The same with the counts, for comparison.
const COUNTED: &str = r#"
    SELECT source AS "from", destination AS "to", dst_port || '/' || protocol AS port, direction AS seen, verdict,
           coalesce(nullif(policies, ''), reason) AS why, "count"
    FROM connections()"#;

/// Where the command is.
pub(super) fn find() -> Result<PathBuf, Failure> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        return if absolute.is_file() {
            Ok(absolute)
        } else {
            Err(Failure::question(format_args!("{VARIABLE} names {}, which is not there", path.display())))
        };
    }
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let venv = cache.map(|cache| cache.join("podwitness/venv/bin"));
    on_path.into_iter().chain(venv).map(|folder| folder.join("duckdb")).find(|path| path.is_file()).ok_or_else(|| {
        Failure::question(format_args!(
            "the DuckDB command is not here, and the demo ends with it: run deploy/dev/setup, or \
             `pip install duckdb-cli`, or set {VARIABLE} to where it is"
        ))
    })
}

/// `DuckDB`'s answer as it prints it.
pub(super) fn show(duckdb: &Path, views: &Path) -> Result<String, Failure> {
    ask(duckdb, views, "-box", QUESTION)
}

/// `DuckDB`'s answer as lines of the demo's table, with the counts.
pub(super) fn lines(duckdb: &Path, views: &Path) -> Result<BTreeMap<Line, i64>, Failure> {
    #[derive(Deserialize)]
    struct Row {
        from: String,
        to: String,
        port: String,
        seen: String,
        verdict: String,
        why: String,
        count: i64,
    }
    let answer = ask(duckdb, views, "-json", COUNTED)?;
    let rows: Vec<Row> = serde_json::from_str(&answer)
        .map_err(|error| Failure::answer(format_args!("DuckDB's answer is not as it should be ({error}): {answer}")))?;
    let mut lines = BTreeMap::new();
    for Row { from, to, port, seen, verdict, why, count } in rows {
        *lines.entry(Line { from, to, port, seen, verdict, why }).or_default() += count;
    }
    Ok(lines)
}

fn ask(duckdb: &Path, views: &Path, mode: &str, question: &str) -> Result<String, Failure> {
    let output = Command::new(duckdb)
        .args(["-batch", mode, "-init"])
        .arg(views)
        .args(["-c", question])
        .output()
        .map_err(|error| Failure::answer(format_args!("cannot start {}: {error}", duckdb.display())))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && !said.contains("Error") {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::answer(format_args!("DuckDB could not answer: {}", said.trim_end())))
}
