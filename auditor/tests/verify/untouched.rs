//! Roots to which nothing was done.

use std::collections::BTreeSet;

use podwitness_tests::sealed_root::golden::{golden, trusted};
use podwitness_tests::sealed_root::{Cluster, Node, SealedRoot, micros, records};

use crate::asked::Asked;
use crate::rewrite::seal_path;

fn texts<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.map(str::to_owned).into()
}

#[test]
fn an_untouched_root_is_good_and_admits_what_it_does_not_know() {
    let golden = golden().unwrap();
    let asked = Asked::about(&golden.root, golden.as_of);
    let answer = asked.answer(&[]);
    assert_eq!((answer.findings(), answer.code), (texts([]), Some(0)), "{}", answer.json);
    assert_eq!(answer.json["result"], "good");
    assert_eq!(answer.json["keys"], "from-evidence");
    assert_eq!(
        answer.admissions(),
        texts(["clock node-b 1", "crash node-b 1", "loss node-b 3", "not-clean node-b 1", "silence node-a 1"])
    );
    assert_eq!(answer.notes(), texts([]));
    let seals = golden.root.seals();
    let checked = &answer.json["checked"];
    assert_eq!(checked["seals"], seals.len());
    assert_eq!(checked["deletions"], 2);
    assert_eq!(checked["objects"], golden.root.objects.keys().filter(|path| path.ends_with(".parquet")).count());
    let listed = seals.iter().flat_map(|(_, seal)| &seal.objects);
    let there = listed.filter(|object| golden.root.objects.contains_key(&object.path));
    assert_eq!(checked["rows"], there.map(|object| object.rows).sum::<u64>());
    assert_eq!(checked["start"], "2026-01-02T10:00:00.000000Z");
    assert_eq!(checked["end"], "2026-01-02T12:30:00.000000Z");
}

#[test]
fn the_first_line_says_whose_keys_were_used_and_the_exit_code_what_came_of_it() {
    let golden = golden().unwrap();
    let asked = Asked::about(&golden.root, golden.as_of);
    let text = String::from_utf8(asked.run(&[]).stdout).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.contains("in the evidence itself, which prove nothing about who signed"), "{first}");
    assert!(text.ends_with("GOOD: nothing is missing, altered or contradicts itself.\n"), "{text}");

    let keys = asked.folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    for (name, key) in trusted() {
        std::fs::write(keys.join(format!("{name}.pem")), key.public().to_pem()).unwrap();
    }
    let output = asked.run(&["--trusted-keys", keys.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().next().unwrap().contains("that you gave"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(asked.answer(&["--trusted-keys", keys.to_str().unwrap()]).json["keys"], "trusted");
}

#[test]
fn what_cannot_be_asked_is_exit_code_2_and_one_sentence() {
    let golden = golden().unwrap();
    let asked = Asked::about(&golden.root, golden.as_of);
    let empty = tempfile::tempdir().unwrap();
    for options in [
        &["--trusted-keys", empty.path().to_str().unwrap()][..],
        &["--trusted-keys", "/nowhere"],
        &["--nodes", "node-a"],
        &["--pin", "lab/node-a=abc"],
        &["--as-of", "yesterday"],
    ] {
        let output = asked.run(options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{options:?}");
    }
    let elsewhere = std::process::Command::new(env!("CARGO_BIN_EXE_podwitness")).args(["verify", "/nowhere"]).output();
    assert_eq!(elsewhere.unwrap().status.code(), Some(2));
}

#[test]
fn what_waits_for_the_next_seal_is_a_note() {
    let mut root = SealedRoot::new();
    let mut node = Node::begin(&mut root, Cluster::named("lab"), "node-a", 1, "boot-1", micros(10, 0, 0)).unwrap();
    node.witness(&mut root, vec![records::open("shop", micros(10, 1, 0), 1)]).unwrap();
    node.seal(&mut root, micros(10, 5, 0));
    node.witness(&mut root, vec![records::open("shop", micros(10, 6, 0), 2)]).unwrap();
    node.witness(&mut root, vec![records::open("shop", micros(10, 7, 0), 3)]).unwrap();
    let ahead = seal_path(&root, "node-a", 1).replace("0001.json", "0002.json.sig");
    root.put(&ahead, vec![0; 64]);
    let unsealed = root.paths("verdicts/")[1].clone();

    let answer = Asked::about(&root, micros(10, 8, 0)).answer(&[]);
    assert_eq!((answer.findings(), answer.code), (texts([]), Some(0)), "{}", answer.json);
    assert_eq!(
        answer.notes(),
        BTreeSet::from([format!("not-sealed-yet {unsealed}"), format!("signature-ahead {ahead}")])
    );
    assert_eq!(answer.json["notes"][0]["count"], 2);
    // The newest seal ended before these happened, so they are not late; but by then the chain has ended too early.
    let answer = Asked::about(&root, micros(11, 0, 0)).answer(&[]);
    let codes: BTreeSet<_> = answer.findings().iter().map(|told| told.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(codes, texts(["chain-ends-early", "object-unsealed", "signature-stray"]));
}

#[test]
fn a_part_lacks_what_it_was_not_given_and_what_it_has_is_checked() {
    let golden = golden().unwrap();
    let mut part = golden.root.clone();
    part.objects.retain(|path, _| !path.starts_with("verdicts/") || path.contains("namespace=ops/"));
    let lacking = golden.root.paths("verdicts/cluster=lab/namespace=shop/")[0].clone();
    let whole = Asked::about(&part, golden.as_of).answer(&[]);
    assert!(whole.findings().contains(&format!("object-missing {lacking}")), "{}", whole.json);
    let answer = Asked::about(&part, golden.as_of).answer(&["--part"]);
    assert_eq!((answer.findings(), answer.code), (texts([]), Some(0)));
    assert_eq!(answer.notes(), BTreeSet::from([format!("not-in-part {lacking}")]));

    let ops = part.paths("verdicts/")[0].clone();
    part.objects.get_mut(&ops).unwrap()[100] ^= 1;
    let answer = Asked::about(&part, golden.as_of).answer(&["--part"]);
    assert_eq!(answer.findings(), BTreeSet::from([format!("object-altered {ops}")]));
}

#[test]
fn a_deleted_object_that_is_still_there_is_a_note() {
    let golden = golden().unwrap();
    let mut root = golden.root.clone();
    let path = golden.before_deletion.paths("verdicts/cluster=lab/namespace=bank/")[0].clone();
    root.put(&path, golden.before_deletion.objects[&path].clone());
    let answer = Asked::about(&root, golden.as_of).answer(&[]);
    assert_eq!((answer.findings(), answer.code), (texts([]), Some(0)), "{}", answer.json);
    assert_eq!(answer.notes(), BTreeSet::from([format!("not-deleted-yet {path}")]));
}
