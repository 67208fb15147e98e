//! Keys of the evidence: Ed25519 (RFC 8032), named by the hash of their public half.

use std::fmt;

use ed25519_dalek::{
    Signer as _, SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
        spki::der::pem::LineEnding,
    },
};
use serde::{Deserialize, Serialize};

use crate::sha256;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = ed25519_dalek::SIGNATURE_LENGTH;

/// The name of a key: the hash of its `SubjectPublicKeyInfo` in DER.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no PEM of a private Ed25519 key.
    #[error("it is no private Ed25519 key in PEM (PKCS#8): {0}")]
    Private(String),
    /// It is no PEM of a public Ed25519 key.
    #[error("it is no public Ed25519 key in PEM (SubjectPublicKeyInfo): {0}")]
    Public(String),
}

/// A key that signs.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// The key of these 32 bytes, which must come from a source of randomness made for keys.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads [`PrivateKey::to_pem`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(text).map(Self).map_err(|error| KeyError::Private(error.to_string()))
    }

    /// The key as PKCS#8 in PEM, for a file that nobody else may read.
    pub fn to_pem(&self) -> String {
        self.0.to_pkcs8_pem(LineEnding::LF).expect("a key is always encodable").to_string()
    }

    /// The half that everybody may have.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature of `bytes`.
    pub fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(bytes).to_bytes()
    }
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads [`PublicKey::to_pem`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(text).map(Self).map_err(|error| KeyError::Public(error.to_string()))
    }

    /// The key as `SubjectPublicKeyInfo` in PEM.
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("a key is always encodable")
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        KeyId(sha256(self.0.to_public_key_der().expect("a key is always encodable").as_bytes()))
    }

    /// Whether `signature` is this key's of `bytes`. A key of small order signs nothing.
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(bytes, &signature).is_ok())
    }
}
