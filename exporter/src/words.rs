//! Numbers of the spool as the words of the columns.
//!
//! A number that a newer agent has added, and this exporter does not know, is written as text: the lists only grow, so
//! the number can be looked up, and null would say less.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use podwitness_spool::words::{CoverageEvent, ExternalAddresses, PolicyEvent, WitnessMode};
use podwitness_wire::{Direction, EventKind, ICMP, ICMPV6, Known, Reason, SCTP, TCP, UDP, Verdict};

/// A word of the vocabulary, or the number itself.
pub(crate) type Word = Cow<'static, str>;

/// A number that is always there; so in the two that follow.
pub(crate) fn event(number: u32) -> Word {
    word(number, |byte| EventKind::from_number(byte).map(EventKind::name))
}

pub(crate) fn coverage_event(number: u32) -> Word {
    word(number, |byte| CoverageEvent::from_number(byte).map(CoverageEvent::name))
}

pub(crate) fn policy_event(number: u32) -> Word {
    word(number, |byte| PolicyEvent::from_number(byte).map(PolicyEvent::name))
}

pub(crate) fn external_addresses(number: u32) -> Word {
    word(number, |byte| ExternalAddresses::from_number(byte).map(ExternalAddresses::name))
}

/// `None` for 0, which stands for absent in the spool; so in the four that follow.
pub(crate) fn verdict(number: u32) -> Option<Word> {
    present(number, |byte| Verdict::from_number(byte).map(Verdict::name))
}

pub(crate) fn direction(number: u32) -> Option<Word> {
    present(number, |byte| Direction::from_number(byte).map(Direction::name))
}

pub(crate) fn reason(number: u32) -> Option<Word> {
    present(number, |byte| Reason::from_number(byte).map(Reason::name))
}

pub(crate) fn known(number: u32) -> Option<Word> {
    present(number, |byte| Known::from_number(byte).map(Known::name))
}

pub(crate) fn mode(number: u32) -> Option<Word> {
    present(number, |byte| WitnessMode::from_number(byte).map(WitnessMode::name))
}

/// A protocol's usual name.
pub(crate) fn protocol(number: u32) -> Word {
    word(number, |byte| match byte {
        TCP => Some("TCP"),
        UDP => Some("UDP"),
        SCTP => Some("SCTP"),
        ICMP => Some("ICMP"),
        ICMPV6 => Some("ICMPv6"),
        _ => None,
    })
}

/// An address of 4 or 16 bytes in canonical text (RFC 5952); `None` for any other length, which stands for absent.
pub(crate) fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string())
}

fn present(number: u32, name: impl FnOnce(u8) -> Option<&'static str>) -> Option<Word> {
    (number != 0).then(|| word(number, name))
}

fn word(number: u32, name: impl FnOnce(u8) -> Option<&'static str>) -> Word {
    let name = u8::try_from(number).ok().and_then(name);
    name.map_or_else(|| number.to_string().into(), Cow::Borrowed)
}
