//! The rows of `policies`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::{BooleanBuilder, Int64Builder, TimestampMicrosecondBuilder};
use podwitness_schemas::policies;
use podwitness_spool::{Origin, PolicyVersion, SegmentDefinitions};
use sha2::{Digest, Sha256};

use super::columns::{Columns, TextBuilder, TextsBuilder, present, times};
use super::common::{Common, Moment};
use crate::words;

/// The rows of one day in one batch.
pub(crate) struct PolicyRows {
    common: Common,
    namespace: TextBuilder,
    name: TextBuilder,
    uid: TextBuilder,
    generation: Int64Builder,
    resource_version: TextBuilder,
    text: TextBuilder,
    text_sha256: TextBuilder,
    revision_from: Int64Builder,
    revision_to: Int64Builder,
    effective_from: TimestampMicrosecondBuilder,
    effective_to: TimestampMicrosecondBuilder,
    understood: BooleanBuilder,
    faults: TextsBuilder,
    count: Int64Builder,
}

impl PolicyRows {
    /// No rows yet, of records that come from `origin`.
    pub(crate) fn new(origin: Arc<Origin>) -> Self {
        Self {
            common: Common::new(origin),
            namespace: TextBuilder::new(),
            name: TextBuilder::new(),
            uid: TextBuilder::new(),
            generation: Int64Builder::new(),
            resource_version: TextBuilder::new(),
            text: TextBuilder::new(),
            text_sha256: TextBuilder::new(),
            revision_from: Int64Builder::new(),
            revision_to: Int64Builder::new(),
            effective_from: times(),
            effective_to: times(),
            understood: BooleanBuilder::new(),
            faults: TextsBuilder::default(),
            count: Int64Builder::new(),
        }
    }

    /// Adds a row. `definitions` are those in force for the record.
    pub(crate) fn append(&mut self, record: &PolicyVersion, definitions: &SegmentDefinitions) {
        let moment = Moment {
            time: record.time_us,
            last_time: None,
            seq: record.seq,
            event: words::policy_event(record.event),
            policy_revision: record.policy_revision,
        };
        self.common.append(moment, definitions);
        let given = |number: i64| (number != 0).then_some(number);
        self.namespace.append_option(present(&record.namespace));
        self.name.append_option(present(&record.name));
        self.uid.append_option(present(&record.uid));
        self.generation.append_option(given(record.generation));
        self.resource_version.append_option(present(&record.resource_version));
        let text = present(&record.text);
        self.text.append_option(text);
        self.text_sha256.append_option(text.map(|text| format!("{:x}", Sha256::digest(text))));
        self.revision_from.append_option(given(record.revision_from));
        self.revision_to.append_option(given(record.revision_to));
        self.effective_from.append_option(record.effective_from_us);
        self.effective_to.append_option(record.effective_to_us);
        self.understood.append_option(record.understood);
        self.faults.append(&record.faults);
        self.count.append_option(record.count);
    }

    /// What they have in common with the rows of other tables.
    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    /// All rows, in order.
    pub(crate) fn finish(mut self) -> RecordBatch {
        let mut columns = Columns::default();
        self.common.finish(&mut columns);
        columns.text("namespace", self.namespace);
        columns.text("name", self.name);
        columns.text("uid", self.uid);
        columns.put("generation", Arc::new(self.generation.finish()));
        columns.text("resource_version", self.resource_version);
        columns.text("text", self.text);
        columns.text("text_sha256", self.text_sha256);
        columns.put("revision_from", Arc::new(self.revision_from.finish()));
        columns.put("revision_to", Arc::new(self.revision_to.finish()));
        columns.put("effective_from", Arc::new(self.effective_from.finish()));
        columns.put("effective_to", Arc::new(self.effective_to.finish()));
        columns.put("understood", Arc::new(self.understood.finish()));
        columns.texts("faults", self.faults);
        columns.put("count", Arc::new(self.count.finish()));
        columns.into_batch(policies::schema())
    }
}
