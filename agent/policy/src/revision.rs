//! The name of a policy content.

use sha2::{Digest, Sha256};

use crate::model::Cluster;

/// The SHA-256, as 64 lower-case hexadecimal digits, that names the content of all policies of a cluster.
///
/// It is made over the bytes of one JSON array without spaces: for each policy an array of four strings, its namespace, name,
/// uid and the SHA-256 of its text (64 lower-case hexadecimal digits), in the order of namespace and then name (byte by
/// byte). Anybody who has the policies from the evidence can make it again.
pub fn policy_sha256(cluster: &Cluster) -> String {
    let mut hash = Sha256::new();
    let mut row = Vec::new();
    for (index, policy) in cluster.policies.iter().enumerate() {
        row.clear();
        row.push(if index == 0 { b'[' } else { b',' });
        let (uid, text) = (policy.uid.to_string(), policy.text.sha256());
        let strings = [policy.name.namespace(), policy.name.name(), &uid, &text];
        serde_json::to_writer(&mut row, &strings).expect("strings can be written as JSON");
        hash.update(&row);
    }
    hash.update(if cluster.policies.is_empty() { "[]" } else { "]" });
    format!("{:x}", hash.finalize())
}
