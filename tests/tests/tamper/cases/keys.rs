//! Public keys: what is found depends on which of them the verifier was given.

use podwitness_schemas::layout;
use podwitness_tests::sealed_root::golden::{Golden, SEEDS};
use podwitness_tests::sealed_root::key;

use super::{Case, delete, flip, relocate, swap, truncate};
use crate::edit::Edit;
use crate::expect::{Expect, Findings, all, one};

/// Whose key is the first, the middle and the last one.
const WHOSE: [(&str, &str); 3] = [("first", "node-a"), ("middle", "node-a-next"), ("last", "retain")];

fn seed(name: &str) -> u8 {
    SEEDS.iter().find(|(of, _)| *of == name).expect("it has a key").1
}

fn path(name: &str) -> String {
    layout::key_path(&key(seed(name)).public().id().0)
}

pub(super) fn cases(golden: &Golden, expect: &Expect) -> Vec<Case> {
    let mut cases = Vec::new();
    for trusted in [true, false] {
        // Without its file a key is known only where it was given.
        let gone = |name: &str| {
            let known = trusted && name != "node-a-next";
            let named = if known { Vec::new() } else { expect.signed_by(&key(seed(name)).public().id().0) };
            all(named.iter().map(|document| one("key-missing", document)))
        };
        let mode = if trusted { "" } else { "-untold" };
        for (index, (which, name)) in WHOSE.into_iter().enumerate() {
            let path = path(name);
            let (_, other) = WHOSE[(index + 1) % 3];
            let unreadable = all([one("key-unreadable", &path), gone(name)]);
            let mut case = |tampering: &str, variant: &str, edits: Vec<Edit>, findings: Findings| {
                let case = Case::new(tampering, "keys", &format!("{which}{variant}{mode}"), edits, findings);
                cases.push(Case { trusted, ..case });
            };
            let bytes = &golden.root.objects[&path];
            case("flip", "", vec![flip(&path, 50)], unreadable.clone());
            case("flip", "-byte-0", vec![flip(&path, 0)], unreadable.clone());
            case("flip", "-last-byte", vec![flip(&path, bytes.len() - 1)], unreadable.clone());
            case("truncate", "", vec![truncate(&path, 60)], unreadable.clone());
            case("truncate", "-last-byte", vec![truncate(&path, bytes.len() - 1)], unreadable.clone());
            let stranger = key(99).public();
            case("replace", "", vec![Edit::put(&path, stranger.to_pem().as_bytes())], unreadable.clone());
            if !gone(name).is_empty() {
                case("delete", "", vec![delete(&path)], gone(name));
            }
            let renamed = layout::key_path(&"0".repeat(64));
            case("rename", "", vec![relocate(&path, &renamed)], all([one("key-unreadable", &renamed), gone(name)]));
            let nameless = "keys/key.pem";
            case("rename", "-to-no-name", vec![relocate(&path, nameless)], all([one("stray", nameless), gone(name)]));
            let second = self::path(other);
            let both = all([unreadable, one("key-unreadable", &second), gone(other)]);
            case("re-order", "", vec![swap(&path, &second)], both);
            let added = layout::key_path(&"1".repeat(64));
            case("add", "", vec![Edit::Copy { from: path.clone(), to: added.clone() }], one("key-unreadable", &added));
        }
    }
    cases
}
