//! Addresses and networks as the API server reads them in its older fields, which is less strictly than they should be written.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Bits before an IPv4 address in its IPv4-mapped form.
const MAPPED_BITS: u8 = 96;

/// The address in a text. Numbers of an IPv4 address may have leading zeros and are decimal all the same
/// (`ParseIPSloppy` of the API server), and an IPv4-mapped address is the IPv4 address.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok().or_else(|| without_leading_zeros(text).parse().ok())?;
    Some(address.to_canonical())
}

/// The network in a text, which may be that of an address in it: host bits are kept. With it, whether the text is in the form
/// that everybody reads alike.
pub(super) fn network(text: &str) -> Option<(IpNet, bool)> {
    let (address_text, length_text) = text.split_once('/')?;
    let is_number = !length_text.is_empty() && length_text.bytes().all(|byte| byte.is_ascii_digit());
    let length: u8 = is_number.then(|| length_text.parse().ok())??;
    let strict: Option<IpAddr> = address_text.parse().ok();
    let parsed = strict.or_else(|| without_leading_zeros(address_text).parse().ok())?;
    match (parsed, parsed.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(mapped)) if length >= MAPPED_BITS => {
            Some((Ipv4Net::new(mapped, length - MAPPED_BITS).ok()?.into(), false))
        }
        _ => Some((IpNet::new(parsed, length).ok()?, strict.is_some() && length.to_string() == length_text)),
    }
}

fn without_leading_zeros(text: &str) -> String {
    let number = |number: &str| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0".to_owned(),
        significant => significant.to_owned(),
    };
    text.split('.').map(number).collect::<Vec<_>>().join(".")
}
