//! The rows of `verdicts`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::{Int32Builder, Int64Builder, TimestampMicrosecondBuilder};
use arrow_schema::SchemaRef;
use podwitness_schemas::verdicts;
use podwitness_spool::{Origin, PolicyRule, RuleSet, SegmentDefinitions, Verdict};

use super::addresses::{self, Addresses};
use super::columns::{Columns, TextBuilder, number, times};
use super::common::{Common, Moment};
use super::policy_list::PoliciesBuilder;
use super::side::SideBuilder;
use crate::words;

/// The rows of one namespace in one batch.
pub(crate) struct VerdictRows {
    label_columns: Arc<[String]>,
    schema: SchemaRef,
    common: Common,
    last_time: TimestampMicrosecondBuilder,
    namespace: TextBuilder,
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
    previous_verdict: TextBuilder,
    previous_policies: PoliciesBuilder,
}

impl VerdictRows {
    /// No rows yet, of records that come from `origin`.
    pub(crate) fn new(origin: Arc<Origin>, label_columns: Arc<[String]>) -> Self {
        Self {
            schema: verdicts::schema(&label_columns),
            common: Common::new(origin),
            last_time: times(),
            namespace: TextBuilder::new(),
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
            previous_verdict: TextBuilder::new(),
            previous_policies: PoliciesBuilder::default(),
            label_columns,
        }
    }

    /// Adds a row. `definitions` are those in force for the record.
    pub(crate) fn append(&mut self, record: &Verdict, definitions: &SegmentDefinitions) {
        let moment = Moment {
            time: record.time_us,
            last_time: record.last_time_us,
            seq: record.seq,
            event: words::event(record.event),
            policy_revision: record.policy_revision,
        };
        self.common.append(moment, definitions);
        self.last_time.append_option(record.last_time_us);
        self.namespace.append_value(&record.namespace);
        self.verdict.append_option(words::verdict(record.verdict));
        self.direction.append_option(words::direction(record.direction));
        self.reason.append_option(words::reason(record.reason));
        self.count.append_value(record.count);
        self.protocol.append_option(record.protocol.map(words::protocol));
        self.protocol_number.append_option(record.protocol.map(number));
        self.tcp_flags.append_option(record.tcp_flags.map(number));
        self.icmp_type.append_option(record.icmp_type.map(number));
        self.icmp_code.append_option(record.icmp_code.map(number));

        let src = self.common.resolve(record.src_identity, |id| definitions.identity(id));
        let dst = self.common.resolve(record.dst_identity, |id| definitions.identity(id));
        let keys = &self.label_columns;
        let Addresses { src: src_ip, dst: dst_ip, backend } = Addresses::of(record);
        self.src.append(src_ip, record.src_port, record.src_known, src.map(Arc::as_ref), keys);
        self.dst.append(dst_ip, record.dst_port, record.dst_known, dst.map(Arc::as_ref), keys);
        self.service.append(record, backend);

        self.packets_out.append_option(record.packets_out);
        self.bytes_out.append_option(record.bytes_out);
        self.packets_in.append_option(record.packets_in);
        self.bytes_in.append_option(record.bytes_in);

        let policies = self.common.resolve(record.rule_set, |id| definitions.rule_set(id));
        self.policies.append(members(policies));
        let previous = words::verdict(record.previous_verdict);
        let previous_policies = self.common.resolve(record.previous_rule_set, |id| definitions.rule_set(id));
        if previous.is_some() {
            self.previous_policies.append(members(previous_policies));
        } else {
            self.previous_policies.append_null();
        }
        self.previous_verdict.append_option(previous);
    }

    /// What they have in common with the rows of other tables.
    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    /// All rows, in order.
    pub(crate) fn finish(mut self) -> RecordBatch {
        let mut columns = Columns::default();
        self.common.finish(&mut columns);
        columns.put("last_time", Arc::new(self.last_time.finish()));
        columns.text("namespace", self.namespace);
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
        columns.text("previous_verdict", self.previous_verdict);
        columns.put("previous_policies", Arc::new(self.previous_policies.finish()));
        columns.into_batch(self.schema)
    }
}

#[derive(Default)]
struct ServiceBuilder {
    namespace: TextBuilder,
    name: TextBuilder,
    ip: TextBuilder,
    port: Int32Builder,
    nat_resolution: TextBuilder,
    backend_ip: TextBuilder,
    backend_port: Int32Builder,
}

impl ServiceBuilder {
    fn append(&mut self, record: &Verdict, backend_ip: Option<String>) {
        let service = record.service.as_ref();
        self.namespace.append_option(service.map(|service| &service.namespace));
        self.name.append_option(service.map(|service| &service.name));
        self.ip.append_option(service.and_then(|service| words::address(&service.ip)));
        self.port.append_option(service.map(|service| number(service.port)));
        self.nat_resolution.append_option(service.map(|service| &service.nat_resolution));
        let known = service.filter(|service| service.nat_resolution == addresses::EXACT);
        self.backend_ip.append_option(backend_ip);
        self.backend_port.append_option(known.and_then(|service| service.backend_port).map(number));
    }

    fn finish(mut self, columns: &mut Columns) {
        columns.text("service_namespace", self.namespace);
        columns.text("service", self.name);
        columns.text("service_ip", self.ip);
        columns.put("service_port", Arc::new(self.port.finish()));
        columns.text("nat_resolution", self.nat_resolution);
        columns.text("backend_ip", self.backend_ip);
        columns.put("backend_port", Arc::new(self.backend_port.finish()));
    }
}

fn members(rule_set: Option<&Arc<RuleSet>>) -> &[PolicyRule] {
    rule_set.map_or(&[], |rule_set| &rule_set.policies)
}
