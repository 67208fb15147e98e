//! The evidence as a table for people: one line for all decisions that are alike but for the family.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat};
use comfy_table::{Cell, Color};

use crate::evidence::{Record, Side};
use crate::table;

/// What a line of the table says, and what `DuckDB` is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) port: String,
    pub(super) seen: String,
    pub(super) verdict: String,
    /// The policies and rules that allowed or isolated, else the reason's word.
    pub(super) why: String,
}

/// What the records of a line have together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Of the first, in microseconds since 1970.
    pub(super) time: i64,
    pub(super) families: BTreeSet<&'static str>,
    pub(super) count: i64,
}

/// The decisions among the records, those alike together.
pub(super) fn lines(records: &[Record]) -> BTreeMap<Line, Group> {
    let mut lines: BTreeMap<Line, Group> = BTreeMap::new();
    for record in records.iter().filter(|record| ["open", "change", "deny"].contains(&record.event.as_str())) {
        let of_family = record.src.ip.map(|ip| if ip.is_ipv4() { "v4" } else { "v6" });
        let group = lines.entry(line(record)).or_insert_with(|| Group {
            time: record.time,
            families: BTreeSet::new(),
            count: 0,
        });
        group.time = group.time.min(record.time);
        group.count += record.count;
        group.families.extend(of_family);
    }
    lines
}

fn line(record: &Record) -> Line {
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let policies: Vec<String> = record.policies.iter().map(ToString::to_string).collect();
    let port = record.dst.port.map(|port| format!("{port}/")).unwrap_or_default();
    Line {
        from: side_text(&record.src),
        to: side_text(&record.dst),
        port: port + record.protocol.as_deref().unwrap_or("?"),
        seen: word(&record.direction),
        verdict: word(&record.verdict),
        why: if policies.is_empty() { word(&record.reason) } else { policies.join(", ") },
    }
}

/// As `side_text` in the views writes it.
fn side_text(side: &Side) -> String {
    match (&side.namespace, &side.pod, side.ip) {
        (Some(namespace), Some(pod), _) => format!("{namespace}/{pod}"),
        (_, _, Some(ip)) => ip.to_string(),
        _ => "?".to_owned(),
    }
}

/// The lines in the order of time, as text; coloured where a person looks at it.
pub(super) fn render(lines: &BTreeMap<Line, Group>) -> String {
    let mut ordered: Vec<(&Line, &Group)> = lines.iter().collect();
    ordered.sort_by_key(|(_, group)| group.time);
    let mut table = table::for_people();
    table.set_header(["time (UTC)", "from", "to", "port", "IP", "seen at", "verdict", "policy[rule]"]);
    for (line, group) in ordered {
        let colour = if line.verdict == "allow" { Color::Green } else { Color::Red };
        table.add_row([
            Cell::new(clock(group.time)),
            Cell::new(&line.from),
            Cell::new(&line.to),
            Cell::new(&line.port),
            Cell::new(group.families.iter().copied().collect::<Vec<_>>().join(" ")),
            Cell::new(&line.seen),
            Cell::new(&line.verdict).fg(colour),
            Cell::new(&line.why),
        ]);
    }
    table.to_string()
}

/// The time of day.
fn clock(micros: i64) -> String {
    let Some(time) = DateTime::from_timestamp_micros(micros) else { return micros.to_string() };
    let text = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    text.split_once('T').map_or(text.as_str(), |(_, clock)| clock).trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests;
