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
        match claims.table.as_str() {
            "verdicts" => self.read_losses(file, &["loss"]),
            "coverage" => {
                self.read_losses(file, &["records-lost", "names-lost"])?;
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
        contradict("the number of rows in its footer", rows.to_string(), footer.to_string());
        Ok(())
    }

    fn read_times(&mut self, file: &dyn FileReader, claims: &Claims) -> Result<(), ParquetError> {
        let (mut opening, mut earliest, mut latest) = (None, i64::MAX, i64::MIN);
        columns::integers(file, "time", |values| {
            opening = opening.or(values.first().copied());
            let (least, greatest) = columns::extremes(values);
            (earliest, latest) = (earliest.min(least), latest.max(greatest));
        })?;
        if columns::has(file, "last_time") {
            columns::integers(file, "last_time", |values| {
                latest = latest.max(columns::extremes(values).1);
            })?;
        }
        let Some(opening) = opening else { return Ok(()) };
        self.first_time = Some(Time::from_micros(opening).into());
        for (what, said, is) in [("earliest", claims.first_time, earliest), ("latest", claims.last_time, latest)] {
            let is = Time::from_micros(is);
            if said != is {
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

    fn read_losses(&mut self, file: &dyn FileReader, words: &[&str]) -> Result<(), ParquetError> {
        if !columns::may_have(file, "event", words)? {
            return Ok(());
        }
        let lost = &mut self.lost;
        columns::rows(file, &["event", "count"], |row| {
            if columns::text(row, "event").is_some_and(|event| words.contains(&event)) {
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
        columns::rows(file, &["seq", "balance"], |row| {
            let (Some(text), seq) = (columns::text(row, "balance"), columns::integer(row, "seq").unwrap_or(0)) else {
                return;
            };
            match serde_json::from_str::<KernelBalance>(text) {
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
