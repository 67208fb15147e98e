//! Roots to which something was done: exactly what was done is found.

use std::collections::BTreeSet;
use std::fs;

use podwitness_tests::sealed_root::golden::SEEDS;
use podwitness_tests::sealed_root::key;

use crate::asked::Asked;
use crate::cases::{self, Case};

fn options(case: &Case, asked: &Asked) -> Vec<String> {
    let mut options = case.options.clone();
    if let Some(trusted) = &case.trusted {
        let folder = asked.folder.path().join("keys");
        fs::create_dir(&folder).unwrap();
        for (name, seed) in SEEDS.iter().filter(|(name, _)| trusted.contains(name)) {
            fs::write(folder.join(format!("{name}.pem")), key(*seed).public().to_pem()).unwrap();
        }
        options.extend(["--trusted-keys".to_owned(), folder.to_str().unwrap().to_owned()]);
    }
    options
}

#[test]
fn each_thing_that_was_done_to_a_root_is_found_and_nothing_else() {
    let mut wrong = Vec::new();
    for case in cases::all() {
        let asked = Asked::about(&case.root, case.as_of);
        let options = options(&case, &asked);
        let answer = asked.answer(&options.iter().map(String::as_str).collect::<Vec<_>>());
        let expected: BTreeSet<String> = case.expected.iter().cloned().collect();
        assert!(!expected.is_empty(), "{}", case.name);
        if answer.findings() != expected || answer.code != Some(1) || answer.json["result"] != "bad" {
            wrong.push(format!("{}:\n expected {expected:#?}\n found {:#}", case.name, answer.json["findings"]));
        }
    }
    assert!(wrong.is_empty(), "{} cases\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_finding_of_the_format_has_a_case() {
    let format = include_str!("../../../schemas/FORMAT.md");
    let table = format.split_once("| code | finding |").unwrap().1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let listed = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let listed: BTreeSet<String> = listed.map(|word| word.trim().trim_matches('`').to_owned()).collect();
    let cases = cases::all();
    let found = cases.iter().flat_map(|case| &case.expected).map(|told| told.split(' ').next().unwrap().to_owned());
    let mut found: BTreeSet<String> = found.collect();
    // Of a store alone; `store.rs` has it.
    found.insert("version-hidden".to_owned());
    assert_eq!(found, listed);
}

#[test]
fn people_are_told_code_object_seal_and_meaning() {
    let case = cases::all().into_iter().find(|case| case.name == "an object is cut").unwrap();
    let output = Asked::about(&case.root, case.as_of).run(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let object = case.expected[0].split(' ').nth(1).unwrap();
    for words in
        ["object-altered (1): Evidence was changed after it was sealed.", object, "    seal: seals/", "BAD: 1 finding."]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(String::from_utf8(output.stderr).unwrap().contains("is not as it should be"));
}
