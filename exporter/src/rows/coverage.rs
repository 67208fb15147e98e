//! The rows of `coverage`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::{BooleanBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use podwitness_schemas::coverage;
use podwitness_spool::{Coverage, Origin, SegmentDefinitions};

use super::columns::{Columns, TextBuilder, TextsBuilder, number, present, times};
use super::common::{Common, Moment};
use crate::words;

/// The rows of one day in one batch.
pub(crate) struct CoverageRows {
    common: Common,
    interface: Int32Builder,
    interface_name: TextBuilder,
    netns: TextBuilder,
    namespace: TextBuilder,
    pod: TextBuilder,
    pod_uid: TextBuilder,
    addresses: TextsBuilder,
    since: TimestampMicrosecondBuilder,
    mode: TextBuilder,
    unknown_endpoints: TextBuilder,
    reason: TextBuilder,
    detail: TextBuilder,
    count: Int64Builder,
    balance: StringBuilder,
    clock_synchronised: BooleanBuilder,
    clock_offset_us: Int64Builder,
    clock_error_us: Int64Builder,
    clock_step_us: Int64Builder,
}

impl CoverageRows {
    /// No rows yet, of records that come from `origin`.
    pub(crate) fn new(origin: Arc<Origin>) -> Self {
        Self {
            common: Common::new(origin),
            interface: Int32Builder::new(),
            interface_name: TextBuilder::new(),
            netns: TextBuilder::new(),
            namespace: TextBuilder::new(),
            pod: TextBuilder::new(),
            pod_uid: TextBuilder::new(),
            addresses: TextsBuilder::default(),
            since: times(),
            mode: TextBuilder::new(),
            unknown_endpoints: TextBuilder::new(),
            reason: TextBuilder::new(),
            detail: TextBuilder::new(),
            count: Int64Builder::new(),
            balance: StringBuilder::new(),
            clock_synchronised: BooleanBuilder::new(),
            clock_offset_us: Int64Builder::new(),
            clock_error_us: Int64Builder::new(),
            clock_step_us: Int64Builder::new(),
        }
    }

    /// Adds a row. `definitions` are those in force for the record.
    pub(crate) fn append(&mut self, record: &Coverage, definitions: &SegmentDefinitions) {
        let moment = Moment {
            time: record.time_us,
            last_time: None,
            seq: record.seq,
            event: words::coverage_event(record.event),
            policy_revision: record.policy_revision,
        };
        self.common.append(moment, definitions);
        self.interface.append_option(record.interface.map(number));
        self.interface_name.append_option(present(&record.interface_name));
        self.netns.append_option(present(&record.netns));
        self.namespace.append_option(present(&record.namespace));
        self.pod.append_option(present(&record.pod));
        self.pod_uid.append_option(present(&record.pod_uid));
        self.addresses.append(record.addresses.iter().filter_map(|address| words::address(address)));
        self.since.append_option(record.since_us);
        self.mode.append_option(words::mode(record.mode));
        self.unknown_endpoints.append_option(words::verdict(record.unknown_endpoints));
        self.reason.append_option(present(&record.reason));
        self.detail.append_option(present(&record.detail));
        self.count.append_option(record.count);
        self.balance.append_option(present(&record.balance));
        let clock = record.clock.as_ref();
        self.clock_synchronised.append_option(clock.map(|clock| clock.synchronised));
        self.clock_offset_us.append_option(clock.map(|clock| clock.offset_us));
        self.clock_error_us.append_option(clock.map(|clock| clock.error_us));
        self.clock_step_us.append_option(clock.map(|clock| clock.step_us));
    }

    /// What they have in common with the rows of other tables.
    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    /// All rows, in order.
    pub(crate) fn finish(mut self) -> RecordBatch {
        let mut columns = Columns::default();
        self.common.finish(&mut columns);
        columns.put("interface", Arc::new(self.interface.finish()));
        columns.text("interface_name", self.interface_name);
        columns.text("netns", self.netns);
        columns.text("namespace", self.namespace);
        columns.text("pod", self.pod);
        columns.text("pod_uid", self.pod_uid);
        columns.texts("addresses", self.addresses);
        columns.put("since", Arc::new(self.since.finish()));
        columns.text("mode", self.mode);
        columns.text("unknown_endpoints", self.unknown_endpoints);
        columns.text("reason", self.reason);
        columns.text("detail", self.detail);
        columns.put("count", Arc::new(self.count.finish()));
        columns.put("balance", Arc::new(self.balance.finish()));
        columns.put("clock_synchronised", Arc::new(self.clock_synchronised.finish()));
        columns.put("clock_offset_us", Arc::new(self.clock_offset_us.finish()));
        columns.put("clock_error_us", Arc::new(self.clock_error_us.finish()));
        columns.put("clock_step_us", Arc::new(self.clock_step_us.finish()));
        columns.into_batch(coverage::schema())
    }
}
