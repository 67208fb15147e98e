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
        let text = hexadecimal(policy.text.sha256());
        let text = std::str::from_utf8(&text).expect("digits are ASCII");
        let uid = policy.uid.to_string();
        let strings = [policy.name.namespace(), policy.name.name(), &uid, text];
        serde_json::to_writer(&mut row, &strings).expect("strings can be written as JSON");
        hash.update(&row);
    }
    hash.update(if cluster.policies.is_empty() { "[]" } else { "]" });
    format!("{:x}", hash.finalize())
}

/// The digits of a hash. There is one for each policy, each time that one changes.
fn hexadecimal(hash: [u8; 32]) -> [u8; 64] {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}
