//! The text of a policy.

use std::fmt;
use std::ops::Deref;

use sha2::{Digest as _, Sha256};

/// The text of a policy as it is evidence, with its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyText {
    text: Box<str>,
    sha256: [u8; 32],
}

impl PolicyText {
    /// The SHA-256 over the text's bytes.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

impl From<String> for PolicyText {
    fn from(text: String) -> Self {
        Self { sha256: Sha256::digest(&text).into(), text: text.into() }
    }
}

impl Deref for PolicyText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PolicyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}
