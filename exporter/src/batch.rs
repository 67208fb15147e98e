//! What goes into the store together: spool records from one position to another, by table: verdicts by namespace,
//! coverage and policies by day.
//!
//! A batch is of one origin, because a file states the boot, the agent and the eBPF object that it comes from. Batches
//! of the spool are never split between two of ours: the cursor stands only between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::RecordBatch;
use chrono::{DateTime, NaiveDate, Utc};
use parquet::errors::ParquetError;
use podwitness_seals::balance::KernelBalance;
use podwitness_seals::seal::{NamespaceRetention, PolicyInForce};
use podwitness_spool::words::CoverageEvent;
use podwitness_spool::{Batch as Spooled, Damage, Origin, Position, Record, SegmentDefinitions, Trail};

use crate::file;
use crate::retention::Asked;
use crate::rows::{Common, CoverageRows, PolicyRows, Span, VerdictRows};
use crate::sealing::Facts;
use crate::staging::{Content, NewFile};
use crate::table::Table;
use crate::words;

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
    facts: Facts,
    verdicts: BTreeMap<String, (VerdictRows, Asked)>,
    /// What is asked of that which is nobody's alone: coverage and policies.
    asked_by_all: Asked,
    coverage: Days<CoverageRows>,
    policies: Days<PolicyRows>,
}

/// Rows of one day each, in the order of `seq`: a day comes twice where somebody sets the clock back over midnight.
struct Days<R>(Vec<(NaiveDate, R)>);

impl<R> Days<R> {
    fn rows_at(&mut self, time: DateTime<Utc>, new: impl FnOnce() -> R) -> &mut R {
        let date = time.date_naive();
        if self.0.last().is_none_or(|(day, _)| *day != date) {
            self.0.push((date, new()));
        }
        &mut self.0.last_mut().expect("it was put there just now, if not before").1
    }
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
            facts: Facts {
                agent_version: Some(spooled.origin.agent_version.clone()),
                object_sha256: Some(spooled.origin.object_sha256.clone()),
                ..Facts::default()
            },
            verdicts: BTreeMap::new(),
            asked_by_all: Asked::default(),
            coverage: Days(Vec::new()),
            policies: Days(Vec::new()),
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
        let definitions = &spooled.definitions;
        let of_all = Asked::by_all(definitions);
        self.asked_by_all = self.asked_by_all.and(of_all);
        if let Some(trails) = definitions.trails() {
            self.facts.retention = Some(trails.iter().map(retention).collect());
        }
        for record in &spooled.records {
            *self.facts.spooled.entry(table_of(record).to_owned()).or_default() += 1;
            self.follow(record, definitions);
            let origin = || Arc::clone(&self.origin);
            let time = match record {
                Record::Verdict(verdict) => {
                    if !self.verdicts.contains_key(&verdict.namespace) {
                        let rows = VerdictRows::new(origin(), Arc::clone(&self.label_columns));
                        self.verdicts.insert(verdict.namespace.clone(), (rows, Asked::default()));
                    }
                    let (rows, asked) = self.verdicts.get_mut(&verdict.namespace).expect("it was put there just now");
                    rows.append(verdict, definitions);
                    *asked = asked.and(Asked::by(&verdict.namespace, definitions, of_all));
                    file::timestamp(verdict.time_us)
                }
                Record::Coverage(coverage) => {
                    let time = file::timestamp(coverage.time_us);
                    self.coverage.rows_at(time, || CoverageRows::new(origin())).append(coverage, definitions);
                    time
                }
                Record::Policy(version) => {
                    let time = file::timestamp(version.time_us);
                    self.policies.rows_at(time, || PolicyRows::new(origin())).append(version, definitions);
                    time
                }
            };
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        }
    }

    /// Says that bytes of the spool beside these records could not be read.
    pub fn lack(&mut self, damage: &Damage) {
        self.facts.damaged_bytes += damage.bytes;
    }

    /// Notes what the record says of the node as a whole.
    fn follow(&mut self, record: &Record, definitions: &SegmentDefinitions) {
        if let Record::Coverage(coverage) = record {
            // A statement that cannot be read stands in its row all the same.
            if let Ok(balance) = KernelBalance::from_text(&coverage.balance) {
                self.facts.kernel = Some(balance);
            }
            match u8::try_from(coverage.event).ok().and_then(CoverageEvent::from_number) {
                Some(CoverageEvent::AgentStarted) => self.facts.has_agent_stopped = Some(false),
                Some(CoverageEvent::AgentStopped) => self.facts.has_agent_stopped = Some(true),
                _ => {}
            }
        }
        let revision = match record {
            Record::Verdict(verdict) => verdict.policy_revision,
            Record::Coverage(coverage) => coverage.policy_revision,
            Record::Policy(version) => version.policy_revision,
        };
        // Records are not in the order of revisions: an event may wait for longer than a change of policy takes.
        if revision > self.facts.policy.as_ref().map_or(0, |policy| policy.revision)
            && let Some(found) = definitions.revision(revision)
        {
            self.facts.policy = Some(PolicyInForce { revision, sha256: found.sha256.clone() });
        }
    }

    /// What the seal that lists the files says beside them.
    pub fn facts(&self) -> &Facts {
        &self.facts
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
        Some(self.oldest()?.elapsed().unwrap_or_default())
    }

    /// When the oldest record happened; `None` without records.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.oldest.map(Into::into)
    }

    /// The spool's position after the last record.
    pub fn end(&self) -> Position {
        self.end
    }

    /// How many ids in records had no definition in the spool.
    pub fn unresolved(&self) -> u64 {
        let verdicts = self.verdicts.values().map(|(rows, _)| rows.common());
        let coverage = self.coverage.0.iter().map(|(_, rows)| rows.common());
        let policies = self.policies.0.iter().map(|(_, rows)| rows.common());
        verdicts.chain(coverage).chain(policies).map(Common::unresolved).sum()
    }

    /// One file a namespace of verdicts, and one a day of coverage and of policies. A file is to be kept after the last
    /// time in it for as long as its namespace asked for while its records were made, `default` where it asked for
    /// nothing; one that is no namespace's for as long as any asked for. Empty where there are no records.
    pub fn into_files(self, default: Duration) -> Result<Vec<NewFile>, ParquetError> {
        let Self { origin, verdicts, coverage, policies, asked_by_all, .. } = self;
        let span = |common: &Common| common.span().expect("rows are there because of a record").clone();
        let of_all = asked_by_all.retention(default);
        // What explains comes before what it explains.
        let policies =
            policies.0.into_iter().map(|(_, rows)| (Table::Policies, span(rows.common()), rows.finish(), of_all));
        let coverage =
            coverage.0.into_iter().map(|(_, rows)| (Table::Coverage, span(rows.common()), rows.finish(), of_all));
        let verdicts = verdicts.into_iter().map(|(namespace, (rows, asked))| {
            (Table::Verdicts { namespace }, span(rows.common()), rows.finish(), asked.retention(default))
        });
        let tables = policies.chain(coverage).chain(verdicts);
        tables.map(|(table, span, rows, retention)| new_file(&origin, &table, &span, &rows, retention)).collect()
    }
}

