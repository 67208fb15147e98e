//! Random tamperings, of one or several parts at once, also by whoever holds the keys: what is found is not foretold, but both
//! verifiers must say the same. A run is named by its seed; `PODWITNESS_TEST_SEED` begins with one, `PODWITNESS_TAMPER_RUNS` says how many.

use std::env;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use podwitness_schemas::layout;
use podwitness_seals::key::PrivateKey;
use podwitness_tests::sealed_root::golden::{Golden, golden};
use podwitness_tests::sealed_root::{SealedRoot, key, signature_path};
use serde_json::Value;

use crate::edit::Edit;
use crate::matrix::in_parallel;
use crate::verifiers::{Question, ask};

/// So many in an ordinary run of the tests.
const RUNS: u64 = 60;

fn number(name: &str, default: u64) -> Result<u64> {
    let Some(text) = env::var_os(name) else { return Ok(default) };
    text.to_string_lossy().parse().with_context(|| format!("{name} is no number"))
}

fn one_of<'a>(rng: &mut Rng, paths: &'a [String]) -> &'a str {
    &paths[rng.usize(..paths.len())]
}

/// The key that a document names, where it is one of ours.
fn signer(document: &Value) -> Option<PrivateKey> {
    (1..=5).map(key).find(|key| document["key_id"] == key.public().id().0.as_str())
}

/// Another value in the place of one in `value`, chosen at random.
fn disturb(rng: &mut Rng, value: &mut Value, others: &[Value]) {
    match value {
        Value::Object(map) if !map.is_empty() && rng.u8(..10) > 0 => {
            let at = rng.usize(..map.len());
            let name = map.keys().nth(at).expect("it has so many").clone();
            match rng.u8(..12) {
                0 => {
                    map.remove(&name);
                }
                1 => {
                    map.insert(format!("{name}x"), Value::Null);
                }
                _ => disturb(rng, &mut map[&name], others),
            }
        }
        Value::Array(list) if !list.is_empty() && rng.u8(..10) > 0 => {
            let at = rng.usize(..list.len());
            match rng.u8(..8) {
                0 => {
                    list.remove(at);
                }
                1 => list.push(list[at].clone()),
                2 => list.swap(0, at),
                _ => disturb(rng, &mut list[at], others),
            }
        }
        Value::Number(old) => {
            let old = old.as_i64().unwrap_or_default();
            let new = [0, 1, -1, old + 1, old - 1, old * 2, (1 << 53) - 1, 1 << 53];
            *value = new[rng.usize(..new.len())].into();
        }
        Value::Bool(old) => *value = (!*old).into(),
        _ => *value = others[rng.usize(..others.len())].clone(),
    }
}

/// Every value of a document that has none within.
fn leaves<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => map.values().for_each(|value| leaves(value, found)),
        Value::Array(list) => list.iter().for_each(|value| leaves(value, found)),
        leaf => found.push(leaf),
    }
}

/// A document that somebody with its key has changed in one or several places.
fn rewrite(rng: &mut Rng, root: &SealedRoot, path: &str) -> Vec<Edit> {
    let Ok(mut document) = serde_json::from_slice::<Value>(&root.objects[path]) else { return Vec::new() };
    let (copy, mut others) = (document.clone(), Vec::new());
    leaves(&copy, &mut others);
    let others: Vec<_> = others.into_iter().cloned().chain([Value::Null, "".into(), 7.into()]).collect();
    for _ in 0..=rng.usize(..2) {
        disturb(rng, &mut document, &others);
    }
    let Some(key) = signer(&document).or_else(|| signer(&copy)) else { return Vec::new() };
    let Ok(bytes) = serde_json_canonicalizer::to_vec(&document) else { return Vec::new() };
    vec![Edit::put(&signature_path(path), &key.sign(&bytes)), Edit::put(path, &bytes)]
}

fn is_document(path: &str) -> bool {
    (path.starts_with("seals/") || path.starts_with("deletions/")) && !path.ends_with(layout::SIGNATURE_SUFFIX)
}

fn tamper(rng: &mut Rng, root: &SealedRoot) -> Vec<Edit> {
    let paths: Vec<_> = root.objects.keys().cloned().collect();
    let documents: Vec<_> = paths.iter().filter(|path| is_document(path)).cloned().collect();
    let (path, other) = (one_of(rng, &paths).to_owned(), one_of(rng, &paths).to_owned());
    let size = root.objects[&path].len();
    match rng.u8(..12) {
        0 => vec![Edit::Flip { path, at: rng.usize(..size.max(1)) }],
        1 => vec![Edit::Truncate { path, bytes: rng.usize(..size.max(1)) }],
        2 => vec![Edit::Delete { path }],
        3 => vec![Edit::Copy { from: path, to: other }],
        4 => vec![Edit::Swap { one: path, other }],
        5 => {
            let at = rng.usize(..path.len());
            let mut to = path.clone();
            to.replace_range(at..=at, ["0", "9", "x", "/", "-", "=", "%2F", "."][rng.usize(..8)]);
            vec![Edit::Move { from: path, to }]
        }
        _ => {
            let path = one_of(rng, &documents);
            rewrite(rng, root, path)
        }
    }
}

fn run(golden: &Golden, seed: u64) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let mut root = golden.root.clone();
    for _ in 0..=rng.usize(..3) {
        for edit in tamper(&mut rng, &root) {
            let before = root.clone();
            // What changes nothing, or has nothing to change, is no tampering.
            if edit.apply(&mut root).is_err() {
                root = before;
            }
        }
    }
    let as_of = golden.as_of + rng.i64(0..4) * 3_600_000_000;
    ask(&root, &Question { trusted: rng.bool(), ..Question::at(as_of) })?;
    Ok(())
}

#[test]
fn both_verifiers_say_the_same_of_random_tamperings() -> Result<()> {
    let golden = golden()?;
    let first = number("PODWITNESS_TEST_SEED", 0)?;
    let seeds: Vec<_> = (first..first + number("PODWITNESS_TAMPER_RUNS", RUNS)?).collect();
    in_parallel(&seeds, |seed| run(&golden, *seed), |seed| format!("seed {seed}"))
}
