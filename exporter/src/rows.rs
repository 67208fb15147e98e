//! From spool records to the columns of `verdicts`.
//!
//! Rows stand in the order in which they are appended, which is that of `seq`. Strings become dictionaries as they
//! come, so a batch in memory is about as small as its columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, Int64Builder, StringDictionaryBuilder, TimestampMicrosecondBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use podwitness_schemas::verdicts;
use podwitness_spool::{Origin, PolicyRule, RuleSet, SegmentDefinitions, Verdict};

use crate::policies::PoliciesBuilder;
use crate::side::SideBuilder;
use crate::words;

/// A column of strings that repeat.
pub(crate) type TextBuilder = StringDictionaryBuilder<Int32Type>;

/// The rows of one namespace in one batch.
pub struct Rows {
    label_columns: Arc<[String]>,
    schema: SchemaRef,
    origin: Arc<Origin>,
    span: Option<Span>,
    /// Ids in records for which the spool had no definition.
    unresolved: u64,

    time: TimestampMicrosecondBuilder,
    last_time: TimestampMicrosecondBuilder,
    seq: Int64Builder,
    namespace: TextBuilder,
    event: TextBuilder,
    verdict: TextBuilder,
    direction: TextBuilder,
    reason: TextBuilder,
    count: Int64Builder,
    protocol: TextBuilder,
    protocol_number: Int32Builder,
    tcp_flags: Int32Builder,
    icmp_type: Int32Builder,
    icmp_code: Int32Builder,
    src: SideBuilder,
    dst: SideBuilder,
    service: ServiceBuilder,
    packets_out: Int64Builder,
    bytes_out: Int64Builder,
    packets_in: Int64Builder,
    bytes_in: Int64Builder,
    policies: PoliciesBuilder,
    policy_revision: Int64Builder,
    policy_sha256: TextBuilder,
    previous_verdict: TextBuilder,
    previous_policies: PoliciesBuilder,
}

/// What the rows cover; of at least one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// How many there are.
    pub rows: u64,
    /// `seq` of the first.
    pub first_seq: i64,
    /// `seq` of the last.
    pub last_seq: i64,
    /// `time` of the first row, which names the file. Unix microseconds.
    pub opening_time: i64,
    /// The earliest time in any row. Unix microseconds.
    pub first_time: i64,
    /// The latest time in any row. Unix microseconds.
    pub last_time: i64,
    /// The lowest and the highest policy revision, where any row has one.
    pub revisions: Option<(i64, i64)>,
}

impl Rows {
    /// No rows yet, of records that come from `origin`.
    pub fn new(origin: Arc<Origin>, label_columns: Arc<[String]>) -> Self {
        Self {
            schema: verdicts::schema(&label_columns),
            origin,
            span: None,
            unresolved: 0,
            time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            last_time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            seq: Int64Builder::new(),
            namespace: TextBuilder::new(),
            event: TextBuilder::new(),
            verdict: TextBuilder::new(),
            direction: TextBuilder::new(),
            reason: TextBuilder::new(),
            count: Int64Builder::new(),
            protocol: TextBuilder::new(),
            protocol_number: Int32Builder::new(),
            tcp_flags: Int32Builder::new(),
            icmp_type: Int32Builder::new(),
            icmp_code: Int32Builder::new(),
            src: SideBuilder::new("src", verdicts::SRC_LABEL_PREFIX, label_columns.len()),
            dst: SideBuilder::new("dst", verdicts::DST_LABEL_PREFIX, label_columns.len()),
            service: ServiceBuilder::default(),
            packets_out: Int64Builder::new(),
            bytes_out: Int64Builder::new(),
            packets_in: Int64Builder::new(),
            bytes_in: Int64Builder::new(),
            policies: PoliciesBuilder::default(),
            policy_revision: Int64Builder::new(),
            policy_sha256: TextBuilder::new(),
            previous_verdict: TextBuilder::new(),
            previous_policies: PoliciesBuilder::default(),
            label_columns,
        }
    }