fn retention(trail: &Trail) -> NamespaceRetention {
    NamespaceRetention {
        namespace: trail.namespace.clone(),
        seconds: trail.retention_seconds,
        hold: trail.legal_hold,
        addresses: words::external_addresses(trail.external_addresses).to_string(),
    }
}

fn table_of(record: &Record) -> &'static str {
    match record {
        Record::Verdict(_) => "verdicts",
        Record::Coverage(_) => "coverage",
        Record::Policy(_) => "policies",
    }
}

/// A file of `rows`, which are of `table`, come from `origin` and cover `span`, and are kept for `retention` after the last.
pub fn new_file(
    origin: &Origin,
    table: &Table,
    span: &Span,
    rows: &RecordBatch,
    retention: Duration,
) -> Result<NewFile, ParquetError> {
    let last_time = file::timestamp(span.last_time);
    let retain_until = chrono::Duration::from_std(retention)
        .ok()
        .and_then(|retention| last_time.checked_add_signed(retention))
        .unwrap_or(DateTime::<Utc>::MAX_UTC);
    Ok(NewFile {
        path: table.path(origin, span),
        bytes: file::encode(table, rows, origin, span, retain_until)?,
        content: Content {
            table: table.name().to_owned(),
            boot: origin.boot.clone(),
            namespace: table.namespace().map(str::to_owned),
            schema_version: table.version(),
            rows: span.rows,
            first_seq: span.first_seq,
            last_seq: span.last_seq,
            holes: span.holes.clone(),
            first_time: file::timestamp(span.first_time),
            last_time,
            retain_until,
        },
    })
}
