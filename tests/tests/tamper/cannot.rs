//! What section 9 of the format says cannot be found: held here as such, with what shows it after all.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use podwitness_schemas::layout;
use podwitness_tests::sealed_root::golden::{Golden, golden};
use podwitness_tests::sealed_root::records::open;
use podwitness_tests::sealed_root::{Cluster, Node, SealedRoot, key, micros, signature_path};

use crate::expect::{Expect, Findings, one};
use crate::verifiers::{Answer, Question, ask};

/// Nothing is found in `root`, with the keys that an auditor was given.
fn assert_nothing(root: &SealedRoot, golden: &Golden) -> Result<Answer> {
    let answer = ask(root, &Question::at(golden.as_of))?;
    ensure!(answer.findings().is_empty(), "it can be found: {:#?}", answer.findings());
    Ok(answer)
}

/// Asked so, exactly this is found.
fn assert_found(root: &SealedRoot, question: &Question, expected: &Findings) -> Result<()> {
    let answer = ask(root, question)?;
    ensure!(answer.findings() == *expected, "asked as {question:?}: {:#?}", answer.findings());
    Ok(())
}

fn with_option(golden: &Golden, option: &str, value: &str) -> Question {
    Question { options: vec![option.to_owned(), value.to_owned()], ..Question::at(golden.as_of) }
}

/// The path and the hash of node-b's newest seal.
fn newest(golden: &Golden) -> (String, String) {
    let path = Expect::of(golden).chain("node-b").pop().expect("it has seals");
    let hash = podwitness_seals::sha256(&golden.root.objects[&path]);
    (path, hash)
}

fn remove(root: &mut SealedRoot, path: &str) {
    assert!(root.objects.remove(path).is_some() && root.objects.remove(&signature_path(path)).is_some(), "no {path}");
}

#[test]
fn a_chain_rolled_back_within_its_allowed_age_shows_later_or_by_a_pin() -> Result<()> {
    let golden = golden()?;
    let (path, hash) = newest(&golden);
    let mut root = golden.root.clone();
    remove(&mut root, &path);
    assert_nothing(&root, &golden)?;
    let before = &Expect::of(&golden).chain("node-b")[3];
    assert_found(&root, &Question::at(micros(13, 1, 1)), &one("chain-ends-early", before))?;
    let pin = with_option(&golden, "--pin", &format!("lab/node-b={hash}"));
    assert_found(&root, &pin, &one("pin-missing", "seals/cluster=lab/node=node-b"))?;
    assert_found(&golden.root, &pin, &Findings::new())
}

#[test]
fn what_the_holder_of_a_key_writes_anew_shows_by_a_pin() -> Result<()> {
    let golden = golden()?;
    let (path, hash) = newest(&golden);
    let mut root = golden.root.clone();
    remove(&mut root, &path);
    let mut seal = Expect::of(&golden).seal(&path).clone();
    "9.9.9".clone_into(&mut seal.sealer.version);
    root.put_document(&path, &seal, &key(3));
    assert_nothing(&root, &golden)?;
    let pin = with_option(&golden, "--pin", &format!("lab/node-b={hash}"));
    assert_found(&root, &pin, &one("pin-missing", "seals/cluster=lab/node=node-b"))
}

#[test]
fn a_whole_node_taken_away_shows_by_a_list_of_nodes() -> Result<()> {
    let golden = golden()?;
    let mut root = golden.root.clone();
    root.objects.retain(|path, _| !path.contains("node-b"));
    assert_nothing(&root, &golden)?;
    let nodes = with_option(&golden, "--nodes", "lab/node-a,lab/node-b");
    assert_found(&root, &nodes, &one("chain-missing", "seals/cluster=lab/node=node-b"))?;
    assert_found(&golden.root, &nodes, &Findings::new())
}

