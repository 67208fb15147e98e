//! What goes into the store together: spool records from one position to another, by namespace.
//!
//! A batch is of one origin, because a file states the boot, the agent and the eBPF object that it comes from. Batches
//! of the spool are never split between two of ours: the cursor stands only between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use parquet::errors::ParquetError;
use podwitness_schemas::{layout, verdicts};
use podwitness_spool::{Batch as Spooled, Origin, Position, Record};

use crate::file;
use crate::rows::Rows;
use crate::staging::{Content, NewFile};

/// When a batch is closed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of its oldest record.
    pub max_age: Duration,
    /// Of its records as they stand in the spool.
    pub max_bytes: u64,
}

/// A batch that still grows.
pub struct Batch {
    origin: Arc<Origin>,
    label_columns: Arc<[String]>,
    end: Position,
    opened: Instant,
    bytes: u64,
    oldest: Option<DateTime<Utc>>,
    namespaces: BTreeMap<String, Rows>,
}

impl Batch {
    /// Begins with what the spool gave; `label_columns` are the labels that get columns of their own.
    pub fn begin(spooled: &Spooled, label_columns: Arc<[String]>) -> Self {
        let mut batch = Self {
            origin: Arc::clone(&spooled.origin),
            label_columns,
            end: spooled.end,
            opened: Instant::now(),
            bytes: 0,
            oldest: None,
            namespaces: BTreeMap::new(),
        };
        batch.append(spooled);
        batch
    }

    /// Whether `spooled` may join: whether it comes from the same origin.
    pub fn accepts(&self, spooled: &Spooled) -> bool {
        self.origin == spooled.origin
    }

    /// Adds what the spool gave next, which [`Batch::accepts`] accepted.
    pub fn append(&mut self, spooled: &Spooled) {
        self.end = spooled.end;
        self.bytes += spooled.bytes;
        for record in &spooled.records {
            let Record::Verdict(verdict) = record;
            let time = file::timestamp(verdict.time_us);
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
            if !self.namespaces.contains_key(&verdict.namespace) {
                let rows = Rows::new(Arc::clone(&self.origin), Arc::clone(&self.label_columns));
                self.namespaces.insert(verdict.namespace.clone(), rows);
            }
            let rows = self.namespaces.get_mut(&verdict.namespace).expect("it was put there just now");
            rows.append(verdict, &spooled.definitions);
        }
    }

    /// Whether it must be closed although the spool has more: it is as large as it may be, or has grown for as long as
    /// a record may wait. The age of its records does not count here: after an outage all of them are old, and each
    /// commit of the agent would become a file.
    pub fn is_full(&self, limits: Limits) -> bool {
        self.bytes >= limits.max_bytes || self.opened.elapsed() >= limits.max_age
    }

    /// Whether it is to be closed when the spool has nothing more now. The clock on the wall may jump, so that the time
    /// since the batch was begun counts too.
    pub fn is_due(&self, limits: Limits) -> bool {
        self.is_full(limits) || self.age().is_some_and(|age| age >= limits.max_age)
    }

    /// How long ago the oldest record happened; `None` without records.
    pub fn age(&self) -> Option<Duration> {
        let oldest: SystemTime = self.oldest?.into();
        Some(oldest.elapsed().unwrap_or_default())
    }

    /// The spool's position after the last record.
    pub fn end(&self) -> Position {
        self.end
    }

    /// How many ids in records had no definition in the spool.
    pub fn unresolved(&self) -> u64 {
        self.namespaces.values().map(Rows::unresolved).sum()
    }

    /// One file a namespace, to be kept for `retention` after the last time in it. Empty where there are no records.
    pub fn into_files(self, retention: Duration) -> Result<Vec<NewFile>, ParquetError> {
        let Self { origin, namespaces, .. } = self;
        namespaces.into_iter().map(|(namespace, rows)| new_file(&origin, &namespace, rows, retention)).collect()
    }
}

fn new_file(origin: &Origin, namespace: &str, rows: Rows, retention: Duration) -> Result<NewFile, ParquetError> {
    let span = rows.span().expect("a namespace is there because of a record").clone();
    let last_time = file::timestamp(span.last_time);
    let retain_until = chrono::Duration::from_std(retention)
        .ok()
        .and_then(|retention| last_time.checked_add_signed(retention))
        .unwrap_or(DateTime::<Utc>::MAX_UTC);
    let opening_time = file::timestamp(span.opening_time);
    Ok(NewFile {
        path: layout::verdicts_path(
            &origin.cluster,
            namespace,
            opening_time,
            &origin.node,
            &origin.boot,
            span.first_seq,
        ),
        bytes: file::encode(rows, &span, namespace, retain_until)?,
        content: Content {
            namespace: namespace.to_owned(),
            schema_version: verdicts::VERSION,
            rows: span.rows,
            first_seq: span.first_seq,
            last_seq: span.last_seq,
            first_time: file::timestamp(span.first_time),
            last_time,
            retain_until,
        },
    })
}
