//! What is compared, and what holds of any evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_schemas::metadata;

use crate::evidence::{Connection, Evidence, EvidenceFile, Row};
use crate::oracle::Decision;

/// How many differences are shown.
const SHOWN: usize = 3;

/// How far apart two lives of an agent may put the same moment, in microseconds: each reads the clocks for itself, and
/// differences from a millisecond on would be a step of the wall clock.
const CLOCK_DIFFERENCE_US: i64 = 1_000;

/// That the decisions on TCP and UDP are these, each so often as it stands here, and no other. What was sent from the addresses
/// in `repeated` may have been denied more often than once.
pub fn decisions(
    evidence: &Evidence,
    expected: impl IntoIterator<Item = Decision>,
    repeated: &BTreeSet<SocketAddr>,
) -> Result<()> {
    let rows = evidence.rows().filter(|row| row.is_tcp_or_udp() && row.event != "close");
    let is_repeated = |decision: &Decision| match (decision.src.ip, decision.src.port) {
        (Some(ip), Some(port)) => repeated.contains(&SocketAddr::new(ip, port)),
        _ => false,
    };
    let (repeats, found): (Vec<Decision>, Vec<Decision>) = rows.map(Decision::from).partition(is_repeated);
    same("decisions", &multiset(expected), &multiset(found.into_iter().chain(denied_once(repeats))))
}

/// The same decisions, with the denials that differ in their count alone as one that counts one attempt.
pub fn denied_once(mut decisions: Vec<Decision>) -> Vec<Decision> {
    for denied in decisions.iter_mut().filter(|decision| decision.event == "deny") {
        denied.count = 1;
    }
    decisions.sort();
    decisions.dedup_by(|one, other| one.event == "deny" && one == other);
    decisions
}

/// That each connection of TCP or UDP was opened once and closed once on each side that saw it, with the same verdict and
/// attribution, and that both sides counted the same packets. Returns how many openings there are.
pub fn closes(evidence: &Evidence) -> Result<usize> {
    let (opens, closes) = (unique(evidence, "open")?, unique(evidence, "close")?);
    for (connection, open) in &opens {
        let close = closes.get(connection).with_context(|| format!("this was never closed: {open:?}"))?;
        let said = |row: &Row| (row.verdict.clone(), row.reason.clone(), row.policies.clone(), row.tcp_flags);
        ensure!(said(open) == said(close), "the close does not say what the opening does:\n{open:?}\n{close:?}");
        let last = close.last_time.with_context(|| format!("there is no last time: {close:?}"))?;
        ensure!(last + CLOCK_DIFFERENCE_US >= open.time, "it ended before it began:\n{open:?}\n{close:?}");
        let totals = close.totals.with_context(|| format!("there are no totals: {close:?}"))?;
        if let Some(other) = closes.get(&from_other_side(connection)) {
            let mirrored = other.totals.with_context(|| format!("there are no totals: {other:?}"))?.mirrored();
            ensure!(totals == mirrored, "the two sides counted differently:\n{close:?}\n{other:?}");
        }
    }
    match closes.iter().find(|(connection, _)| !opens.contains_key(*connection)) {
        Some((_, close)) => bail!("this was closed and never opened: {close:?}"),
        None => Ok(opens.len()),
    }
}

fn from_other_side((protocol, direction, from, from_port, to, to_port): &Connection) -> Connection {
    let other = if direction == "egress" { "ingress" } else { "egress" };
    (protocol.clone(), other.to_owned(), *from, *from_port, *to, *to_port)
}

/// The rows of one kind of event on TCP and UDP by their connection, of which none may stand twice.
pub fn unique<'evidence>(evidence: &'evidence Evidence, event: &str) -> Result<BTreeMap<Connection, &'evidence Row>> {
    let mut rows = BTreeMap::new();
    for row in evidence.events(event).filter(|row| row.is_tcp_or_udp()) {
        if let Some(first) = rows.insert(row.connection()?, row) {
            bail!("this connection has two rows of `{event}`:\n{first:?}\n{row:?}");
        }
    }
    Ok(rows)
}

/// That sequence numbers begin with 1 and have no hole and no double in any namespace, that each file's metadata says what is
/// in it, and that its path does. Returns the namespaces.
pub fn sequences(evidence: &Evidence) -> Result<BTreeSet<String>> {
    let mut numbers: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    for file in &evidence.files {
        agrees_with_itself(file).with_context(|| format!("{}", file.path.display()))?;
        for row in &file.rows {
            numbers.entry((&row.namespace, &row.boot)).or_default().push(row.seq);
        }
    }
    for ((namespace, _), numbers) in &mut numbers {
        numbers.sort_unstable();
        for (expected, number) in (1..).zip(numbers.iter()) {
            ensure!(expected == *number, "in namespace {namespace}, {number} stands where seq {expected} should");
        }
    }
    Ok(numbers.into_keys().map(|(namespace, _)| namespace.to_owned()).collect())
}

fn agrees_with_itself(file: &EvidenceFile) -> Result<()> {
    let said = |key: &str| file.metadata.get(key).map(String::as_str).with_context(|| format!("it has no {key}"));
    let (Some(first), Some(last)) = (file.rows.first(), file.rows.last()) else { bail!("it has no rows") };
    ensure!(said(metadata::FIRST_SEQ)?.parse::<i64>()? == first.seq, "its first seq is {}, not that", first.seq);
    ensure!(said(metadata::LAST_SEQ)?.parse::<i64>()? == last.seq, "its last seq is {}, not that", last.seq);
    ensure!(file.rows.is_sorted_by(|one, next| one.seq < next.seq), "its rows are not in order");
    let path = file.path.display().to_string();
    for (key, value) in [("cluster", &first.cluster), ("namespace", &first.namespace)] {
        ensure!(path.contains(&format!("/{key}={value}/")), "its path does not name the {key} {value}");
    }
    for row in &file.rows {
        for (key, value) in [
            (metadata::CLUSTER, &row.cluster),
            (metadata::NAMESPACE, &row.namespace),
            (metadata::NODE, &row.node),
            (metadata::BOOT, &row.boot),
        ] {
            ensure!(said(key)? == value, "its {key} is {}, and a row has {value}", said(key)?);
        }
    }
    Ok(())
}

/// How many records the evidence says to be lost.
pub fn lost(evidence: &Evidence) -> u64 {
    evidence.events("loss").map(|row| row.count.cast_unsigned()).sum()
}

/// That two multisets are the same.
pub fn same<T: Debug + Ord>(what: &str, expected: &BTreeMap<T, usize>, found: &BTreeMap<T, usize>) -> Result<()> {
    let missing: Vec<_> = difference(expected, found);
    let too_many: Vec<_> = difference(found, expected);
    if missing.is_empty() && too_many.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} {what} are missing, {} should not be there", missing.len(), too_many.len());
    for (word, list) in [("missing", missing), ("too many", too_many)] {
        for (number, item) in list.iter().take(SHOWN) {
            let _ = write!(text, "\n{word} ({number}): {item:?}");
        }
    }
    bail!(text)
}

/// How often each of these is there.
pub fn multiset<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut multiset = BTreeMap::new();
    for item in items {
        *multiset.entry(item).or_default() += 1;
    }
    multiset
}

fn difference<'items, T: Ord>(of: &'items BTreeMap<T, usize>, without: &BTreeMap<T, usize>) -> Vec<(usize, &'items T)> {
    of.iter()
        .filter_map(|(item, number)| {
            let more = number.saturating_sub(without.get(item).copied().unwrap_or(0));
            (more > 0).then_some((more, item))
        })
        .collect()
}

#[cfg(test)]
mod tests;
