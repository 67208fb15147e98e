//! Deletions and their signatures: there are two, so that there is no middle. The first hands over to the key of the last.

use podwitness_schemas::layout;
use podwitness_seals::deletion::{DeletedObject, Deletion};
use podwitness_seals::document;
use podwitness_seals::key::PrivateKey;
use podwitness_seals::time::Time;
use podwitness_tests::sealed_root::golden::Golden;
use podwitness_tests::sealed_root::{key, micros};

use super::{Case, copy, delete, find, flip, relocate, signature, size, swap, truncate};
use crate::edit::Edit;
use crate::expect::{Expect, Findings, all, one};

fn rewritten(path: &str, deletion: &Deletion, key: &PrivateKey) -> Vec<Edit> {
    let bytes = document::to_bytes(deletion);
    vec![Edit::put(&signature(path), &key.sign(&bytes)), Edit::put(path, &bytes)]
}

pub(super) fn of_deletions(golden: &Golden, expect: &Expect) -> Vec<Case> {
    let [first, last] = [0, 1].map(|at| expect.deletions[at].0.clone());
    let behind = layout::deletion_path("lab", 3);
    let mut cases = Vec::new();
    for (which, path, other) in [("first", &first, &last), ("last", &last, &first)] {
        let deletion = &expect.deletions.iter().find(|(at, _)| at == path).expect("it is one of the two").1;
        let sig = signature(path);
        let mut case = |tampering: &str, variant: &str, edits: Vec<Edit>, findings: Findings| {
            cases.push(Case::new(tampering, "deletions", &format!("{which}{variant}"), edits, findings));
        };
        let breaks = if path == &first { one("chain-broken", &last) } else { Findings::new() };
        let unhanded = hands_nothing_over(path, &first, &last);
        let useless = all([expect.excuses_nothing(path), breaks.clone(), unhanded.clone()]);
        let malformed = all([one("document-malformed", path), useless.clone()]);
        let misplaced = all([one("document-misplaced", path), useless]);
        let altered = all([one("signature-wrong", path), breaks.clone(), unhanded.clone()]);
        case("flip", "", vec![flip(path, find(golden, path, r#""tool_version":"0.1.0"#))], altered);
        case("flip", "-byte-0", vec![flip(path, 0)], malformed.clone());
        case("flip", "-last-byte", vec![flip(path, size(golden, path) - 1)], malformed.clone());
        case("truncate", "", vec![truncate(path, size(golden, path) / 2)], malformed.clone());
        case("truncate", "-to-nothing", vec![truncate(path, 0)], malformed);
        case("replace", "", vec![copy(other, path), copy(&signature(other), &sig)], misplaced);

        let gone = |beyond: bool| {
            let hole = match (path == &first, beyond) {
                (true, _) => one("chain-begins-late", &last),
                (false, true) => one("deletion-missing", path),
                (false, false) => Findings::new(),
            };
            all([hole, expect.excuses_nothing(path), unhanded.clone()])
        };
        // The signature of what could be the next one is one whose deletion is to come.
        let stray = if path == &last { Findings::new() } else { one("signature-stray", &sig) };
        case("delete", "", vec![delete(path)], all([gone(false), stray]));
        case("delete", "-with-signature", vec![delete(path), delete(&sig)], gone(false));
        let both = |to: &str| vec![relocate(path, to), relocate(&sig, &signature(to))];
        case("rename", "", both(&behind), all([one("document-misplaced", &behind), gone(true)]));
        let nameless = path.replace(".json", ".jsn");
        case(
            "rename",
            "-to-no-name",
            vec![relocate(path, &nameless), delete(&sig)],
            all([one("stray", &nameless), gone(false)]),
        );
        let elsewhere = layout::deletion_path("lab-2", deletion.deletion);
        let late = if path == &first { Findings::new() } else { one("chain-begins-late", &elsewhere) };
        case("re-date", "-cluster", both(&elsewhere), all([one("document-misplaced", &elsewhere), late, gone(false)]));
        case(
            "add",
            "-copy",
            vec![copy(path, &behind), copy(&sig, &signature(&behind))],
            one("document-misplaced", &behind),
        );
        let swapped = all([one("document-misplaced", &first), one("document-misplaced", &last)]);
        let unexcused = all([expect.excuses_nothing(&first), expect.excuses_nothing(&last)]);
        case("re-order", "", vec![swap(path, other), swap(&sig, &signature(other))], all([swapped, unexcused]));

        let forged = key(3).sign(&golden.root.objects[path]);
        let wrong = all([one("signature-wrong", path), unhanded.clone()]);
        case("re-sign", "-signature-alone", vec![Edit::put(&sig, &forged)], wrong);
        let by = |key: &PrivateKey, deletion: &Deletion| {
            rewritten(path, &Deletion { key_id: key.public().id(), ..deletion.clone() }, key)
        };
        let broken = if path == &first { breaks } else { one("chain-broken", path) };
        case("re-sign", "-with-a-trusted-key", by(&key(3), deletion), broken.clone());
        let broken = all([broken, unhanded.clone()]);
        case("re-sign", "", by(&key(99), deletion), all([one("key-missing", path), broken.clone()]));
        let stranger = key(99).public();
        let with_key = [
            by(&key(99), deletion),
            vec![Edit::put(&layout::key_path(&stranger.id().0), stranger.to_pem().as_bytes())],
        ]
        .concat();
        case("re-sign", "-with-its-key", with_key, all([one("key-untrusted", path), broken]));
        let before = if path == &first { expect.excuses_nothing(&first) } else { Findings::new() };
        let gone = all([before, expect.excuses_nothing(&last)]);
        case("roll-back", "", rolled_back(path, &first, &last), gone);
    }
    cases.extend(forged(golden, expect));
    cases
}

/// The signature of this deletion is not good: where it is the first, the last one's key is handed over by nobody.
fn hands_nothing_over(path: &str, first: &str, last: &str) -> Findings {
    if path == first { one("key-untrusted", last) } else { Findings::new() }
}

/// This deletion and those behind it are gone, and what they listed stays gone.
fn rolled_back(from: &str, first: &str, last: &str) -> Vec<Edit> {
    let gone = [first, last].into_iter().filter(|path| *path >= from);
    gone.flat_map(|path| [delete(path), delete(&signature(path))]).collect()
}

/// A third deletion that must not be: of a file that is to be kept longer, of one on hold, of one that nobody sealed, against
/// what its node says; by who deletes, by a stranger, and by who deletes elsewhere.
fn forged(golden: &Golden, expect: &Expect) -> Vec<Case> {
    let (last, before) = expect.deletions.last().expect("there are two");
    let path = layout::deletion_path("lab", 3);
    let files = |namespace: Option<&str>| {
        let listed =
            expect.seals.iter().flat_map(|(seal, content)| content.objects.iter().map(move |object| (seal, object)));
        let here = listed.filter(|(_, object)| {
            object.namespace.as_deref() == namespace && golden.root.objects.contains_key(&object.path)
        });
        let mut here: Vec<_> = here.map(|(seal, object)| DeletedObject::of(object, seal)).collect();
        here.sort_by_key(|object| object.retain_until);
        here
    };
    // `edit` has the last say on what stands in it.
    let deletion = |object: &DeletedObject, signer: &PrivateKey, edit: &dyn Fn(&mut Deletion)| {
        let mut next = Deletion {
            deletion: 3,
            previous_sha256: Some(podwitness_seals::sha256(&golden.root.objects[last])),
            objects: vec![object.clone()],
            key_id: signer.public().id(),
            ..before.clone()
        };
        edit(&mut next);
        [rewritten(&path, &next, signer), vec![delete(&object.path)]].concat()
    };
    let (own, stranger) = (key(5), key(99));
    let (shop, ops, coverage) = (files(Some("shop")), files(Some("ops")), files(None));
    let (shop_last, ops_first, ops_last) = (&shop[shop.len() - 1], &ops[0], &ops[ops.len() - 1]);
    let nobodys = DeletedObject { seal: expect.chain("node-a")[0].clone(), ..ops_last.clone() };
    let early = |object: &DeletedObject| one("retention-early", &object.path);
    let by_stranger = all([early(shop_last), one("key-missing", &path), one("chain-broken", &path)]);
    let as_it_is = |_: &mut Deletion| ();
    let ahead = |next: &mut Deletion| next.time = shop_last.retain_until;
    let asked_longer = |next: &mut Deletion| {
        next.retention.iter_mut().filter(|asked| asked.namespace == "shop").for_each(|asked| asked.seconds = 86_400);
    };
    let by_default = |next: &mut Deletion| {
        next.retention.retain(|asked| asked.namespace != "shop");
        next.minimum_seconds = 86_400;
    };
    // While node-b has the hold in its seals before and after.
    let without_hold = |next: &mut Deletion| {
        next.time = Time::from_micros(micros(11, 5, 30));
        next.retention.iter_mut().for_each(|asked| asked.hold = false);
    };
    // With a key that is trusted in every chain, what the file's own cluster might delete.
    let elsewhere = Deletion {
        cluster: "lab-2".to_owned(),
        deletion: 1,
        previous_sha256: None,
        objects: vec![shop[0].clone()],
        key_id: key(4).public().id(),
        ..before.clone()
    };
    let elsewhere = rewritten(&layout::deletion_path("lab-2", 1), &elsewhere, &key(4));
    let case = |which: &str, edits, findings| Case::new("add", "deletions", which, edits, findings);
    vec![
        case("forged-early", deletion(shop_last, &own, &as_it_is), early(shop_last)),
        case(
            "forged-early-coverage",
            deletion(&coverage[coverage.len() - 1], &own, &as_it_is),
            early(&coverage[coverage.len() - 1]),
        ),
        case("forged-dated-ahead", deletion(shop_last, &own, &ahead), early(shop_last)),
        case("forged-asked-longer", deletion(&shop[0], &own, &asked_longer), early(&shop[0])),
        case("forged-below-the-minimum", deletion(&shop[0], &own, &by_default), early(&shop[0])),
        case("forged-on-hold", deletion(ops_last, &own, &as_it_is), early(ops_last)),
        case("forged-on-hold-of-another", deletion(&coverage[0], &own, &as_it_is), early(&coverage[0])),
        case("forged-without-its-hold", deletion(ops_first, &own, &without_hold), one("retention-disregarded", &path)),
        case("forged-of-another-seal", deletion(&nobodys, &own, &as_it_is), early(&nobodys)),
        case(
            "forged-by-the-key-before",
            deletion(shop_last, &key(4), &as_it_is),
            all([early(shop_last), one("chain-broken", &path)]),
        ),
        case("forged-of-another-cluster", [elsewhere.clone(), vec![delete(&shop[0].path)]].concat(), early(&shop[0])),
        case("forged-of-another-cluster-and-still-there", elsewhere, early(&shop[0])),
        case("forged-by-a-stranger", deletion(shop_last, &stranger, &as_it_is), by_stranger),
    ]
}

pub(super) fn of_signatures(golden: &Golden, expect: &Expect) -> Vec<Case> {
    let [first, last] = [0, 1].map(|at| expect.deletions[at].0.clone());
    let mut cases = Vec::new();
    for (which, path, other) in [("first", &first, &last), ("last", &last, &first)] {
        let sig = signature(path);
        let mut case = |tampering: &str, variant: &str, edits: Vec<Edit>, findings: Findings| {
            cases.push(Case::new(tampering, "deletion-signatures", &format!("{which}{variant}"), edits, findings));
        };
        let unhanded = hands_nothing_over(path, &first, &last);
        let wrong = all([one("signature-wrong", path), unhanded.clone()]);
        let missing = all([one("signature-missing", path), unhanded.clone()]);
        for (variant, at) in [("", 32), ("-byte-0", 0), ("-last-byte", size(golden, &sig) - 1)] {
            case("flip", variant, vec![flip(&sig, at)], wrong.clone());
        }
        case("truncate", "", vec![truncate(&sig, 63)], wrong.clone());
        case("replace", "", vec![copy(&signature(other), &sig)], wrong.clone());
        case("delete", "", vec![delete(&sig)], missing.clone());
        let far = signature(&layout::deletion_path("lab", 99));
        case("add", "", vec![copy(&sig, &far)], one("signature-stray", &far));
        case("rename", "", vec![relocate(&sig, &far)], all([missing.clone(), one("signature-stray", &far)]));
        let elsewhere = signature(&layout::deletion_path("lab-2", 2));
        case(
            "re-date",
            "-cluster",
            vec![relocate(&sig, &elsewhere)],
            all([missing, one("signature-stray", &elsewhere)]),
        );
        case(
            "re-order",
            "",
            vec![swap(&sig, &signature(other))],
            all([wrong, one("signature-wrong", other), one("key-untrusted", &last)]),
        );
    }
    cases
}
