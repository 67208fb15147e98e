//! The columns of `verdicts`: one row for each thing that happened to a connection.
//!
//! Timestamps are microseconds in UTC and integers are signed, because those are what every query engine can bind.
//! Strings that repeat are Arrow dictionaries. `golden/verdicts.v2.txt` shows the whole table.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};

use crate::column::{optional, repeated, required, time};

/// The version of these columns, in each file's metadata. It grows when a column is added; none is ever changed or
/// removed.
pub const VERSION: u32 = 2;

/// What stands before a label's key in the name of the column of the source's label.
pub const SRC_LABEL_PREFIX: &str = "src_label_";

/// What stands before a label's key in the name of the column of the destination's label.
pub const DST_LABEL_PREFIX: &str = "dst_label_";

/// The schema of a `verdicts` file in which the labels named by `label_columns` (Kubernetes label keys, each once) have
/// columns of their own.
pub fn schema(label_columns: &[String]) -> SchemaRef {
    let mut fields = when_and_what();
    fields.extend(packet());
    for side in [SRC, DST] {
        fields.extend(identity(side));
    }
    for side in [SRC, DST] {
        fields.push(known(side));
    }
    for side in [SRC, DST] {
        fields.push(labels(side));
    }
    for (prefix, side) in [(SRC_LABEL_PREFIX, SRC), (DST_LABEL_PREFIX, DST)] {
        fields.extend(label_columns.iter().map(|key| {
            let description = format!("The {} pod's label `{key}`; null where it has none.", side.adjective);
            optional(&format!("{prefix}{key}"), repeated(), &description)
        }));
    }
    fields.extend(service());
    fields.extend(totals());
    fields.extend(policy());
    fields.extend(previous());
    fields.extend(backend());
    Arc::new(Schema::new(fields))
}

/// The Arrow type of the elements of `policies`.
pub fn policy_fields() -> Fields {
    Fields::from(vec![
        Field::new("namespace", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("uid", DataType::Utf8, true),
        Field::new("rule", DataType::Int32, true),
    ])
}

/// The Arrow type of `policies` and `previous_policies`.
pub fn policies_type() -> DataType {
    DataType::List(policy_element())
}

/// The field of one element of `policies`; its name is the one that Parquet's specification gives to list elements.
pub fn policy_element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(policy_fields()), false))
}

#[derive(Clone, Copy)]
struct Side {
    prefix: &'static str,
    adjective: &'static str,
}

const SRC: Side = Side { prefix: "src", adjective: "initiating" };
const DST: Side = Side { prefix: "dst", adjective: "receiving" };

fn when_and_what() -> Vec<Field> {
    vec![
        required("time", time(), "When it happened; for counted rows, the first."),
        optional("last_time", time(), "The last time, where the row is counted or the connection has totals."),
        required(
            "seq",
            DataType::Int64,
            "Grows by one a record within one node, boot and namespace, from 1, without a hole.",
        ),
        required("cluster", repeated(), "The cluster's name; also in the path."),
        required(
            "namespace",
            repeated(),
            "The endpoint's namespace; also in the path. `_unknown` where its pod was not known.",
        ),
        required("node", repeated(), "The node that witnessed it."),
        required("boot", repeated(), "The kernel's boot id: one life of the node's kernel."),
        required("event", repeated(), "What happened: `open`, `close`, `progress`, `change`, `deny` or `loss`."),
        optional("verdict", repeated(), "`allow`, `deny` or `audit`; null where nothing was decided."),
        optional("direction", repeated(), "`ingress` or `egress`, from the endpoint's point of view."),
        optional("reason", repeated(), "Why, in one word; see REASONS.md."),
        required("count", DataType::Int64, "How many connections, attempts or lost records the row stands for."),
    ]
}

