//! The names of the key-value metadata in the footer of every evidence file.
//!
//! All values are text: numbers in decimal, times in RFC 3339 with microseconds and `Z`. A key whose value does not
//! apply to a file is absent, not empty.

/// Which table it is of: `verdicts`, `coverage` or `policies`. Absent in the first files of `verdicts`.
pub const TABLE: &str = "podwitness.table";
/// The version of the table's columns; see [`crate::verdicts::VERSION`], for example.
pub const SCHEMA_VERSION: &str = "podwitness.schema_version";
/// The cluster's name from the configuration.
pub const CLUSTER: &str = "podwitness.cluster";
/// On `verdicts`, the namespace whose endpoints the file is about; `_unknown` where the endpoint's pod was not known.
pub const NAMESPACE: &str = "podwitness.namespace";
/// The node that witnessed it.
pub const NODE: &str = "podwitness.node";
/// The kernel's boot id, in which sequence numbers run.
pub const BOOT: &str = "podwitness.boot";
/// The `seq` of the first row.
pub const FIRST_SEQ: &str = "podwitness.first_seq";
/// The `seq` of the last row; `last_seq - first_seq + 1` is the number of rows, unless the spool was
/// damaged.
pub const LAST_SEQ: &str = "podwitness.last_seq";
/// The earliest time in the file.
pub const FIRST_TIME: &str = "podwitness.first_time";
/// The latest time in the file, `last_time` of its rows included.
pub const LAST_TIME: &str = "podwitness.last_time";
/// The version of the agent that witnessed it.
pub const AGENT_VERSION: &str = "podwitness.agent_version";
/// SHA-256, in lower-case hex, of the eBPF object that decided.
pub const OBJECT_SHA256: &str = "podwitness.object_sha256";
/// The lowest `policy_revision` in the file; absent where no row has one.
pub const FIRST_POLICY_REVISION: &str = "podwitness.first_policy_revision";
/// The highest `policy_revision` in the file; absent where no row has one.
pub const LAST_POLICY_REVISION: &str = "podwitness.last_policy_revision";
/// Until when the file must be kept; fixed when it is written, only ever extended by other documents.
pub const RETAIN_UNTIL: &str = "podwitness.retain_until";
/// The metadata key, on a column of the Arrow schema, under which its description stands.
pub const DESCRIPTION: &str = "description";
