//! Files of verdicts, coverage and policies.

use podwitness_spool::Record;
use podwitness_tests::sealed_root::golden::Golden;
use podwitness_tests::sealed_root::records::{agent_stopped, open, policies};
use podwitness_tests::sealed_root::{Cluster, Node, SealedRoot, micros};

use super::{Case, copy, delete, flip, relocate, size, swap, thirds, truncate};
use crate::edit::Edit;
use crate::expect::{Findings, all, one};

pub(super) fn cases(golden: &Golden, table: &str) -> Vec<Case> {
    let paths = golden.root.paths(&format!("{table}/"));
    let positions = thirds(&paths);
    let mut cases = Vec::new();
    for (index, (which, path)) in positions.iter().enumerate() {
        let mut case = |tampering: &str, variant: &str, edits, findings| {
            cases.push(Case::new(tampering, table, &format!("{which}{variant}"), edits, findings));
        };
        let altered = one("object-altered", path);
        let (_, other) = &positions[(index + 1) % 3];
        case("flip", "", vec![flip(path, size(golden, path) / 2)], altered.clone());
        case("flip", "-byte-0", vec![flip(path, 0)], altered.clone());
        case("flip", "-last-byte", vec![flip(path, size(golden, path) - 1)], altered.clone());
        case("truncate", "", vec![truncate(path, size(golden, path) - 1)], altered.clone());
        case("truncate", "-to-nothing", vec![truncate(path, 0)], altered.clone());
        case("replace", "", vec![copy(other, path)], altered);
        case("delete", "", vec![delete(path)], one("object-missing", path));
        let elsewhere = |to: &str| all([one("object-missing", path), one("object-unsealed", to)]);
        let renamed = path.replace("-00000000000", "-00000000090");
        case("rename", "", vec![relocate(path, &renamed)], elsewhere(&renamed));
        let nameless = path.replace(".parquet", ".copy");
        case(
            "rename",
            "-to-no-name",
            vec![relocate(path, &nameless)],
            all([one("object-missing", path), one("stray", &nameless)]),
        );
        let dated = path.replace("date=2026-01-02", "date=2026-01-03");
        case("re-date", "", vec![relocate(path, &dated)], elsewhere(&dated));
        if table == "verdicts" {
            let hour = path.replace("/hour=1", "/hour=0");
            case("re-date", "-hour", vec![relocate(path, &hour)], elsewhere(&hour));
            let namespace = path.replace("/namespace=", "/namespace=x");
            case("re-date", "-namespace", vec![relocate(path, &namespace)], elsewhere(&namespace));
        }
        let both = all([one("object-altered", path), one("object-altered", other)]);
        case("re-order", "", vec![swap(path, other)], both);
        let added = path.replace("-00000000000", "-00000000080");
        case("add", "-copy", vec![copy(path, &added)], one("object-unsealed", &added));
    }
    let garbage = format!("{table}/cluster=lab/read-me.txt");
    let edit = Edit::Text { path: garbage.clone(), text: "hello".to_owned() };
    cases.push(Case::new("add", table, "no-name", vec![edit], one("stray", &garbage)));
    cases.push(forged(table));
    cases
}

/// A file that agrees with itself and goes on where node-a's second boot ended; but that chain had a clean end.
fn forged(table: &str) -> Case {
    let (record, before): (fn(i64) -> Record, _) = match table {
        "verdicts" => (|time| open("shop", time, 9), 1),
        "coverage" => (agent_stopped, 2),
        _ => (|time| policies(time)[0].clone(), 2),
    };
    let mut root = SealedRoot::new();
    let boot = "0a000000-0000-4000-8000-000000000002";
    let node = Node::begin(&mut root, Cluster::named("lab"), "node-a", 1, boot, micros(11, 30, 0));
    let mut node = node.expect("a spool can be made");
    for minute in 0..=before {
        node.witness(&mut root, vec![record(micros(11, 40 + minute, 0))]).expect("a record can be witnessed");
    }
    let path = root.paths(&format!("{table}/")).pop().expect("it was put just now");
    let findings: Findings = one("object-unsealed", &path);
    Case::new("add", table, "forged", vec![Edit::put(&path, &root.objects[&path])], findings)
}
