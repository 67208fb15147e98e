//! Objects that no seal lists: those that wait for the next seal, and those that nobody has signed for.

use std::collections::{BTreeMap, HashMap};

use podwitness_seals::balance::TABLES;
use podwitness_seals::time::Time;
use rayon::prelude::*;

use super::claims::Claims;
use super::content;
use super::context::Context;
use super::finding::{FindingCode, NoteCode};
use super::guard;
use super::names::{ChainName, Name};
use super::seals::{ChainOfSeals, Newest};
use super::sequences::{SequenceName, without};
use crate::failure::Failure;

/// An object that no seal lists, as far as its place in a sequence goes.
struct Unsealed {
    path: String,
    claims: Claims,
}

/// Tells what was there and what no seal of `chains` lists.
pub(super) fn check(context: &Context<'_>, chains: &[ChainOfSeals]) -> Result<(), Failure> {
    let mut paths = Vec::new();
    for table in TABLES {
        context.root.list(table, |path, name, bytes| {
            // What came while we were reading was not asked about.
            let is_asked = context.inventory.has(path) && !context.inventory.is_sealed(path);
            if is_asked && name == Name::Object {
                context.progress.done(bytes);
                paths.push(path.to_owned());
            }
        })?;
    }
    let read = paths.par_iter().map(|path| Ok((path, read(context, path)?))).collect::<Result<Vec<_>, Failure>>()?;

    let chains: HashMap<&ChainName, &ChainOfSeals> = chains.iter().map(|chain| (&chain.name, chain)).collect();
    let mut sequences = BTreeMap::<(ChainName, SequenceName), Vec<Unsealed>>::new();
    for (path, claims) in read {
        match claims {
            Ok(claims) => {
                let chain = ChainName { cluster: claims.cluster.clone(), node: Some(claims.node.clone()) };
                let sequence = SequenceName {
                    table: claims.table.clone(),
                    namespace: claims.namespace.clone(),
                    boot: claims.boot.clone(),
                };
                sequences.entry((chain, sequence)).or_default().push(Unsealed { path: path.clone(), claims });
            }
            Err(why) => tell(context, path, &why),
        }
    }
    for ((chain, sequence), mut objects) in sequences {
        objects.sort_by_key(|object| object.claims.first_seq);
        let known = chains.get(&chain);
        let Some((chain, newest)) = known.and_then(|chain| Some((chain, chain.goes_on()?))) else {
            for object in objects {
                tell(
                    context,
                    &object.path,
                    &format!("no seal lists it, and the chain of {chain} has ended, or there is none"),
                );
            }
            continue;
        };
        let mut next = chain.sequences.next(&sequence);
        for object in objects {
            let (first, last) = (object.claims.first_seq, object.claims.last_seq);
            // A gap is sealed when it is known, and what comes behind it may be later.
            let missing = without(next, first.saturating_sub(1), chain.sequences.gaps(&sequence));
            let goes_on = first >= next && missing.is_empty() && first <= last;
            if !goes_on {
                let why =
                    format!("no seal lists it, and its sequence goes on with {next}, not {}", object.claims.first_seq);
                tell(context, &object.path, &why);
            } else if is_late(context.as_of, newest, object.claims.last_time) {
                tell(context, &object.path, "no seal lists it, though one should by now");
            } else {
                context.report.note(NoteCode::NotSealedYet, Some(&object.path), NoteCode::NotSealedYet.meaning());
                next = last.saturating_add(1);
            }
        }
    }
    Ok(())
}

fn tell(context: &Context<'_>, path: &str, why: &str) {
    context.report.finding(FindingCode::ObjectUnsealed, path, None, why);
}

/// Whether the newest seal should list an object whose records end at `last_time`.
fn is_late(as_of: Time, newest: &Newest, last_time: Time) -> bool {
    let since = as_of.micros().saturating_sub(newest.end.micros());
    newest.end >= last_time && since >= newest.interval_us.saturating_mul(2)
}

/// What the object at `path` says of itself, where that agrees with the path and with what it holds.
fn read(context: &Context<'_>, path: &str) -> Result<Result<Claims, String>, Failure> {
    let table = path.split('/').next().unwrap_or_default();
    let Some(file) = context.root.object(path)? else {
        return Ok(Err("no seal lists it, and it went away while it was looked at".to_owned()));
    };
    let again = file.try_clone().map_err(|error| Failure::question(format_args!("cannot read {path}: {error}")))?;
    let (table, at) = (table.to_owned(), path.to_owned());
    let read = guard::run(path, move || {
        let claims = content::read_claims(&table, file)?;
        let facts = content::examine(again, &claims, &[])?;
        let expected = facts.first_time.and_then(|time| claims.path_at(time));
        if claims.table != table || expected.is_none_or(|expected| expected != at) {
            return Err("its path is not the one it says".to_owned());
        }
        facts.contradictions.into_iter().next().map_or(Ok(claims), Err)
    })?;
    Ok(read.map_err(|why| format!("no seal lists it, and it cannot be one that waits for its seal: {why}")))
}
