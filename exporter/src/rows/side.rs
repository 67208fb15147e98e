//! The columns that a record has twice: once for the initiating and once for the receiving side.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::Int32Builder;
use podwitness_spool::Identity;

use super::columns::{Columns, TextBuilder, number};
use crate::words;

/// What a record says about the initiating or the receiving side.
pub(crate) struct SideBuilder {
    prefix: &'static str,
    label_prefix: &'static str,
    ip: TextBuilder,
    port: Int32Builder,
    namespace: TextBuilder,
    pod: TextBuilder,
    pod_uid: TextBuilder,
    service_account: TextBuilder,
    workload_kind: TextBuilder,
    workload: TextBuilder,
    node: TextBuilder,
    identity: TextBuilder,
    labels: TextBuilder,
    label_columns: Vec<TextBuilder>,
    /// The promoted labels of each labels text seen: parsing JSON for each row would cost more than all the rest.
    promoted: HashMap<String, Vec<Option<String>>>,
}

impl SideBuilder {
    pub(crate) fn new(prefix: &'static str, label_prefix: &'static str, label_columns: usize) -> Self {
        Self {
            prefix,
            label_prefix,
            ip: TextBuilder::new(),
            port: Int32Builder::new(),
            namespace: TextBuilder::new(),
            pod: TextBuilder::new(),
            pod_uid: TextBuilder::new(),
            service_account: TextBuilder::new(),
            workload_kind: TextBuilder::new(),
            workload: TextBuilder::new(),
            node: TextBuilder::new(),
            identity: TextBuilder::new(),
            labels: TextBuilder::new(),
            label_columns: (0..label_columns).map(|_| TextBuilder::new()).collect(),
            promoted: HashMap::new(),
        }
    }

    pub(crate) fn append(
        &mut self,
        ip: Option<String>,
        port: Option<u32>,
        known: u32,
        identity: Option<&Identity>,
        keys: &[String],
    ) {
        self.ip.append_option(ip);
        self.port.append_option(port.map(number));
        self.identity.append_option(words::known(known));
        let of = |part: fn(&Identity) -> &String| identity.map(part).filter(|text| !text.is_empty());
        self.namespace.append_option(of(|identity| &identity.namespace));
        self.pod.append_option(of(|identity| &identity.pod));
        self.pod_uid.append_option(of(|identity| &identity.pod_uid));
        self.service_account.append_option(of(|identity| &identity.service_account));
        self.workload_kind.append_option(of(|identity| &identity.workload_kind));
        self.workload.append_option(of(|identity| &identity.workload));
        self.node.append_option(of(|identity| &identity.node));
        let labels = of(|identity| &identity.labels);
        self.labels.append_option(labels);
        if keys.is_empty() {
            return;
        }
        let labels = labels.map_or("", String::as_str);
        if !self.promoted.contains_key(labels) {
            self.promoted.insert(labels.to_owned(), promote(labels, keys));
        }
        for (column, value) in self.label_columns.iter_mut().zip(&self.promoted[labels]) {
            column.append_option(value.as_ref());
        }
    }

    pub(crate) fn finish(mut self, keys: &[String], columns: &mut Columns) {
        let prefix = self.prefix;
        let mut text = |name: &str, builder| columns.text(&format!("{prefix}_{name}"), builder);
        text("ip", self.ip);
        text("namespace", self.namespace);
        text("pod", self.pod);
        text("pod_uid", self.pod_uid);
        text("service_account", self.service_account);
        text("workload_kind", self.workload_kind);
        text("workload", self.workload);
        text("node", self.node);
        text("identity", self.identity);
        text("labels", self.labels);
        columns.put(&format!("{prefix}_port"), Arc::new(self.port.finish()));
        for (key, column) in keys.iter().zip(self.label_columns) {
            columns.text(&format!("{}{key}", self.label_prefix), column);
        }
    }
}

/// The values of the labels `keys` in `labels`, a JSON object of strings.
fn promote(labels: &str, keys: &[String]) -> Vec<Option<String>> {
    let mut labels: HashMap<String, String> = serde_json::from_str(labels).unwrap_or_default();
    keys.iter().map(|key| labels.remove(key)).collect()
}
