//! The `DuckDB` statements that open an evidence root.

const TEMPLATE: &str = include_str!("../views.sql");

/// What stands in `views.sql` where the root goes: inside a single-quoted SQL string that is a glob pattern.
const ROOT: &str = "@ROOT@";

/// The statements that make the views `verdicts`, `allowed` and `denied` and their macros over `root`: a folder or a
/// URL that `DuckDB` can read (`s3://`, `gs://`, `az://`). `duckdb -init FILE` takes the text.
///
/// `DuckDB` looks for the files when a view is made. Over a root that has no `verdicts` yet it answers `IO Error: No
/// files found that match the pattern "<root>/verdicts/**/*.parquet"`: nothing has been exported yet, or the root is
/// another one. A caller who can list the root says so first.
pub fn render(root: &str) -> String {
    TEMPLATE.replace(ROOT, &quoted_literal_glob(root.trim_end_matches('/')))
}

/// `text` for a single-quoted SQL string in which a glob pattern must match `text` alone.
fn quoted_literal_glob(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' => quoted.push_str("''"),
            '*' | '?' | '[' => {
                quoted.push('[');
                quoted.push(character);
                quoted.push(']');
            }
            other => quoted.push(other),
        }
    }
    quoted
}
