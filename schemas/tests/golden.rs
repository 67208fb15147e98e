//! What is published stays as it is: each published shape is a text file in the repository.
//!
//! Where the code says something else, the test writes what it says beside the file as `*.modified`. Where the change
//! is meant, that becomes the file: of a new version, if the old one was released.

use std::fmt::Write as _;
use std::path::Path;

use arrow_schema::Schema;
use podwitness_schemas::metadata::DESCRIPTION;
use podwitness_schemas::{coverage, policies, verdicts};
use podwitness_spool::words::{CoverageEvent, ExternalAddresses, PolicyEvent, WitnessMode};
use podwitness_wire::{Direction, EventKind, Known, NatResolution, Reason, Verdict};

fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let modified = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.modified"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if actual != expected {
        std::fs::write(&modified, actual).unwrap();
        panic!("{name} differs from the code; compare it with {name}.modified beside it");
    }
    let _ = std::fs::remove_file(modified);
}

fn table(schema: &Schema) -> String {
    let mut table = String::from("column | type | nullable | description\n");
    for field in schema.fields() {
        let nullable = if field.is_nullable() { "null" } else { "not null" };
        let description = &field.metadata()[DESCRIPTION];
        writeln!(table, "{} | {} | {nullable} | {description}", field.name(), field.data_type()).unwrap();
    }
    table
}

#[test]
fn verdicts_columns_are_those_published_as_version_2() {
    assert_eq!(verdicts::VERSION, 2);
    assert_golden("golden/verdicts.v2.txt", &table(&verdicts::schema(&["app".to_owned()])));
}

#[test]
fn coverage_columns_are_those_published_as_version_2() {
    assert_eq!(coverage::VERSION, 2);
    assert_golden("golden/coverage.v2.txt", &table(&coverage::schema()));
}

#[test]
fn policies_columns_are_those_published_as_version_1() {
    assert_eq!(policies::VERSION, 1);
    assert_golden("golden/policies.v1.txt", &table(&policies::schema()));
}

#[test]
fn a_new_version_has_every_column_of_the_one_before_as_it_was() {
    // What a column says of rows that there were not before may be added to its description.
    let column = |line: &str| line.rsplit_once(" | ").map(|(column, _)| column.to_owned());
    for (before, after) in [
        (include_str!("../golden/verdicts.v1.txt"), include_str!("../golden/verdicts.v2.txt")),
        (include_str!("../golden/coverage.v1.txt"), include_str!("../golden/coverage.v2.txt")),
    ] {
        let after: Vec<_> = after.lines().map(column).collect();
        let missing: Vec<_> = before.lines().map(column).filter(|column| !after.contains(column)).collect();
        assert_eq!(missing, Vec::new());
    }
}

#[test]
fn the_list_of_reasons_is_that_of_the_kernel() {
    macro_rules! section {
        ($page:expr, $title:literal, $words:ty) => {
            writeln!($page, "\n## {}\n\n| number | word | meaning |\n| --- | --- | --- |", $title).unwrap();
            for word in <$words>::ALL {
                writeln!($page, "| {} | `{}` | {} |", word.number(), word.name(), word.meaning()).unwrap();
            }
        };
    }
    let mut page = String::from(
        "# The words of the evidence\n\n\
         One number and one word each, in kernel events, spool, metric labels and evidence columns alike. The lists only grow: a number \
         never gets a second meaning.\n\
         A number that is newer than the exporter stands in its column as the number in decimal.\n\
         A test keeps this page equal to `ebpf/wire/src/vocabulary.rs` and `exporter/spool/src/words.rs`.\n",
    );
    section!(page, "reason", Reason);
    section!(page, "verdict", Verdict);
    section!(page, "direction", Direction);
    section!(page, "event", EventKind);
    section!(page, "src_identity, dst_identity", Known);
    section!(page, "nat_resolution", NatResolution);
    section!(page, "event of coverage", CoverageEvent);
    section!(page, "mode of coverage", WitnessMode);
    section!(page, "event of policies", PolicyEvent);
    section!(page, "addresses of retention, in seals and deletions", ExternalAddresses);
    assert_golden("REASONS.md", &page);
}
