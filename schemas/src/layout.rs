//! Where things stand below the evidence root, version 1.
//!
//! ```text
//! podwitness.json
//! verdicts/cluster=C/namespace=N/date=YYYY-MM-DD/hour=HH/<node>-<boot>-<first_seq>.parquet
//! coverage/cluster=C/date=YYYY-MM-DD/<node>-<boot>-<first_seq>.parquet
//! policies/cluster=C/date=YYYY-MM-DD/<node>-<boot>-<first_seq>.parquet
//! seals/cluster=C/node=<node>/<boot>-<seal>.json, .json.sig
//! deletions/cluster=C/<deletion>.json, .json.sig
//! keys/<key_id>.pem
//! ```
//!
//! Date and hour are those of the first record in the file, in UTC; all records of a file of `coverage` or `policies` are
//! of its date. Objects are created, never replaced: a name follows from the content's place in the sequence, so the same evidence
//! has the same name however often its upload is repeated.
//!
//! **Encoding.** Names are stored percent-encoded in UTF-8, all bytes but `A-Z a-z 0-9 . _ -`. That leaves the names
//! Kubernetes allows as they are, and keeps `/`, `=`, spaces and what Hive, shells or object stores take for themselves
//! out of the path. Readers of Hive partitions (`DuckDB`, Spark, Trino) decode it again.

use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The version of the layout, in `podwitness.json`.
pub const VERSION: u32 = 1;

/// The path, from the root, of the object that says what the root is; written once.
pub const ROOT_MARKER_PATH: &str = "podwitness.json";

/// Digits in a sequence number in a file's name: so many that a listing in name order is one in sequence order for the
/// first 10^12 records of a sequence.
const SEQUENCE_DIGITS: usize = 12;

/// All but the unreserved characters of RFC 3986, and `~`, which some stores reserve.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// `podwitness.json`. Keys that a later version adds are ignored; a later layout has another number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootMarker {
    /// The version of the layout below this root.
    pub layout: u32,
    /// For the person who finds the bucket.
    #[serde(default)]
    pub about: String,
}

impl RootMarker {
    /// The marker of the layout that this crate describes. Every writer writes the same bytes.
    pub fn current() -> Self {
        Self {
            layout: VERSION,
            about: "NetworkPolicy evidence written by Podwitness; objects are created and never replaced".to_owned(),
        }
    }

    /// The object's bytes.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a number and a string are always valid JSON");
        text.push('\n');
        text
    }
}

/// The path of a `verdicts` file from the root: of the namespace's records on `node` in `boot` that begin at
/// `first_seq`, the first of which happened at `first_time`.
pub fn verdicts_path(
    cluster: &str,
    namespace: &str,
    first_time: DateTime<Utc>,
    node: &str,
    boot: &str,
    first_seq: i64,
) -> String {
    format!(
        "verdicts/cluster={}/namespace={}/date={}/hour={}/{}-{}-{first_seq:0SEQUENCE_DIGITS$}.parquet",
        encode(cluster),
        encode(namespace),
        first_time.format("%Y-%m-%d"),
        first_time.format("%H"),
        encode(node),
        encode(boot),
    )
}

/// The path of a `coverage` file from the root: of the records on `node` in `boot` that begin at `first_seq`, the first of
/// which happened at `first_time`.
pub fn coverage_path(cluster: &str, first_time: DateTime<Utc>, node: &str, boot: &str, first_seq: i64) -> String {
    node_path("coverage", cluster, first_time, node, boot, first_seq)
}

/// The path of a `policies` file from the root; as [`coverage_path`].
pub fn policies_path(cluster: &str, first_time: DateTime<Utc>, node: &str, boot: &str, first_seq: i64) -> String {
    node_path("policies", cluster, first_time, node, boot, first_seq)
}

fn node_path(table: &str, cluster: &str, first_time: DateTime<Utc>, node: &str, boot: &str, first_seq: i64) -> String {
    format!(
        "{table}/cluster={}/date={}/{}-{}-{first_seq:0SEQUENCE_DIGITS$}.parquet",
        encode(cluster),
        first_time.format("%Y-%m-%d"),
        encode(node),
        encode(boot),
    )
}

/// What a document's path gets to be that of its signature.
pub const SIGNATURE_SUFFIX: &str = ".sig";

/// The folder, from the root, of what a cluster has in `table` (or in `seals`).
pub fn cluster_folder(table: &str, cluster: &str) -> String {
    format!("{table}/cluster={}", encode(cluster))
}

/// The folder, from the root, of a namespace's `verdicts`.
pub fn namespace_folder(cluster: &str, namespace: &str) -> String {
    format!("{}/namespace={}", cluster_folder("verdicts", cluster), encode(namespace))
}

/// The folder, from the root, of a node's seals.
pub fn seals_folder(cluster: &str, node: &str) -> String {
    format!("seals/cluster={}/node={}", encode(cluster), encode(node))
}

/// The path of a seal from the root.
pub fn seal_path(cluster: &str, node: &str, boot: &str, seal: u64) -> String {
    format!("{}/{}-{seal:0SEQUENCE_DIGITS$}.json", seals_folder(cluster, node), encode(boot))
}

/// The folder, from the root, of a cluster's deletions.
pub fn deletions_folder(cluster: &str) -> String {
    format!("deletions/cluster={}", encode(cluster))
}

/// The path of a deletion from the root.
pub fn deletion_path(cluster: &str, deletion: u64) -> String {
    format!("{}/{deletion:0SEQUENCE_DIGITS$}.json", deletions_folder(cluster))
}

/// The number in the path of a seal or a deletion; `None` in another path.
pub fn document_number(path: &str) -> Option<u64> {
    let name = path.strip_suffix(".json")?.rsplit('/').next()?;
    name.rsplit('-').next()?.parse().ok()
}

/// The path of a public key from the root.
pub fn key_path(key_id: &str) -> String {
    format!("keys/{key_id}.pem")
}

/// The name that stands in a path as `encoded`; `None` where no name does, because the one form of a name is another.
pub fn decode(encoded: &str) -> Option<String> {
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    (!name.is_empty() && encode(&name) == encoded).then(|| name.into_owned())
}

/// The number that stands in a name as `digits`; `None` where no number does.
pub fn sequence_number(digits: &str) -> Option<u64> {
    let number = digits.parse().ok()?;
    (format!("{number:0SEQUENCE_DIGITS$}") == digits).then_some(number)
}

fn encode(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}
