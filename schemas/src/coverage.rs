//! The columns of `coverage`: from when to when each endpoint was enforced, and what was not and why; one row for each
//! thing that began or ended.
//!
//! # What rows follow each other
//!
//! - `agent-started` begins a new account of the node: every endpoint that is there is stated anew after it, and what was
//!   stated before holds no more. Where the agent before it had not ended in good order, `agent-crashed` comes first, and
//!   again where one was killed before it had begun. Its `since` says up to when all that the agent had to say is there: what
//!   began or ended on the node between then and the row has no row of its own. What was in force stayed in force in between,
//!   unless the node itself was restarted (`reason`), at the endpoints whose next `endpoint-attached` says so (`detail`);
//!   the others had no hooks in between, or not all the time.
//! - `agent-detached` is the end of all of it. Where nobody has lived to say so, the next agent says that it has found it so
//!   (`detail`); the end was at some moment after the row before.
//! - `balance` once an interval and before `agent-stopped`; `clock` at the start, once an interval, and when something
//!   began or ceased to keep the clock, or somebody set it by more than a tenth of a second (`clock_step_us`).
//! - `source-away`, and `source-back` when what has changed in between is in force. `agent-started` ends it too; where it is
//!   so still, it is said again.
//! - Of an endpoint: `endpoint-attached`, then `endpoint-known` (left out where its pod was known when the hooks came on),
//!   then `endpoint-enforced`, at last `endpoint-detached`. `endpoint-unknown` leads back to where it was before
//!   `endpoint-known`. A change of `mode` is another `endpoint-enforced`.
//! - Where an endpoint was gone before the agent heard that its hooks were on, its `endpoint-attached` (`detail` says so) and
//!   `endpoint-detached` come together, later than both happened.
//! - `endpoint-unhooked` stands in place of `endpoint-attached`, which may follow it.
//! - `since` is when the state began that ends with the row; so that the row alone says how long it was: on
//!   `endpoint-attached` how long the interface had been seen without hooks, on `endpoint-known` how long
//!   `unknown_endpoints` decided, on `endpoint-enforced` how long the pod was known and its policy not in force, on `source-back` how long the source was away.
//!
//! An endpoint is told from others by `interface` and `netns` until it is detached. `seq` orders rows where times are
//! alike, and where somebody has set the clock back.

use std::sync::Arc;

use arrow_schema::{DataType, Schema, SchemaRef};

use crate::column::{optional, repeated, required, texts_type, time};

/// The version of these columns, in each file's metadata. It grows when a column is added; none is ever changed or
/// removed.
pub const VERSION: u32 = 2;

/// The schema of a `coverage` file.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        required("time", time(), "When it happened."),
        required("seq", DataType::Int64, "Grows by one a row within one node and boot, from 1, without a hole."),
        required("cluster", repeated(), "The cluster's name; also in the path."),
        required("node", repeated(), "The node that it is about."),
        required("boot", repeated(), "The kernel's boot id: one life of the node's kernel."),
        required("event", repeated(), "What happened, in one word; see REASONS.md."),
        optional(
            "interface",
            DataType::Int32,
            "The index of the endpoint's interface on the node; null where it has none.",
        ),
        optional(
            "interface_name",
            repeated(),
            "The name of that interface; where there is none on the node, the one inside the network namespace.",
        ),
        optional("netns", repeated(), "The file name of the endpoint's network namespace."),
        optional("namespace", repeated(), "The endpoint's pod's namespace; null where the pod is not known."),
        optional("pod", repeated(), "The pod's name; null where the pod is not known."),
        optional("pod_uid", repeated(), "The pod's uid; null where the pod is not known."),
        required("addresses", texts_type(), "The endpoint's addresses, in canonical text."),
        optional("since", time(), "When the state began that ends with this row."),
        optional("mode", repeated(), "The witness mode that holds from this row on: `enforce` or `audit`."),
        optional(
            "unknown_endpoints",
            repeated(),
            "What is done with the traffic of endpoints whose pod is not known: `allow` or `deny`; on agent starts and on \
             rows that begin or end such a time.",
        ),
        optional(
            "policy_revision",
            DataType::Int64,
            "The revision of the compiled policy that is in force at this row.",
        ),
        optional("policy_sha256", repeated(), "SHA-256, in hex, of that compiled policy."),
        optional(
            "reason",
            repeated(),
            "Why, in one word: on `endpoint-unhooked` the kind of interface (`netkit`, `ipvlan`, ...), `host-network` or \
             `attach`; on `agent-crashed` whose end it was: `agent`, or `node` where the kernel is another one.",
        ),
        optional("detail", repeated(), "Why, in a sentence; on `source-away` what cannot be read."),
        optional("count", DataType::Int64, "How many records the row stands for; on `records-lost`."),
        optional(
            "balance",
            DataType::Utf8,
            "On `balance`, what the kernel has counted and what has come out of it: a JSON object with sorted keys; see \
             FORMAT.md, section 5.",
        ),
        optional(
            "clock_synchronised",
            DataType::Boolean,
            "On `clock`, whether something keeps the node's clock in step with UTC.",
        ),
        optional(
            "clock_offset_us",
            DataType::Int64,
            "On `clock`, what is still to be corrected, in microseconds; negative where the clock is ahead.",
        ),
        optional("clock_error_us", DataType::Int64, "On `clock`, by how much it is off at the most, in microseconds."),
        optional(
            "clock_step_us",
            DataType::Int64,
            "On `clock`, by how much it was set since the row before, in microseconds; negative where it was set back.",
        ),
    ]))
}
