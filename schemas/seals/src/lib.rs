//! The signed documents of the evidence, as `schemas/FORMAT.md` specifies them: what a seal and a deletion hold, their one
//! form as bytes, the keys that sign them, and the equation of the balance that they state.
//!
//! Nothing here reads or writes a store: the exporter makes seals, `podwitness retain` makes deletions, `podwitness verify`
//! checks both.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`document`] | the canonical form of a document, and how one is read |
//! | [`seal`] | what a seal holds |
//! | [`deletion`] | what a deletion holds |
//! | [`balance`] | what was counted on the way, and the only place that says when it is right |
//! | [`key`] | keys, their ids, signatures |
//! | [`key_file`] | the files of a key that signs, and how another takes its place |
//! | [`time`] | times as documents have them |
#![forbid(unsafe_code)]

pub mod balance;
pub mod deletion;
pub mod document;
pub mod key;
pub mod key_file;
pub mod seal;
pub mod time;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The bytes that `text` has in hexadecimal, in either case; `None` where it is something else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
