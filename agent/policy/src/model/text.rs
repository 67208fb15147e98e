//! The text of a policy.

use std::fmt;
use std::sync::Arc;

use sha2::digest::Output;
use sha2::{Digest as _, Sha256};

/// The text of a policy as it is evidence, with its SHA-256. It is kept in two pieces: policies of many namespaces differ in
/// their metadata alone.
#[derive(Clone)]
pub struct PolicyText {
    metadata: Box<str>,
    spec: Arc<str>,
    sha256: Output<Sha256>,
}

impl PolicyText {
    /// The text that is one piece behind the other: what is before the policy's spec, and the rest, which others may have too.
    pub fn new(metadata: &str, spec: &str) -> Self {
        let sha256 = Sha256::new().chain_update(metadata).chain_update(spec).finalize();
        Self { metadata: metadata.into(), spec: spec.into(), sha256 }
    }

    /// The SHA-256 over the text's bytes, as 64 lower-case hexadecimal digits.
    pub fn sha256(&self) -> String {
        format!("{:x}", self.sha256)
    }

    pub(super) fn spec_mut(&mut self) -> &mut Arc<str> {
        &mut self.spec
    }
}

impl From<&str> for PolicyText {
    fn from(text: &str) -> Self {
        Self::new(text, "")
    }
}

/// Where the pieces meet makes no difference.
impl PartialEq for PolicyText {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl Eq for PolicyText {}

impl fmt::Display for PolicyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.metadata)?;
        formatter.write_str(&self.spec)
    }
}

impl fmt::Debug for PolicyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_pieces_meet_makes_no_difference() {
        let text = PolicyText::from("{\"metadata\":{},\"spec\":{}}");
        let pieces = PolicyText::new("{\"metadata\":{},\"spec\":", "{}}");
        assert_eq!((pieces.to_string(), pieces.sha256()), (text.to_string(), text.sha256()));
        assert_eq!(pieces, text);
        assert_ne!(pieces, PolicyText::new("{\"metadata\":{},\"spec\":", "{} }"));
    }
}