    /// Adds a row. `definitions` are those in force for the record.
    pub fn append(&mut self, record: &Verdict, definitions: &SegmentDefinitions) {
        self.cover(record);
        self.time.append_value(record.time_us);
        self.last_time.append_option(record.last_time_us);
        self.seq.append_value(record.seq);
        self.namespace.append_value(&record.namespace);
        self.event.append_value(words::event(record.event));
        self.verdict.append_option(words::verdict(record.verdict));
        self.direction.append_option(words::direction(record.direction));
        self.reason.append_option(words::reason(record.reason));
        self.count.append_value(record.count);
        self.protocol.append_option(record.protocol.map(words::protocol));
        self.protocol_number.append_option(record.protocol.map(number));
        self.tcp_flags.append_option(record.tcp_flags.map(number));
        self.icmp_type.append_option(record.icmp_type.map(number));
        self.icmp_code.append_option(record.icmp_code.map(number));

        let src = self.resolve(record.src_identity, |id| definitions.identity(id));
        let dst = self.resolve(record.dst_identity, |id| definitions.identity(id));
        let keys = &self.label_columns;
        self.src.append(&record.src_ip, record.src_port, record.src_known, src.map(Arc::as_ref), keys);
        self.dst.append(&record.dst_ip, record.dst_port, record.dst_known, dst.map(Arc::as_ref), keys);
        self.service.append(record);

        self.packets_out.append_option(record.packets_out);
        self.bytes_out.append_option(record.bytes_out);
        self.packets_in.append_option(record.packets_in);
        self.bytes_in.append_option(record.bytes_in);

        let policies = self.resolve(record.rule_set, |id| definitions.rule_set(id));
        self.policies.append(members(policies));
        let revision = (record.policy_revision != 0).then_some(record.policy_revision);
        self.policy_revision.append_option(revision);
        let revision = self.resolve(record.policy_revision, |number| definitions.revision(number));
        self.policy_sha256.append_option(revision.map(|revision| &revision.sha256));

        let previous = words::verdict(record.previous_verdict);
        let previous_policies = self.resolve(record.previous_rule_set, |id| definitions.rule_set(id));
        if previous.is_some() {
            self.previous_policies.append(members(previous_policies));
        } else {
            self.previous_policies.append_null();
        }
        self.previous_verdict.append_option(previous);
    }

    /// What the rows cover so far; `None` while there are none.
    pub fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// How many ids in records had no definition in the spool: each is a null in its row.
    pub fn unresolved(&self) -> u64 {
        self.unresolved
    }

    /// Where the records come from.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// All rows, in order.
    pub fn finish(mut self) -> RecordBatch {
        let rows = self.seq.values_slice().len();
        let mut columns = Columns::default();
        columns.put("time", Arc::new(self.time.finish()));
        columns.put("last_time", Arc::new(self.last_time.finish()));
        columns.put("seq", Arc::new(self.seq.finish()));
        columns.put("cluster", repeat(&self.origin.cluster, rows));
        columns.text("namespace", self.namespace);
        columns.put("node", repeat(&self.origin.node, rows));
        columns.put("boot", repeat(&self.origin.boot, rows));
        columns.text("event", self.event);
        columns.text("verdict", self.verdict);
        columns.text("direction", self.direction);
        columns.text("reason", self.reason);
        columns.put("count", Arc::new(self.count.finish()));
        columns.text("protocol", self.protocol);
        columns.put("protocol_number", Arc::new(self.protocol_number.finish()));
        columns.put("tcp_flags", Arc::new(self.tcp_flags.finish()));
        columns.put("icmp_type", Arc::new(self.icmp_type.finish()));
        columns.put("icmp_code", Arc::new(self.icmp_code.finish()));
        self.src.finish(&self.label_columns, &mut columns);
        self.dst.finish(&self.label_columns, &mut columns);
        self.service.finish(&mut columns);
        columns.put("packets_out", Arc::new(self.packets_out.finish()));
        columns.put("bytes_out", Arc::new(self.bytes_out.finish()));
        columns.put("packets_in", Arc::new(self.packets_in.finish()));
        columns.put("bytes_in", Arc::new(self.bytes_in.finish()));
        columns.put("policies", Arc::new(self.policies.finish()));
        columns.put("policy_revision", Arc::new(self.policy_revision.finish()));
        columns.text("policy_sha256", self.policy_sha256);
        columns.text("previous_verdict", self.previous_verdict);
        columns.put("previous_policies", Arc::new(self.previous_policies.finish()));
        columns.into_batch(self.schema)
    }

