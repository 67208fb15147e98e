//! The rendered statements; that `DuckDB` takes them is shown where `DuckDB` is at hand.

use podwitness_schemas::views::render;

#[test]
fn the_root_is_a_literal_in_the_statements() {
    let sql = render("/it's/[1]*?/");
    assert!(sql.contains("'/it''s/[[]1][*][?]/verdicts/**/*.parquet'"), "{sql}");
    assert!(sql.contains("glob('/it''s/[[]1][*][?]/coverage/**/*.parquet')"), "{sql}");
    assert!(sql.contains("read_parquet(''/it''''s/[[]1][*][?]/policies/**/*.parquet''"), "{sql}");
    assert!(!sql.contains('@'), "{sql}");
}

#[test]
fn a_url_stays_a_url() {
    assert!(render("s3://bucket/prefix").contains("'s3://bucket/prefix/verdicts/**/*.parquet'"));
}
