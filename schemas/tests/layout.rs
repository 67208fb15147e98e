//! Paths and the root's marker.

use chrono::{DateTime, Utc};
use podwitness_schemas::layout::{RootMarker, coverage_path, policies_path, verdicts_path};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn ordinary_names_stand_in_the_path_as_they_are() {
    let path = verdicts_path("prod-eu-1", "_unknown", at("2026-11-23T07:59:59.999999Z"), "node-a.local", "b-1", 42);
    assert_eq!(
        path,
        "verdicts/cluster=prod-eu-1/namespace=_unknown/date=2026-11-23/hour=07/node-a.local-b-1-000000000042.parquet"
    );
}

#[test]
fn coverage_and_policies_stand_by_node_and_date() {
    let time = at("2026-11-23T23:59:59.999999Z");
    assert_eq!(
        coverage_path("prod", time, "node-a", "b-1", 42),
        "coverage/cluster=prod/date=2026-11-23/node-a-b-1-000000000042.parquet"
    );
    assert_eq!(
        policies_path("p/q", time, "node/a", "b-1", 1),
        "policies/cluster=p%2Fq/date=2026-11-23/node%2Fa-b-1-000000000001.parquet"
    );
}

#[test]
fn a_name_cannot_leave_its_place_in_the_path() {
    let path = verdicts_path("a/../b=c d%", "ü", at("2026-01-02T03:04:05Z"), "n~*?", "b", 1);
    assert_eq!(
        path,
        "verdicts/cluster=a%2F..%2Fb%3Dc%20d%25/namespace=%C3%BC/date=2026-01-02/hour=03/n%7E%2A%3F-b-000000000001.parquet"
    );
}

#[test]
fn names_sort_as_their_sequence_numbers_do() {
    let name = |seq| verdicts_path("c", "n", at("2026-01-02T03:04:05Z"), "n", "b", seq);
    assert!(name(9) < name(10));
    assert!(name(999_999_999) < name(1_000_000_000));
}

#[test]
fn the_marker_is_read_back_and_a_key_of_the_future_is_no_fault() {
    assert_eq!(serde_json::from_str::<RootMarker>(&RootMarker::current().to_json()).unwrap(), RootMarker::current());
    let later: RootMarker = serde_json::from_str(r#"{"layout": 1, "comes": "later"}"#).unwrap();
    assert_eq!(later.layout, 1);
}
