//! The columns of `policies`: each version of each policy text, and when it took effect and ended on the node.
//!
//! # From a verdict to the text
//!
//! A verdict's `policy_revision` is the number of the compiled policy that decided. A revision stands for one content of
//! all policies of the cluster, so that each version of a policy is in force in a run of revisions: from `revision_from`
//! to `revision_to`. Within one `cluster`, `node` and `boot`, a verdict joins to the texts of its `policies` by
//! namespace, name and `policy_revision BETWEEN revision_from AND revision_to`. The view `policy_versions` has these runs.
//!
//! They follow from the rows so:
//!
//! - `effective` and `in-force` say that a version is in force from `revision_from` to `policy_revision` at the least. No
//!   revision lies between that this agent did not state: each has a row of its own, be it `effective` or `ended`.
//! - The next `ended` of the same policy gives the end, `revision_to`.
//! - A `statement` ends everything that was said before it: what is in force is said anew by the `in-force` rows behind it,
//!   as many as its `count`. A version that has no `ended` before the next `statement` was in force up to the
//!   `policy_revision` of the last row before the statement, or one less than the statement's own where that is
//!   smaller; then either it was stated again, or it ended while no agent was there to say so.
//! - Where neither follows, it is in force still.
//!
//! There is a statement at each start of an agent and on each day (UTC), and a file never has rows of two days. So the
//! files of a day, with those of the day before, explain that day's verdicts without any older file: also where older
//! ones were deleted lawfully, or were not given to the reader.

use std::sync::Arc;

use arrow_schema::{DataType, Schema, SchemaRef};

use crate::column::{optional, repeated, required, texts_type, time};

/// The version of these columns, in each file's metadata. It grows when a column is added; none is ever changed or
/// removed.
pub const VERSION: u32 = 1;

/// The schema of a `policies` file.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        required("time", time(), "When it happened."),
        required("seq", DataType::Int64, "Grows by one a row within one node and boot, from 1, without a hole."),
        required("cluster", repeated(), "The cluster's name; also in the path."),
        required("node", repeated(), "The node on which it happened."),
        required("boot", repeated(), "The kernel's boot id: one life of the node's kernel."),
        required("event", repeated(), "`effective`, `ended`, `in-force` or `statement`; see REASONS.md."),
        optional(
            "namespace",
            repeated(),
            "The policy's namespace; null on `statement`, as all that follows up to `text_sha256`.",
        ),
        optional("name", repeated(), "The policy's name."),
        optional("uid", repeated(), "The policy's uid; null where the source has none."),
        optional("generation", DataType::Int64, "`metadata.generation`; null where the source has none."),
        optional("resource_version", repeated(), "`metadata.resourceVersion`; null where the source has none."),
        optional("text", repeated(), "The policy as applied: JSON with sorted keys."),
        optional("text_sha256", repeated(), "SHA-256, in hex, of `text` in UTF-8: the version's name."),
        optional(
            "policy_revision",
            DataType::Int64,
            "The revision of the compiled policy that is in force from this row on.",
        ),
        optional("policy_sha256", repeated(), "SHA-256, in hex, of that compiled policy; made of all texts in force."),
        optional(
            "revision_from",
            DataType::Int64,
            "The first revision that has this version, as far as this agent has seen.",
        ),
        optional("revision_to", DataType::Int64, "On `ended`, the last revision that has it."),
        optional(
            "effective_from",
            time(),
            "When this agent put the version in force; one before it may have done so earlier.",
        ),
        optional("effective_to", time(), "On `ended`, when it was in force no more."),
        optional(
            "understood",
            DataType::Boolean,
            "Whether every part of the version is enforced; false where `faults` has something, which then allows nothing.",
        ),
        required("faults", texts_type(), "What of it cannot be used, a sentence each."),
        optional("count", DataType::Int64, "On `statement`, how many `in-force` rows follow."),
    ]))
}
