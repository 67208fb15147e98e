//! The vectors for third parties: a root as files, what must be said of it, and tamperings that anybody can apply.
//!
//! They stay as they were committed, whatever later versions write. `PODWITNESS_WRITE_GOLDEN=1` makes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use podwitness_seals::time::Time;
use podwitness_tests::sealed_root::SealedRoot;
use podwitness_tests::sealed_root::golden::{golden, trusted};
use serde::{Deserialize, Serialize};

use crate::cases::cases;
use crate::edit::Edit;
use crate::matrix::in_parallel;
use crate::verifiers::{Question, ask, ask_about};

/// `expected.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    /// The time of asking.
    as_of: String,
    /// Of the root as it is.
    findings: BTreeSet<(String, String)>,
    /// `code node count first`.
    admissions: BTreeSet<String>,
    /// `code count object`.
    notes: BTreeSet<String>,
}

/// One entry of `tamperings.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tampering {
    name: String,
    /// Whether the keys in `trusted-keys` are given.
    trusted: bool,
    edits: Vec<Edit>,
    findings: BTreeSet<(String, String)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden/roots")
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> Result<T> {
    let path = folder().join(name);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not as it should be", path.display()))
}

fn question(expected: &Expected, trusted: bool) -> Result<Question> {
    let as_of = Time::from(expected.as_of.parse::<DateTime<Utc>>()?).micros();
    Ok(Question { trusted, as_of, options: Vec::new() })
}

/// Writes the vectors, where that was asked for.
fn write() -> Result<()> {
    if env::var_os("PODWITNESS_WRITE_GOLDEN").is_none() {
        return Ok(());
    }
    let golden = golden()?;
    let _ = fs::remove_dir_all(folder().join("good"));
    golden.root.write(&folder().join("good"))?;
    fs::create_dir_all(folder().join("trusted-keys"))?;
    for (name, key) in trusted() {
        fs::write(folder().join("trusted-keys").join(format!("{name}.pem")), key.public().to_pem())?;
    }
    let answer = ask(&golden.root, &Question::at(golden.as_of))?;
    let expected = Expected {
        as_of: Time::from_micros(golden.as_of).to_string(),
        findings: BTreeSet::new(),
        admissions: answer.admissions(),
        notes: answer.notes(),
    };
    fs::write(folder().join("expected.json"), serde_json::to_string_pretty(&expected)? + "\n")?;
    // One of each kind of tampering with each part; the matrix has them all.
    let mut seen = BTreeSet::new();
    let kinds = cases(&golden).into_iter().filter(|case| {
        let (kind, which) = case.name.rsplit_once('/').unwrap_or_default();
        seen.insert(format!("{kind}/{}", which.contains('-')))
    });
    let tamperings = kinds.map(|case| {
        let entry = Tampering { name: case.name, trusted: case.trusted, edits: case.edits, findings: case.findings };
        serde_json::to_string(&entry)
    });
    let lines = tamperings.collect::<Result<Vec<_>, _>>()?.join(",\n");
    fs::write(folder().join("tamperings.json"), format!("[\n{lines}\n]\n"))?;
    Ok(())
}

#[test]
fn the_vectors_are_found_to_be_what_they_are() -> Result<()> {
    write()?;
    let expected: Expected = read("expected.json")?;
    let good = folder().join("good");
    for trusted in [true, false] {
        let answer = ask_about(&good, &question(&expected, trusted)?)?;
        ensure!(answer.findings() == expected.findings, "of the good root: {:?}", answer.findings());
        ensure!(answer.admissions() == expected.admissions, "it admits {:#?}", answer.admissions());
        ensure!(answer.notes() == expected.notes, "it is noted {:#?}", answer.notes());
    }
    let tamperings: Vec<Tampering> = read("tamperings.json")?;
    ensure!(tamperings.len() > 80, "there are only {} tamperings", tamperings.len());
    let root = SealedRoot::read(&good)?;
    in_parallel(
        &tamperings,
        |tampering| {
            let mut root = root.clone();
            tampering.edits.iter().try_for_each(|edit| edit.apply(&mut root))?;
            let answer = ask(&root, &question(&expected, tampering.trusted)?)?;
            ensure!(
                answer.findings() == tampering.findings,
                "finds {:#?}, expected {:#?}",
                answer.findings(),
                tampering.findings
            );
            Ok(())
        },
        |tampering| tampering.name.clone(),
    )
}

#[test]
fn the_vectors_are_small_enough_to_be_handed_around() -> Result<()> {
    let mut sizes = SealedRoot::read(&folder())?
        .objects
        .into_iter()
        .map(|(path, bytes)| (path, bytes.len()))
        .collect::<BTreeMap<_, _>>();
    let all: usize = sizes.values().sum();
    sizes.retain(|_, bytes| *bytes > 40_000);
    ensure!(all < 500_000, "they have {all} bytes; the largest are {sizes:?}");
    Ok(())
}
