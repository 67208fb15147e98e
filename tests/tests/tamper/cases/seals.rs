//! Seals and their signatures.

use podwitness_schemas::layout;
use podwitness_seals::document;
use podwitness_seals::key::PrivateKey;
use podwitness_seals::seal::Seal;
use podwitness_tests::sealed_root::golden::Golden;
use podwitness_tests::sealed_root::key;

use super::{Case, copy, delete, find, flip, relocate, signature, size, swap, truncate};
use crate::edit::Edit;
use crate::expect::{Expect, Findings, all, one};

/// Of node-a: the first, one in the middle, the last, and the one that hands over to another key. Of node-b: the newest,
/// behind which the chain goes on.
fn positions(expect: &Expect) -> [(&'static str, String); 5] {
    let (a, b) = (expect.chain("node-a"), expect.chain("node-b"));
    [
        ("first", a[0].clone()),
        ("middle", a[3].clone()),
        ("last", a[6].clone()),
        ("handing-over", a[2].clone()),
        ("newest", b[4].clone()),
    ]
}

/// The path of the seal's chain with another number, of another node, or of another boot.
fn renumbered(seal: &Seal, number: u64) -> String {
    layout::seal_path("lab", &seal.node, &seal.boot, number)
}

/// The seal with another content, signed.
fn rewritten(path: &str, seal: &Seal, key: &PrivateKey) -> Vec<Edit> {
    let bytes = document::to_bytes(seal);
    vec![Edit::put(&signature(path), &key.sign(&bytes)), Edit::put(path, &bytes)]
}

/// The key that signed it.
fn signer(seal: &Seal) -> PrivateKey {
    (1..=3).map(key).find(|key| key.public().id() == seal.key_id).expect("one of the nodes' keys signed it")
}

pub(super) fn of_seals(golden: &Golden, expect: &Expect) -> Vec<Case> {
    let positions = positions(expect);
    let mut cases = Vec::new();
    for (index, (which, path)) in positions.iter().enumerate() {
        let seal = expect.seal(path);
        let chain = expect.chain(&seal.node);
        let end = chain.len() as u64;
        let sig = signature(path);
        let mut case = |tampering: &str, variant: &str, edits: Vec<Edit>, findings: Findings| {
            cases.push(Case::new(tampering, "seals", &format!("{which}{variant}"), edits, findings));
        };
        let malformed = all([one("document-malformed", path), expect.unreadable_seal(path)]);
        let misplaced = all([one("document-misplaced", path), expect.unreadable_seal(path)]);

        case("flip", "", vec![flip(path, find(golden, path, r#""version":"0.1.0"#))], expect.altered_seal(path));
        case("flip", "-byte-0", vec![flip(path, 0)], malformed.clone());
        case("flip", "-last-byte", vec![flip(path, size(golden, path) - 1)], malformed.clone());
        case("flip", "-cluster", vec![flip(path, find(golden, path, r#""cluster":"lab"#))], misplaced.clone());
        case("truncate", "", vec![truncate(path, size(golden, path) / 2)], malformed.clone());
        case("truncate", "-to-nothing", vec![truncate(path, 0)], malformed.clone());
        let newline = [golden.root.objects[path].as_slice(), b"\n"].concat();
        case("replace", "-newline", vec![Edit::put(path, &newline)], malformed);

        let other = if chain[1] == *path { &chain[0] } else { &chain[1] };
        case("replace", "", vec![copy(other, path), copy(&signature(other), &sig)], misplaced.clone());

        // The newest one of a chain that goes on is missed later: `cannot.rs`.
        if *which != "newest" {
            let stray = one("signature-stray", &sig);
            case("delete", "", vec![delete(path)], all([expect.missing_seal(path, false), stray]));
            let both = vec![delete(path), delete(&sig)];
            case("delete", "-with-signature", both, expect.missing_seal(path, false));
        }

        let behind = renumbered(seal, end + 1);
        let both = |to: &str| vec![relocate(path, to), relocate(&sig, &signature(to))];
        case("rename", "", both(&behind), all([one("document-misplaced", &behind), expect.missing_seal(path, true)]));
        let nameless = format!("{path}.copy");
        case(
            "rename",
            "-to-no-name",
            vec![relocate(path, &nameless), delete(&sig)],
            all([one("stray", &nameless), expect.missing_seal(path, false)]),
        );
        let elsewhere = layout::seal_path("lab", "node-c", &seal.boot, seal.seal);
        let late = if seal.seal == 1 { Findings::new() } else { one("chain-begins-late", &elsewhere) };
        case(
            "re-date",
            "-node",
            both(&elsewhere),
            all([one("document-misplaced", &elsewhere), late, expect.missing_seal(path, false)]),
        );

        let added = vec![copy(path, &behind), copy(&sig, &signature(&behind))];
        case("add", "-copy", added, one("document-misplaced", &behind));
        let fork = layout::seal_path("lab", &seal.node, "0f000000-0000-4000-8000-000000000001", seal.seal);
        let added = vec![copy(path, &fork), copy(&sig, &signature(&fork))];
        let forked = all([one("chain-forked", path), one("chain-forked", &fork), one("document-misplaced", &fork)]);
        case("add", "-fork", added, forked);

        let (_, second) = &positions[(index + 1) % 3];
        if second != path && seal.node == "node-a" {
            let swapped =
                all([one("document-misplaced", path), one("document-misplaced", second), expect.lose(&[path, second])]);
            let breaks = all([expect.breaks_next(path), expect.breaks_next(second)]);
            let breaks = breaks.into_iter().filter(|(_, object)| object != path && object != second).collect();
            let edits = vec![swap(path, second), swap(&sig, &signature(second))];
            case("re-order", "", edits, all([swapped.clone(), breaks]));
        }

        let others = key(4);
        let forged = others.sign(&golden.root.objects[path]);
        let unsigned = all([one("signature-wrong", path), expect.hands_nothing_over(path)]);
        case("re-sign", "-signature-alone", vec![Edit::put(&sig, &forged)], unsigned);
        let first_is_free = if seal.seal == 1 { Findings::new() } else { one("chain-broken", path) };
        let breaks = all([first_is_free, expect.breaks_next(path)]);
        let named = Seal { key_id: others.public().id(), ..seal.clone() };
        case("re-sign", "-with-a-trusted-key", rewritten(path, &named, &others), breaks.clone());
        let stranger = key(99);
        let strange = Seal { key_id: stranger.public().id(), ..seal.clone() };
        let resigned = rewritten(path, &strange, &stranger);
        let missing = all([one("key-missing", path), breaks.clone(), expect.hands_nothing_over(path)]);
        case("re-sign", "", resigned.clone(), missing);
        let with_key = [
            resigned,
            vec![Edit::put(&layout::key_path(&stranger.public().id().0), stranger.public().to_pem().as_bytes())],
        ]
        .concat();
        let untrusted = all([one("key-untrusted", path), breaks, expect.hands_nothing_over(path)]);
        case("re-sign", "-with-its-key", with_key, untrusted);

        // Whoever holds the node's own key writes the seal anew, with what it counts made fit or not.
        let mut lies = seal.clone();
        lies.balance.rows.get_mut("verdicts").expect("it has all tables").spooled += 1;
        let findings = all([one("balance", path), expect.breaks_next(path)]);
        case("re-sign", "-with-its-own-key-and-another-balance", rewritten(path, &lies, &signer(seal)), findings);
        if let Some(object) = seal.objects.first() {
            let mut lies = seal.clone();
            lies.objects[0].first_time = lies.objects[0].last_time;
            lies.objects[0].last_time = lies.window.end;
            let there = golden.root.objects.contains_key(&object.path);
            let finding = if there { "object-contradicts" } else { "retention-shortened" };
            if there {
                let findings = all([one(finding, &object.path), expect.breaks_next(path)]);
                let shortened = object.namespace.is_some();
                let findings =
                    if shortened { all([findings, one("retention-shortened", &object.path)]) } else { findings };
                case("re-sign", "-with-its-own-key-and-other-times", rewritten(path, &lies, &signer(seal)), findings);
            }
        }
    }
    cases.extend(roll_backs(expect));
    cases.push(forged_next(expect));
    cases
}

/// The newest seals of node-a are gone, with their signatures and all that they list.
fn roll_backs(expect: &Expect) -> Vec<Case> {
    let chain = expect.chain("node-a");
    let mut cases = Vec::new();
    for (which, left) in [("first", 1), ("middle", 3), ("last", 6)] {
        let gone = &chain[left..];
        let files = gone.iter().flat_map(|path| expect.seal(path).objects.iter().map(|object| object.path.clone()));
        let deleted: Vec<_> = expect
            .deletions
            .iter()
            .flat_map(|(_, deletion)| &deletion.objects)
            .map(|object| object.path.clone())
            .collect();
        let unlisted = files.clone().filter(|path| deleted.contains(path)).map(|path| one("retention-early", &path));
        let findings = all(unlisted.chain([one("chain-ends-early", &chain[left - 1])]));
        let edits = gone.iter().flat_map(|path| [delete(path), delete(&signature(path))]);
        let edits = edits.chain(files.filter(|path| !deleted.contains(path)).map(|path| delete(&path))).collect();
        cases.push(Case::new("roll-back", "seals", which, edits, findings));
    }
    cases
}

/// A seal that goes on where node-b's chain is, signed by a key of nobody.
fn forged_next(expect: &Expect) -> Case {
    let newest = expect.chain("node-b").pop().expect("it has seals");
    let stranger = key(99);
    let mut seal = expect.seal(&newest).clone();
    seal.previous_sha256 = Some(podwitness_seals::sha256(&document::to_bytes(&seal)));
    seal.seal += 1;
    seal.window.start = seal.window.end;
    seal.key_id = stranger.public().id();
    let path = renumbered(&seal, seal.seal);
    let findings = all([one("key-missing", &path), one("chain-broken", &path)]);
    Case::new("add", "seals", "forged", rewritten(&path, &seal, &stranger), findings)
}

pub(super) fn of_signatures(golden: &Golden, expect: &Expect) -> Vec<Case> {
    let positions = positions(expect);
    let mut cases = Vec::new();
    for (index, (which, path)) in positions.iter().enumerate() {
        let seal = expect.seal(path);
        let sig = signature(path);
        let mut case = |tampering: &str, variant: &str, edits: Vec<Edit>, findings: Findings| {
            cases.push(Case::new(tampering, "signatures", &format!("{which}{variant}"), edits, findings));
        };
        let wrong = all([one("signature-wrong", path), expect.hands_nothing_over(path)]);
        let missing = all([one("signature-missing", path), expect.hands_nothing_over(path)]);
        for (variant, at) in [("", 32), ("-byte-0", 0), ("-last-byte", size(golden, &sig) - 1)] {
            case("flip", variant, vec![flip(&sig, at)], wrong.clone());
        }
        case("truncate", "", vec![truncate(&sig, 63)], wrong.clone());
        case("truncate", "-to-nothing", vec![truncate(&sig, 0)], wrong.clone());
        let (_, second) = &positions[(index + 1) % 3];
        case("replace", "", vec![copy(&signature(second), &sig)], wrong.clone());
        case("replace", "-zeros", vec![Edit::Bytes { path: sig.clone(), hex: "00".repeat(64) }], wrong.clone());
        case("delete", "", vec![delete(&sig)], missing.clone());
        let far = signature(&renumbered(seal, 99));
        case("add", "", vec![copy(&sig, &far)], one("signature-stray", &far));
        case("rename", "", vec![relocate(&sig, &far)], all([missing.clone(), one("signature-stray", &far)]));
        let nameless = sig.replace(".sig", ".signature");
        case("rename", "-to-no-name", vec![relocate(&sig, &nameless)], all([missing.clone(), one("stray", &nameless)]));
        let elsewhere = signature(&layout::seal_path("lab", "node-c", &seal.boot, seal.seal));
        case("re-date", "-node", vec![relocate(&sig, &elsewhere)], all([missing, one("signature-stray", &elsewhere)]));
        let both = all([wrong, one("signature-wrong", second), expect.hands_nothing_over(second)]);
        case("re-order", "", vec![swap(&sig, &signature(second))], both);
    }
    cases
}