#[test]
fn all_signed_anew_shows_by_the_keys_that_were_given_unless_one_of_them_signed() -> Result<()> {
    let golden = golden()?;
    let expect = Expect::of(&golden);
    // Seal 99 is nobody's, 4 is the key of who deletes.
    for (seed, is_given) in [(99, false), (4, true)] {
        let signer = key(seed);
        let mut root = golden.root.clone();
        root.put_key(&signer.public());
        let mut previous = None;
        for path in expect.chain("node-b") {
            remove(&mut root, &path);
            let mut seal = expect.seal(&path).clone();
            seal.previous_sha256 = previous.take();
            seal.key_id = signer.public().id();
            "9.9.9".clone_into(&mut seal.sealer.version);
            previous = Some(root.put_document(&path, &seal, &signer));
        }
        let untold = Question { trusted: false, ..Question::at(golden.as_of) };
        assert_found(&root, &untold, &Findings::new())?;
        let untrusted = expect.chain("node-b").into_iter().map(|path| ("key-untrusted".to_owned(), path));
        let findings: BTreeSet<_> = if is_given { Findings::new() } else { untrusted.collect() };
        assert_found(&root, &Question::at(golden.as_of), &findings)?;
    }
    Ok(())
}

#[test]
fn a_deletion_undone_with_all_that_it_deleted_is_not_found() -> Result<()> {
    let golden = golden()?;
    let expect = Expect::of(&golden);
    let mut root = golden.root.clone();
    let (path, deletion) = expect.deletions.last().expect("there are two");
    remove(&mut root, path);
    for object in &deletion.objects {
        root.put(&object.path, golden.before_deletion.objects[&object.path].clone());
    }
    assert_nothing(&root, &golden)?;
    Ok(())
}

