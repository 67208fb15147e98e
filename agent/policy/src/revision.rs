//! The name of a policy content.

use sha2::{Digest, Sha256};

use crate::model::Cluster;

/// The SHA-256, as 64 lower-case hexadecimal digits, that names the content of all policies of a cluster.
///
/// It is made over the bytes of one JSON array without spaces: for each policy an array of four strings, its namespace, name,
/// uid and text, in the order of namespace and then name (byte by byte). Anybody who has the policies' texts from
/// the evidence can make it again.
pub fn policy_sha256(cluster: &Cluster) -> String {
    let rows: Vec<serde_json::Value> = cluster
        .policies
        .iter()
        .map(|policy| serde_json::json!([policy.name.namespace, policy.name.name, policy.uid, policy.text]))
        .collect();
    format!("{:x}", Sha256::digest(serde_json::Value::Array(rows).to_string()))
}
