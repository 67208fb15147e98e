//! What a file of evidence holds, compared with what is said of it.

use std::fs::File;

use chrono::{DateTime, Utc};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use podwitness_seals::balance::KernelBalance;
use podwitness_seals::time::Time;

use super::claims::Claims;
use super::columns;
use super::sequences::{Run, without};

/// No file has more rows. Some bytes can say that they are as many as one likes, and somebody waits for them all to be read.
const GREATEST_ROWS: u64 = 1 << 28;

/// Rows of these events admit a loss.
const LOSSES: [&str; 3] = ["loss", "records-lost", "names-lost"];

/// What was seen in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) rows: u64,
    /// When the first row happened.
    pub(super) first_time: Option<DateTime<Utc>>,
    pub(super) contradictions: Vec<String>,
    pub(super) holes: Vec<String>,
    pub(super) overlaps: Vec<String>,
    pub(super) imbalances: Vec<String>,
    /// What rows of losses count; `None` without such a row.
    pub(super) lost: Option<u64>,
    /// How many rows say that a program had crashed.
    pub(super) crashes: u64,
}

/// What `file` says of itself, which is said to be of `table`.
pub(super) fn read_claims(table: &str, file: File) -> Result<Claims, String> {
    let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
    Claims::of_metadata(table, reader.metadata().file_metadata())
}

/// Compares `file` with `claims`; its sequence has `gaps`.
pub(super) fn examine(file: impl ChunkReader + 'static, claims: &Claims, gaps: &[Run]) -> Result<Facts, String> {
    let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
    let rows = reader.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    if rows.fold(0, u64::saturating_add) > GREATEST_ROWS {
        return Err(format!("it has more than {GREATEST_ROWS} rows"));
    }
    columns::check(reader.metadata(), &claims.table).map_err(|error| error.to_string())?;
    let mut facts = Facts::default();
    match Claims::of_metadata(&claims.table, reader.metadata().file_metadata()) {
        Ok(said) => facts.contradictions.extend(claims.differences(&said)),
        Err(why) => facts.contradictions.push(why),
    }
    facts.read(&reader, claims, gaps).map_err(|error| error.to_string())?;
    Ok(facts)
}

impl Facts {
    fn read(&mut self, file: &dyn FileReader, claims: &Claims, gaps: &[Run]) -> Result<(), ParquetError> {
        self.read_sequence(file, claims, gaps)?;
        self.read_times(file, claims)?;
        self.read_places(file, claims)?;
        self.read_losses(file)?;
        match claims.table.as_str() {
            "coverage" => {
                self.read_crashes(file)?;
                self.read_balances(file)
            }
            "policies" => self.read_texts(file),
            _ => Ok(()),
        }
    }

    fn read_sequence(&mut self, file: &dyn FileReader, claims: &Claims, gaps: &[Run]) -> Result<(), ParquetError> {
        let (mut first, mut last): (Option<i64>, Option<i64>) = (None, None);
        let (holes, overlaps, rows) = (&mut self.holes, &mut self.overlaps, &mut self.rows);
        columns::integers(file, "seq", |values| {
            *rows += values.len() as u64;
            let (Some(&head), Some(&tail)) = (values.first(), values.last()) else { return };
            // As nearly all files are.
            if last.is_none_or(|before| before.checked_add(1) == Some(head)) && columns::grow_by_one(values) {
                first = first.or(Some(head));
                last = Some(tail);
                return;
            }
            for &value in values {
                match last {
                    Some(before) if before.checked_add(1) == Some(value) => {}
                    // More would say the same.
                    Some(before) if value <= before && overlaps.is_empty() => {
                        overlaps.push(format!("`seq` {value} follows {before}"));
                    }
                    Some(before) if value > before && holes.is_empty() => {
                        let missing = without(before + 1, value - 1, gaps);
                        holes.extend(
                            missing.first().map(|(from, to)| format!("`seq` {from} to {to} are missing in it")),
                        );
                    }
                    Some(_) => {}
                    None => first = Some(value),
                }
                last = Some(value);
            }
        })?;
        let rows = self.rows;
        let mut contradict = |what: &str, said: String, is: String| {
            if said != is {
                self.contradictions.push(format!("{what} is {is}, and by its seal or metadata {said}"));
            }
        };
        let shown = |number: Option<i64>| number.map_or("none".to_owned(), |number| number.to_string());
        contradict("the number of rows", claims.rows.unwrap_or(rows).to_string(), rows.to_string());
        contradict("the first `seq`", claims.first_seq.to_string(), shown(first));
        contradict("the last `seq`", claims.last_seq.to_string(), shown(last));
        let footer = file.metadata().file_metadata().num_rows();
        if i64::try_from(rows) != Ok(footer) {
            return Err(ParquetError::General(format!(
                "{rows} of its rows have a `seq`, and its footer says {footer} rows"
            )));
        }
        Ok(())
    }

