//! What `retain` prints.

use std::io::{ErrorKind, Write as _, stdout};

use super::history::History;
use super::protocol::Outcome;
use super::wishes::Kept;
use crate::failure::Failure;
use crate::output::Output;
use crate::table;

/// What a dry run found.
pub(super) fn plan(history: &History, altered: &[String], output: Output) -> Result<(), Failure> {
    let due_bytes: u64 = history.due.values().map(|(object, _)| object.bytes).sum();
    if output == Output::Json {
        let objects = history.due.values().map(|(object, seal)| {
            serde_json::json!({"path": object.path, "bytes": object.bytes, "retain_until": object.retain_until, "seal": seal})
        });
        let kept = history.kept.iter().map(|(why, (objects, bytes))| {
            (why.name().to_owned(), serde_json::json!({"objects": objects, "bytes": bytes}))
        });
        return print_json(&serde_json::json!({
            "dry_run": true,
            "objects": objects.collect::<Vec<_>>(),
            "bytes": due_bytes,
            "unfinished": history.leftover.keys().collect::<Vec<_>>(),
            "altered": altered,
            "kept": kept.collect::<serde_json::Map<_, _>>(),
        }));
    }
    let mut rows = table::for_people();
    rows.set_header(["object", "bytes", "what", "why"]);
    for path in history.leftover.keys() {
        rows.add_row([path.as_str(), "", "delete", "an earlier deletion lists it and it is still there"]);
    }
    for (path, (object, _)) in &history.due {
        let why = format!("had to be kept until {}", object.retain_until);
        rows.add_row([path.clone(), object.bytes.to_string(), "delete".to_owned(), why]);
    }
    for path in altered {
        rows.add_row([path.as_str(), "", "keep", "it has another size than its seal says"]);
    }
    for why in Kept::ALL {
        if let Some((objects, bytes)) = history.kept.get(&why) {
            rows.add_row([
                format!("{objects} objects"),
                bytes.to_string(),
                "keep".to_owned(),
                why.meaning().to_owned(),
            ]);
        }
    }
    let objects = history.due.len() + history.leftover.len();
    print(&format!("{rows}\n\nto delete: {objects} objects, {due_bytes} bytes; nothing was changed"))
}

/// What a run did.
pub(super) fn outcome(outcome: &Outcome, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        print_json(&serde_json::json!({
            "dry_run": false,
            "deletions": outcome.deletions,
            "deleted": outcome.deleted,
            "bytes": outcome.bytes,
            "refused": outcome.refused,
        }))?;
    } else {
        let signed = match outcome.deletions.as_slice() {
            [] => String::new(),
            paths => format!(", listed and signed in {}", paths.join(", ")),
        };
        print(&format!("deleted: {} objects, {} bytes{signed}", outcome.deleted, outcome.bytes))?;
    }
    match outcome.refused.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
            Err(Failure::answer(format_args!("not everything was deleted: {first}{more}")))
        }
    }
}

pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).expect("texts and numbers are always JSON"))
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(stdout(), "{text}") {
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::answer(format_args!("cannot print: {error}"))),
    }
}
