//! The syntax of names in the API (`k8s.io/apimachinery/pkg/util/validation`).

/// The most characters of a label's value, and of its key without the prefix.
const MOST_OF_LABEL: usize = 63;
/// The most characters of a DNS name.
const MOST_OF_DNS_NAME: usize = 253;

/// Whether it can be the key of a label: a name, and before it a DNS name and a slash where it has a prefix.
pub(super) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns_name) && is_label_name(name)
}

/// Whether it can be the value of a label: a name, or nothing.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_name(value)
}

/// Whether it can be the name of a port (`IANA_SVC_NAME`, RFC 6335).
pub(super) fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

fn is_label_name(name: &str) -> bool {
    name.len() <= MOST_OF_LABEL
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && begins_and_ends_with(name, |byte| byte.is_ascii_alphanumeric())
}

fn is_dns_name(name: &str) -> bool {
    let is_part = |part: &str| {
        part.bytes().all(|byte| is_lower_or_digit(byte) || byte == b'-')
            && begins_and_ends_with(part, is_lower_or_digit)
    };
    name.len() <= MOST_OF_DNS_NAME && name.split('.').all(is_part)
}

fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn begins_and_ends_with(text: &str, accepts: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|first| accepts(*first)) && bytes.last().is_some_and(|last| accepts(*last))
}