    fn cover(&mut self, record: &Verdict) {
        let last_time = record.last_time_us.unwrap_or(record.time_us).max(record.time_us);
        let span = self.span.get_or_insert(Span {
            rows: 0,
            first_seq: record.seq,
            last_seq: record.seq,
            opening_time: record.time_us,
            first_time: record.time_us,
            last_time,
            revisions: None,
        });
        span.rows += 1;
        span.last_seq = record.seq;
        span.first_time = span.first_time.min(record.time_us);
        span.last_time = span.last_time.max(last_time);
        if record.policy_revision != 0 {
            let revision = record.policy_revision;
            let (low, high) = span.revisions.unwrap_or((revision, revision));
            span.revisions = Some((low.min(revision), high.max(revision)));
        }
    }

    /// The definition of `id`, where 0 stands for none.
    fn resolve<I: Copy + Default + PartialEq, T>(&mut self, id: I, find: impl FnOnce(I) -> Option<T>) -> Option<T> {
        if id == I::default() {
            return None;
        }
        let found = find(id);
        self.unresolved += u64::from(found.is_none());
        found
    }
}

#[derive(Default)]
struct ServiceBuilder {
    namespace: TextBuilder,
    name: TextBuilder,
    ip: TextBuilder,
    port: Int32Builder,
    nat_resolution: TextBuilder,
}

impl ServiceBuilder {
    fn append(&mut self, record: &Verdict) {
        let service = record.service.as_ref();
        self.namespace.append_option(service.map(|service| &service.namespace));
        self.name.append_option(service.map(|service| &service.name));
        self.ip.append_option(service.and_then(|service| words::address(&service.ip)));
        self.port.append_option(service.map(|service| number(service.port)));
        self.nat_resolution.append_option(service.map(|service| &service.nat_resolution));
    }

    fn finish(mut self, columns: &mut Columns) {
        columns.text("service_namespace", self.namespace);
        columns.text("service", self.name);
        columns.text("service_ip", self.ip);
        columns.put("service_port", Arc::new(self.port.finish()));
        columns.text("nat_resolution", self.nat_resolution);
    }
}

/// Finished columns by name, so that their order is the schema's alone.
#[derive(Default)]
pub(crate) struct Columns(HashMap<String, ArrayRef>);

impl Columns {
    pub(crate) fn put(&mut self, name: &str, column: ArrayRef) {
        self.0.insert(name.to_owned(), column);
    }

    pub(crate) fn text(&mut self, name: &str, mut builder: TextBuilder) {
        self.put(name, Arc::new(builder.finish()));
    }

    fn into_batch(mut self, schema: SchemaRef) -> RecordBatch {
        let columns = schema
            .fields()
            .iter()
            .map(|field| self.0.remove(field.name()).expect("each column of the schema has a builder here"))
            .collect();
        RecordBatch::try_new(schema, columns).expect("each builder makes the type that the schema has")
    }
}

fn repeat(text: &str, rows: usize) -> ArrayRef {
    let mut builder = TextBuilder::new();
    builder.append_n(text, rows).expect("a dictionary of one value is never full");
    Arc::new(builder.finish())
}

fn members(rule_set: Option<&Arc<RuleSet>>) -> &[PolicyRule] {
    rule_set.map_or(&[], |rule_set| &rule_set.policies)
}

/// A number of at most 16 bits, as all in packets are.
pub(crate) fn number(wide: u32) -> i32 {
    i32::try_from(wide).unwrap_or(i32::MAX)
}
