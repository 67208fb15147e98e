//! The addresses of a verdict as they stand in its columns, those outside the cluster in the form that the namespace asked
//! for.

use std::fmt::Write as _;

use podwitness_spool::{Verdict, words::ExternalAddresses};
use podwitness_wire::Known;

use crate::words;

/// The `nat_resolution` with which a backend is more than a guess.
pub(super) const EXACT: &str = "exact";

/// What stands in `src_ip`, `dst_ip` and `backend_ip`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) src: Option<String>,
    pub(super) dst: Option<String>,
    pub(super) backend: Option<String>,
}

impl Addresses {
    pub(super) fn of(record: &Verdict) -> Self {
        let backend = record.service.as_ref().filter(|service| service.nat_resolution == EXACT);
        let mut addresses = Self {
            src: words::address(&record.src_ip),
            dst: words::address(&record.dst_ip),
            backend: backend.and_then(|service| words::address(&service.backend_ip)),
        };
        let is_external = |known: u32| known == u32::from(Known::External.number());
        let external = if backend.is_some() {
            &mut addresses.backend
        } else if is_external(record.src_known) {
            &mut addresses.src
        } else {
            &mut addresses.dst
        };
        match u8::try_from(record.external_form).ok().and_then(ExternalAddresses::from_number) {
            None | Some(ExternalAddresses::Full) => {}
            Some(ExternalAddresses::Truncate) => {
                if let Some(network) = external {
                    network.push_str(if network.contains(':') { "/48" } else { "/24" });
                }
            }
            Some(ExternalAddresses::Hmac) => {
                *external = (!record.external_hmac.is_empty()).then(|| {
                    let mut text = "hmac:".to_owned();
                    for byte in &record.external_hmac {
                        let _ = write!(text, "{byte:02x}");
                    }
                    text
                });
            }
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use podwitness_spool::Service;

    use super::*;

    fn record(form: ExternalAddresses) -> Verdict {
        Verdict {
            src_ip: vec![203, 0, 113, 0],
            dst_ip: vec![10, 0, 0, 1],
            src_known: Known::External.number().into(),
            dst_known: Known::Exact.number().into(),
            external_form: form.number().into(),
            ..Verdict::default()
        }
    }

    fn texts(record: &Verdict) -> [Option<String>; 3] {
        let Addresses { src, dst, backend } = Addresses::of(record);
        [src, dst, backend]
    }

    #[test]
    fn an_address_outside_stands_as_it_is_as_its_network_or_as_its_hash_and_others_as_they_are() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts(&record(ExternalAddresses::Full)), [some("203.0.113.0"), some("10.0.0.1"), None]);
        assert_eq!(texts(&record(ExternalAddresses::Truncate)), [some("203.0.113.0/24"), some("10.0.0.1"), None]);
        let hashed =
            Verdict { src_ip: Vec::new(), external_hmac: (0..16).collect(), ..record(ExternalAddresses::Hmac) };
        assert_eq!(texts(&hashed), [some("hmac:000102030405060708090a0b0c0d0e0f"), some("10.0.0.1"), None]);
        let outgoing = Verdict {
            src_ip: vec![10, 0, 0, 1],
            dst_ip: "2001:db8:1::".parse::<std::net::Ipv6Addr>().unwrap().octets().into(),
            src_known: Known::Exact.number().into(),
            dst_known: Known::External.number().into(),
            ..record(ExternalAddresses::Truncate)
        };
        assert_eq!(texts(&outgoing), [some("10.0.0.1"), some("2001:db8:1::/48"), None]);
        let backend = Service {
            ip: vec![10, 96, 0, 1],
            nat_resolution: EXACT.to_owned(),
            backend_ip: vec![203, 0, 113, 0],
            ..Service::default()
        };
        let through_service = Verdict { dst_ip: vec![10, 96, 0, 1], service: Some(backend), ..outgoing };
        assert_eq!(texts(&through_service), [some("10.0.0.1"), some("10.96.0.1"), some("203.0.113.0/24")]);
    }
}