    fn read_times(&mut self, file: &dyn FileReader, claims: &Claims) -> Result<(), ParquetError> {
        let (mut opening, mut earliest, mut latest, mut times) = (None, i64::MAX, i64::MIN, 0_u64);
        columns::integers(file, "time", |values| {
            times += values.len() as u64;
            opening = opening.or(values.first().copied());
            let (least, greatest) = columns::extremes(values);
            (earliest, latest) = (earliest.min(least), latest.max(greatest));
        })?;
        if claims.table == "verdicts" {
            columns::integers(file, "last_time", |values| {
                latest = latest.max(columns::extremes(values).1);
            })?;
        }
        if times != self.rows {
            return Err(ParquetError::General(format!("of {} rows, {times} have a time", self.rows)));
        }
        let Some(opening) = opening else { return Ok(()) };
        self.first_time = Some(Time::from_micros(opening).into());
        for (what, said, is) in [("earliest", claims.first_time, earliest), ("latest", claims.last_time, latest)] {
            if said.micros() != is {
                let is = Time::from_micros(is);
                self.contradictions.push(format!("the {what} time is {is}, and by its seal or metadata {said}"));
            }
        }
        Ok(())
    }

    fn read_places(&mut self, file: &dyn FileReader, claims: &Claims) -> Result<(), ParquetError> {
        let mut places = vec![("cluster", &claims.cluster), ("node", &claims.node), ("boot", &claims.boot)];
        // In `coverage` and `policies` it is that of a pod or a policy.
        places.extend(claims.namespace.as_ref().map(|namespace| ("namespace", namespace)));
        for (column, expected) in places {
            let found = columns::distinct(file, column)?;
            let other = found.iter().find(|value| value.as_deref() != Some(expected.as_bytes()));
            if let Some(other) = other {
                let other = other.as_deref().map_or("null".into(), String::from_utf8_lossy);
                self.contradictions
                    .push(format!("a row has `{column}` {other}, and by its seal and path it is {expected}"));
            }
        }
        Ok(())
    }

    fn read_losses(&mut self, file: &dyn FileReader) -> Result<(), ParquetError> {
        if !columns::may_have(file, "event", &LOSSES)? {
            return Ok(());
        }
        let lost = &mut self.lost;
        columns::rows(file, &["event", "count"], |row| {
            if columns::text(row, "event").is_some_and(|event| LOSSES.contains(&event)) {
                let count = columns::integer(row, "count").and_then(|count| u64::try_from(count).ok()).unwrap_or(1);
                *lost = Some(lost.unwrap_or(0).saturating_add(count));
            }
        })
    }

    fn read_crashes(&mut self, file: &dyn FileReader) -> Result<(), ParquetError> {
        let crashes = &mut self.crashes;
        columns::rows(file, &["event"], |row| {
            *crashes += u64::from(columns::text(row, "event") == Some("agent-crashed"));
        })
    }

    fn read_balances(&mut self, file: &dyn FileReader) -> Result<(), ParquetError> {
        if !columns::has(file, "balance") {
            return Ok(());
        }
        let imbalances = &mut self.imbalances;
        columns::rows(file, &["seq", "event", "balance"], |row| {
            if columns::text(row, "event") != Some("balance") {
                return;
            }
            let seq = columns::integer(row, "seq").unwrap_or(0);
            match KernelBalance::from_text(columns::text(row, "balance").unwrap_or_default()) {
                Ok(balance) => {
                    imbalances.extend(balance.differences().into_iter().map(|why| format!("`seq` {seq}: {why}")));
                }
                Err(error) => imbalances.push(format!("`seq` {seq}: its balance cannot be read: {error}")),
            }
        })
    }

    fn read_texts(&mut self, file: &dyn FileReader) -> Result<(), ParquetError> {
        let contradictions = &mut self.contradictions;
        columns::rows(file, &["seq", "text", "text_sha256"], |row| {
            let (text, named) = (columns::text(row, "text"), columns::text(row, "text_sha256"));
            if text.map(|text| podwitness_seals::sha256(text.as_bytes())).as_deref() != named {
                let seq = columns::integer(row, "seq").unwrap_or(0);
                contradictions.push(format!("`seq` {seq}: `text_sha256` is not the hash of `text`"));
            }
        })
    }
}
