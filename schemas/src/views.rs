//! The `DuckDB` statements that open an evidence root.

use arrow_schema::{DataType, Schema};

use crate::{coverage, policies};

const TEMPLATE: &str = include_str!("../views.sql");

/// What stands in `views.sql` where the root goes: inside a single-quoted SQL string that is a glob pattern.
const ROOT: &str = "@ROOT@";

/// The same inside a single-quoted SQL string that is itself a statement with such a string.
const ROOT_IN_TEXT: &str = "@ROOT_IN_TEXT@";

/// Where the columns of a table go that has no files.
const COVERAGE_COLUMNS: &str = "@COVERAGE_COLUMNS@";
const POLICIES_COLUMNS: &str = "@POLICIES_COLUMNS@";

/// The statements that make the views `verdicts`, `allowed`, `denied`, `coverage`, `policies` and `policy_versions` and
/// their macros over `root`: a folder or a URL that `DuckDB` can read (`s3://`, `gs://`, `az://`). `duckdb -init FILE`
/// takes the text.
///
/// `DuckDB` looks for the files when a view is made. Over a root that has no `verdicts` yet it answers `IO Error: No
/// files found that match the pattern "<root>/verdicts/**/*.parquet"`: nothing has been exported yet, or the root is
/// another one. A caller who can list the root says so first.
pub fn render(root: &str) -> String {
    let root = quoted(&literal_glob(root.trim_end_matches('/')));
    TEMPLATE
        .replace(COVERAGE_COLUMNS, &no_values(&coverage::schema()))
        .replace(POLICIES_COLUMNS, &no_values(&policies::schema()))
        .replace(ROOT_IN_TEXT, &quoted(&root))
        .replace(ROOT, &root)
}

/// A glob pattern that matches `text` alone.
fn literal_glob(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '*' | '?' | '[' => {
                pattern.push('[');
                pattern.push(character);
                pattern.push(']');
            }
            other => pattern.push(other),
        }
    }
    pattern
}

/// `text` for a single-quoted SQL string.
fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// The columns of a table without rows, with those of its path.
fn no_values(schema: &Schema) -> String {
    let mut columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("NULL::{} AS \"{}\"", duckdb_type(field.data_type()), field.name()))
        .collect();
    columns.push("NULL::DATE AS \"date\"".to_owned());
    columns.join(", ")
}

/// What `DuckDB` makes of a type in Parquet, among those that tables without rows need.
fn duckdb_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Timestamp(..) => "TIMESTAMPTZ",
        DataType::Int64 => "BIGINT",
        DataType::Int32 => "INTEGER",
        DataType::Boolean => "BOOLEAN",
        DataType::List(_) => "VARCHAR[]",
        _ => "VARCHAR",
    }
}