fn packet() -> Vec<Field> {
    vec![
        optional("protocol", repeated(), "`TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, else the number as text."),
        optional("protocol_number", DataType::Int32, "The protocol's number in the IP header."),
        optional(
            "src_ip",
            repeated(),
            "The initiator's address as seen at the endpoint, in canonical text. Of one outside the cluster, where the \
             namespace asks for that, its network (`203.0.113.0/24`, `2001:db8:1::/48`) or a keyed hash (`hmac:` and 32 hex \
             digits).",
        ),
        optional(
            "dst_ip",
            repeated(),
            "The receiver's address as seen at the endpoint, in canonical text; of one outside the cluster as `src_ip`.",
        ),
        optional(
            "src_port",
            DataType::Int32,
            "The initiator's port; null where the protocol has none or the row stands for several.",
        ),
        optional("dst_port", DataType::Int32, "The receiver's port; null where the protocol has none."),
        optional("tcp_flags", DataType::Int32, "The TCP flags of the deciding packet, as in its header."),
        optional("icmp_type", DataType::Int32, "The ICMP type of the deciding packet."),
        optional("icmp_code", DataType::Int32, "The ICMP code of the deciding packet."),
    ]
}

fn identity(side: Side) -> Vec<Field> {
    let column = |name: &str, what: &str| {
        let description = format!("The {} pod's {what} at decision time; null if unknown.", side.adjective);
        optional(&format!("{}_{name}", side.prefix), repeated(), &description)
    };
    vec![
        column("namespace", "namespace"),
        column("pod", "name"),
        column("pod_uid", "uid"),
        column("service_account", "service account"),
        column("workload_kind", "workload's kind"),
        column("workload", "workload's name"),
        column("node", "node"),
    ]
}

fn known(side: Side) -> Field {
    let description = format!(
        "How the {} side's identity was known: `exact`, `late`, `unknown`, `node` or `external`.",
        side.adjective
    );
    optional(&format!("{}_identity", side.prefix), repeated(), &description)
}

fn labels(side: Side) -> Field {
    let description = format!("The {} pod's labels at decision time: JSON with sorted keys.", side.adjective);
    optional(&format!("{}_labels", side.prefix), repeated(), &description)
}

fn service() -> Vec<Field> {
    vec![
        optional("service_namespace", repeated(), "The namespace of the Service that was addressed."),
        optional("service", repeated(), "The name of the Service that was addressed."),
        optional("service_ip", repeated(), "The Service's address, in canonical text."),
        optional("service_port", DataType::Int32, "The Service's port."),
        optional(
            "nat_resolution",
            repeated(),
            "How far the Service's backend was known: `none`, `exact`, `all-backends` or `mixed`.",
        ),
    ]
}

fn totals() -> Vec<Field> {
    let column = |name: &str, what: &str| {
        let description = format!("{what} the endpoint, in all so far; on `close`, `progress` and `deny`.");
        optional(name, DataType::Int64, &description)
    };
    vec![
        column("packets_out", "Packets out of"),
        column("bytes_out", "Bytes out of"),
        column("packets_in", "Packets into"),
        column("bytes_in", "Bytes into"),
    ]
}

fn policy() -> Vec<Field> {
    vec![
        required(
            "policies",
            policies_type(),
            "For allow: every rule that allows it. For deny and audit: every policy that isolates the endpoint in that \
             direction, with `rule` null.",
        ),
        optional("policy_revision", DataType::Int64, "The revision of the compiled policy that was in force."),
        optional("policy_sha256", repeated(), "SHA-256, in hex, of the compiled policy that was in force."),
    ]
}

fn previous() -> Vec<Field> {
    vec![
        optional("previous_verdict", repeated(), "The verdict before; on `change` alone."),
        optional("previous_policies", policies_type(), "What `policies` was before; on `change` alone."),
    ]
}

fn backend() -> Vec<Field> {
    vec![
        optional(
            "backend_ip",
            repeated(),
            "The address of the Service's backend that the connection really went to, in canonical text; `dst_ip` stays the \
             Service's. Null unless `nat_resolution` is `exact`; of one outside the cluster as `src_ip`.",
        ),
        optional("backend_port", DataType::Int32, "The backend's port; null unless `nat_resolution` is `exact`."),
    ]
}
