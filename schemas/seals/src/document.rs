//! A document's one form as bytes: JSON as RFC 8785 has it, with integers alone.

use serde::{Serialize, de::DeserializeOwned};

/// The greatest integer that every reader of JSON keeps exactly (RFC 8785 section 3.2.2.3, RFC 7493 section 2.2).
pub const GREATEST_NUMBER: u64 = (1 << 53) - 1;

/// So many lists and objects stand within each other at most: what a reader's own limit is does not matter then.
pub const GREATEST_DEPTH: usize = 64;

/// Why bytes are no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// They are no JSON, or a key is missing or of another type.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// They are JSON in another form than the canonical one, which hashes and signatures need.
    #[error("it is JSON, but not in the canonical form of RFC 8785")]
    NotCanonical,
    /// A number in it is no integer that every reader keeps.
    #[error("{0} is no integer from -(2^53 - 1) to 2^53 - 1")]
    NumberOutOfRange(String),
    /// Lists and objects stand too deeply within each other.
    #[error("it is nested more than {GREATEST_DEPTH} deep")]
    TooDeep,
    /// It says that it is something else.
    #[error("its type is {found} and its version {version}, not {expected} and 1")]
    OtherType {
        /// `type` as it should be.
        expected: &'static str,
        /// `type` as it is.
        found: String,
        /// `version` as it is.
        version: u64,
    },
}

/// A document of one type.
pub trait Document: Serialize + DeserializeOwned {
    /// Its `type`.
    const TYPE: &'static str;
}

/// The bytes of `document`.
///
/// # Panics
///
/// Where a number in it is greater than [`GREATEST_NUMBER`]: counts of bytes and records do not get there.
pub fn to_bytes(document: &impl Document) -> Vec<u8> {
    let value = serde_json::to_value(document).expect("a document is made of texts, numbers and lists");
    check_numbers(&value).expect("counts of bytes and records are less than 2^53");
    serde_json_canonicalizer::to_vec(&value).expect("a value is always JSON")
}

fn unreadable(error: &serde_json::Error) -> DocumentError {
    DocumentError::Unreadable(error.to_string())
}

/// The value in `bytes`, where they are its canonical form.
pub fn canonical(bytes: &[u8]) -> Result<serde_json::Value, DocumentError> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
    if !is_nested_within(&value, GREATEST_DEPTH) {
        return Err(DocumentError::TooDeep);
    }
    check_numbers(&value)?;
    if serde_json_canonicalizer::to_vec(&value).map_err(|error| unreadable(&error))? != bytes {
        return Err(DocumentError::NotCanonical);
    }
    Ok(value)
}

/// Reads what [`to_bytes`] wrote. Keys that this version does not know are ignored.
pub fn from_bytes<D: Document>(bytes: &[u8]) -> Result<D, DocumentError> {
    let value = canonical(bytes)?;
    let found = value["type"].as_str().unwrap_or("missing");
    let version = value["version"].as_u64().unwrap_or_default();
    if (found, version) != (D::TYPE, 1) {
        return Err(DocumentError::OtherType { expected: D::TYPE, found: found.to_owned(), version });
    }
    let document: D = serde_json::from_value(value.clone()).map_err(|error| unreadable(&error))?;
    // What may be null is read as null where the key is missing.
    match missing_key(&serde_json::to_value(&document).map_err(|error| unreadable(&error))?, &value) {
        Some(key) => Err(DocumentError::Unreadable(format!("the key `{key}` is missing"))),
        None => Ok(document),
    }
}

/// A key of `expected` that `found` lacks. Both are the same document.
fn missing_key(expected: &serde_json::Value, found: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Object};
    match (expected, found) {
        (Object(expected), Object(found)) => expected.iter().find_map(|(key, value)| match found.get(key) {
            Some(found) => missing_key(value, found),
            None => Some(key.clone()),
        }),
        (Array(expected), Array(found)) => {
            expected.iter().zip(found).find_map(|(expected, found)| missing_key(expected, found))
        }
        _ => None,
    }
}

fn is_nested_within(value: &serde_json::Value, depth: usize) -> bool {
    let is_within = |value| is_nested_within(value, depth - 1);
    match value {
        serde_json::Value::Array(list) => depth > 0 && list.iter().all(is_within),
        serde_json::Value::Object(map) => depth > 0 && map.values().all(is_within),
        _ => true,
    }
}

fn check_numbers(value: &serde_json::Value) -> Result<(), DocumentError> {
    match value {
        serde_json::Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if size.is_none_or(|size| size > GREATEST_NUMBER) {
                return Err(DocumentError::NumberOutOfRange(number.to_string()));
            }
            Ok(())
        }
        serde_json::Value::Array(list) => list.iter().try_for_each(check_numbers),
        serde_json::Value::Object(map) => map.values().try_for_each(check_numbers),
        _ => Ok(()),
    }
}