#[test]
fn what_is_no_evidence_is_not_looked_at() -> Result<()> {
    let golden = golden()?;
    let mut root = golden.root.clone();
    root.objects.insert("podwitness.json".to_owned(), br#"{ "layout": 1, "about": "something else" }"#.to_vec());
    root.put("read-me.txt", b"hello".to_vec());
    root.put_key(&key(99).public());
    assert_nothing(&root, &golden)?;
    // The auditor has this one.
    root.objects.remove(&layout::key_path(&key(1).public().id().0));
    assert_nothing(&root, &golden)?;
    Ok(())
}

#[test]
fn what_is_not_sealed_yet_is_a_note_and_its_absence_is_not_found() -> Result<()> {
    let golden = golden()?;
    let mut beside = SealedRoot::new();
    let cluster = Cluster { interval_seconds: 1800, ..Cluster::named("lab") };
    let boot = "0b000000-0000-4000-8000-000000000001";
    let mut node = Node::begin(&mut beside, cluster, "node-b", 3, boot, micros(10, 0, 0))?;
    // The sealed part of the sequence ended with the ninth record.
    node.witness(&mut beside, (1..=9).map(|port| open("ops", micros(10, 1, 0), port)).collect())?;
    let sealed = beside.paths("verdicts/");
    node.witness(&mut beside, vec![open("ops", micros(12, 32, 0), 10)])?;
    node.witness(&mut beside, vec![open("ops", micros(12, 33, 0), 11)])?;
    let mut root = golden.root.clone();
    let new: Vec<_> = beside.paths("verdicts/").into_iter().filter(|path| !sealed.contains(path)).collect();
    for path in &new {
        root.put(path, beside.objects[path].clone());
    }
    let (newest, _) = newest(&golden);
    let next = newest.replace("-000000000005.json", "-000000000006.json.sig");
    root.put(&next, vec![0; 64]);
    let answer = assert_nothing(&root, &golden)?;
    let expected = [format!("not-sealed-yet 2 {}", new[0]), format!("signature-ahead 1 {next}")];
    ensure!(answer.notes() == BTreeSet::from(expected), "{:#?}", answer.notes());
    // Where the first of them is missing, the second goes on from nothing.
    root.objects.remove(&new[0]);
    assert_found(&root, &Question::at(golden.as_of), &one("object-unsealed", &new[1]))
}

#[test]
fn a_part_is_told_from_a_loss_by_who_asks() -> Result<()> {
    let golden = golden()?;
    let mut root = golden.root.clone();
    root.objects.retain(|path, _| !path.starts_with("coverage/") && !path.contains("namespace=ops"));
    let lost = golden.root.objects.keys().filter(|path| !root.objects.contains_key(*path));
    let missing: Findings = lost.map(|path| ("object-missing".to_owned(), path.clone())).collect();
    ensure!(missing.len() > 5, "the part lacks only {missing:?}");
    assert_found(&root, &Question::at(golden.as_of), &missing)?;
    let part = Question { options: vec!["--part".to_owned()], ..Question::at(golden.as_of) };
    let answer = ask(&root, &part)?;
    ensure!(answer.findings().is_empty(), "{:#?}", answer.findings());
    ensure!(
        answer.notes().iter().any(|note| note.starts_with(&format!("not-in-part {} ", missing.len()))),
        "{:?}",
        answer.notes()
    );
    Ok(())
}

#[test]
fn documents_are_read_by_the_one_form_alone() -> Result<()> {
    let golden = golden()?;
    let (path, _) = newest(&golden);
    let text = String::from_utf8(golden.root.objects[&path].clone())?;
    let unknown = |value: &str| format!("{},\"zz\":{value}}}", text.strip_suffix('}').expect("it is an object"));
    let forms = [
        ("a space", text.replacen(':', ": ", 1)),
        ("a fraction", text.replacen(r#""interval_seconds":1800"#, r#""interval_seconds":1800.0"#, 1)),
        ("an exponent", text.replacen(r#""interval_seconds":1800"#, r#""interval_seconds":18e2"#, 1)),
        ("a large number", text.replacen(r#""interval_seconds":1800"#, r#""interval_seconds":9007199254740992"#, 1)),
        ("a negative number", text.replacen(r#""interval_seconds":1800"#, r#""interval_seconds":-1800"#, 1)),
        ("a key twice", text.replacen(r#""last":false"#, r#""last":false,"last":false"#, 1)),
        (
            "a key of another order",
            text.replacen(r#""agent_version":"0.1.0","#, "", 1).replacen('}', r#","agent_version":"0.1.0"}"#, 1),
        ),
        ("an escape that is not needed", text.replacen("node-b", r"node\u002db", 1)),
        ("a key that is missing", text.replacen(r#""next_key_id":null,"#, "", 1)),
        ("another type", text.replacen(r#""last":false"#, r#""last":0"#, 1)),
        ("another time", text.replacen("12:30:00.000000Z", "12:30:00Z", 1)),
        ("a time that is none", text.replacen("T12:30:00", "T24:30:00", 1)),
        ("another version", text.replacen(r#""version":1,"#, r#""version":2,"#, 1)),
        ("another hash", text.replacen(r#""key_id":""#, r#""key_id":"A"#, 1)),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("a leap second", text.replacen("T12:30:00", "T12:29:60", 1)),
        ("the year 0", text.replacen(r#""started":"2026"#, r#""started":"0000"#, 1)),
        ("a large number in a key that nobody knows", unknown("9007199254740992")),
        ("lists that stand too deep", unknown(&format!("{}{}", "[".repeat(64), "]".repeat(64)))),
        ("lists that stand very deep", unknown(&format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)))),
    ];
    for (what, form) in forms {
        ensure!(form != text, "{what}: the text is as it was");
        let mut root = golden.root.clone();
        root.objects.insert(signature_path(&path), key(3).sign(form.as_bytes()).to_vec());
        root.objects.insert(path.clone(), form.into_bytes());
        let question = Question::at(golden.as_of);
        assert_found(&root, &question, &one("document-malformed", &path)).map_err(|error| error.context(what))?;
    }
    // A key that nobody knows is no fault.
    let mut root = golden.root.clone();
    let mut value: serde_json::Value = serde_json::from_str(&text)?;
    value["\u{1f600}"] = serde_json::json!({"\u{fb33}": 1, "\u{1f600}": [null, true, "\u{7f}\u{1}\"\\/\n"]});
    let bytes = serde_json_canonicalizer::to_vec(&value)?;
    root.objects.insert(signature_path(&path), key(3).sign(&bytes).to_vec());
    root.objects.insert(path, bytes);
    assert_nothing(&root, &golden)?;
    Ok(())
}
