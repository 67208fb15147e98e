//! The kinds of value that a key can have. Each reader gives the value, or the sentence "expected ..., found ...".

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tree::Value;

/// What [`is_name`] accepts, for messages.
pub(crate) const NAME: &str = "a name of 1 to 128 letters, digits, `-`, `_` and `.`, with a letter or digit first and last, because it stands in object paths";

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;

const SIZE_UNITS: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

/// In milliseconds.
const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

pub(crate) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(crate) const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

fn mismatch(expected: &str, found: &Value) -> String {
    format!("expected {expected}, found {found}")
}

pub(crate) fn name(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if is_name(text) => Ok(text.clone()),
        Value::Number(text) if is_name(text) => {
            Err(format!("expected a name, found {value}; put it in quotes if it is one"))
        }
        _ => Err(mismatch(NAME, value)),
    }
}

/// Whether `text` can stand in an object's path: a name longer than this would not leave room for the rest of an
/// object's name in a file system.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 128 && is_label_like(text)
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit first and last.
fn is_label_like(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// One of a few words.
pub(crate) fn word<T: Copy>(words: &[(&str, T)], value: &Value) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| matches!(value, Value::Text(text) if text == word));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let listed: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        mismatch(&listed.join(" or "), value)
    })
}

/// A path, made absolute from `folder`.
pub(crate) fn path(folder: &Path) -> impl Fn(&Value) -> Result<PathBuf, String> {
    move |value| match value {
        Value::Text(text) if !text.is_empty() && !text.contains('\0') => Ok(folder.join(text)),
        _ => Err(mismatch("a path", value)),
    }
}

/// A whole number.
pub(crate) fn count(range: RangeInclusive<u32>) -> impl Fn(&Value) -> Result<u32, String> {
    move |value| {
        let number = match value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| mismatch(&format!("a whole number from {} to {}", range.start(), range.end()), value))
    }
}

/// A size in bytes.
pub(crate) fn size(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        measure(value, &SIZE_UNITS).filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            mismatch(&format!("a size with its unit (B, KiB, MiB, GiB, TiB) from {least} to {most}"), value)
        })
    }
}

/// A size that a kernel ring buffer can have: a power of two that fills whole pages.
pub(crate) fn ring_size(page: u64) -> impl Fn(&Value) -> Result<u32, String> {
    move |value| {
        measure(value, &SIZE_UNITS)
            .filter(|bytes| bytes.is_power_of_two() && (page..=GIB).contains(bytes))
            .and_then(|bytes| u32::try_from(bytes).ok())
            .ok_or_else(|| {
                mismatch(
                    &format!(
                        "a size with its unit that is a power of two, from one page ({}) to 1GiB",
                        show_size(page)
                    ),
                    value,
                )
            })
    }
}

pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Value) -> Result<Duration, String> {
    move |value| {
        let duration = measure(value, &DURATION_UNITS).map(Duration::from_millis);
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
            let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
            mismatch(&format!("a duration with its unit (ms, s, m, h, d) from {least} to {most}"), value)
        })
    }
}

/// A whole number and one of `units`; `None` also where the result does not fit.
fn measure(value: &Value, units: &[(&str, u64)]) -> Option<u64> {
    let Value::Text(text) = value else { return None };
    let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS)
}

pub(crate) fn show_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// The amount in the largest unit that divides it; both tables end with a unit of one.
fn show(amount: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor))
        .map_or_else(|| amount.to_string(), |(unit, factor)| format!("{}{unit}", amount / factor))
}

pub(crate) fn address(value: &Value) -> Result<SocketAddr, String> {
    let parsed = match value {
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| mismatch("an IP address and a port such as `127.0.0.1:9464` or `\"[::1]:9464\"`", value))
}

/// A label's key as Kubernetes has it: a name of at most 63 characters, with a DNS prefix and a slash before it or not.
pub(crate) fn label_key(value: &Value) -> Result<String, String> {
    if let Value::Text(text) = value {
        let (prefix, name) = match text.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, text.as_str()),
        };
        if name.len() <= 63 && is_label_like(name) && prefix.is_none_or(is_dns_subdomain) {
            return Ok(text.clone());
        }
    }
    Err(mismatch("a label key such as `app` or `app.kubernetes.io/name`", value))
}

fn is_dns_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        let edge = |end: Option<char>| end.is_some_and(|character| character.is_ascii_alphanumeric());
        edge(part.chars().next())
            && edge(part.chars().last())
            && part
                .chars()
                .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-')
    };
    text.len() <= 253 && text.split('.').all(is_part)
}
