//! The matrix: every tampering with every part, found by both verifiers, who say the same of it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, bail, ensure};
use podwitness_tests::sealed_root::golden::golden;

use crate::cases::{NO_SENSE, PARTS, TAMPERINGS, cases};
use crate::verifiers::{Question, ask};

/// Does `work` to each item, on as many threads as there are processors; tells of every one that failed, by its name.
pub(crate) fn in_parallel<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<()> + Sync,
    name: impl Fn(&T) -> String + Sync,
) -> Result<()> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(item) {
                        failures.lock().expect("no thread panics with it").push(format!("{}: {error:#}", name(item)));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics with it");
    failures.sort();
    ensure!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), items.len(), failures.join("\n"));
    Ok(())
}

#[test]
fn nothing_is_found_in_the_untouched_root() -> Result<()> {
    let golden = golden()?;
    for trusted in [true, false] {
        let answer = ask(&golden.root, &Question { trusted, ..Question::at(golden.as_of) })?;
        ensure!(answer.findings().is_empty(), "{:#?}", answer.findings());
    }
    Ok(())
}

#[test]
fn every_tampering_is_found_and_named_by_both_verifiers() -> Result<()> {
    let golden = golden()?;
    let work = |case: &crate::cases::Case| {
        let mut root = golden.root.clone();
        case.edits.iter().try_for_each(|edit| edit.apply(&mut root))?;
        ensure!(!case.findings.is_empty(), "it expects nothing to be found");
        let answer = ask(&root, &Question { trusted: case.trusted, ..Question::at(golden.as_of) })?;
        let (found, expected) = (answer.findings(), &case.findings);
        ensure!(
            found == *expected,
            "not expected: {:#?}; not found: {:#?}",
            found.difference(expected).collect::<Vec<_>>(),
            expected.difference(&found).collect::<Vec<_>>()
        );
        Ok(())
    };
    in_parallel(&cases(&golden), work, |case| case.name.clone())
}

#[test]
fn no_combination_is_left_out_quietly() -> Result<()> {
    let cases = cases(&golden()?);
    let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    ensure!(names.len() == cases.len(), "two cases have one name");
    for tampering in TAMPERINGS {
        for part in PARTS {
            let excused = NO_SENSE
                .iter()
                .any(|(of, parts, reason)| *of == tampering && parts.contains(&part) && !reason.is_empty());
            let prefix = format!("{tampering}/{part}/");
            let here: Vec<_> = names.iter().filter_map(|name| name.strip_prefix(&prefix)).collect();
            ensure!(here.is_empty() == excused, "{prefix} has {} cases, and is excused: {excused}", here.len());
            let positions: &[&str] = match (part, tampering) {
                _ if excused => &[],
                ("marker", _) => &[],
                ("deletions" | "deletion-signatures", _) => &["first", "last"],
                _ => &["first", "middle", "last"],
            };
            for position in positions {
                if !here.iter().any(|name| name.starts_with(position)) {
                    bail!("{prefix} has no {position}");
                }
            }
        }
    }
    Ok(())
}
