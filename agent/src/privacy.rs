//! Addresses outside the cluster, in the form that a namespace asks for: before a record is committed, so that no disk and
//! nobody behind the spool ever has the address where it is not wanted.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use hmac::{Hmac, Mac as _};
use podwitness_runtime::durable;
use podwitness_spool::{Trail, UNKNOWN_NAMESPACE, Verdict, words::ExternalAddresses};
use podwitness_wire::{Known, NatResolution};
use sha2::Sha256;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes of a hash that are kept: two addresses of a cluster's life do not meet in 128 bits.
const HMAC_BYTES: usize = 16;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file cannot be read or made.
    #[error("cannot {action} the key of hashed addresses at {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// `privacy.hmacKeyFile`.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} holds no key (64 hexadecimal digits); restore it, or take it away and a new one is made", .0.display())]
    NoKey(PathBuf),
}

/// The key of the hashes.
pub(crate) struct Key([u8; KEY_BYTES]);

impl Key {
    /// Reads the key, or makes one where there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, KeyError> {
        let fault = |action| move |source| KeyError::File { action, path: path.to_owned(), source };
        match fs::read_to_string(path) {
            Ok(text) => {
                let mode = fs::metadata(path).map_err(fault("look at"))?.permissions().mode();
                if mode & 0o077 != 0 {
                    tracing::warn!(
                        path = %path.display(),
                        mode = format!("{:o}", mode & 0o7777),
                        "others can read the key of hashed addresses; chmod 600"
                    );
                }
                Self::from_text(&text).ok_or_else(|| KeyError::NoKey(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path).map_err(fault("make")),
            Err(error) => Err(fault("read")(error)),
        }
    }

    /// Any key.
    #[cfg(test)]
    pub(crate) fn of_test() -> Self {
        Self([7; KEY_BYTES])
    }

    fn make(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        durable::replace(path, format!("{}\n", podwitness_seals::hex(&key)).as_bytes(), 0o600)?;
        Ok(Self(key))
    }

    fn from_text(text: &str) -> Option<Self> {
        podwitness_seals::unhex(text.trim_end())?.try_into().ok().map(Self)
    }

    /// HMAC-SHA-256 (RFC 2104) of an address of 4 or 16 bytes, cut short.
    fn hash(&self, address: &[u8]) -> Vec<u8> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        hmac.update(address);
        hmac.finalize().into_bytes()[..HMAC_BYTES].to_vec()
    }
}

/// What is asked for at a moment.
pub(crate) struct Protection<'a> {
    key: &'a Key,
    trails: Option<Arc<[Trail]>>,
}

impl<'a> Protection<'a> {
    /// By these trails, which are in the order of their namespaces.
    pub(crate) fn new(key: &'a Key, trails: Option<Arc<[Trail]>>) -> Self {
        Self { key, trails }
    }

    /// Gives the record's address outside the cluster, if it has one, the form that its namespace asks for.
    pub(crate) fn apply(&self, record: &mut Verdict) {
        let form = self.form(&record.namespace);
        if form == ExternalAddresses::Full {
            return;
        }
        let external = u32::from(Known::External.number());
        let is_of_source = record.src_known == external;
        if !is_of_source && record.dst_known != external {
            return;
        }
        // Somebody outside stands behind the address of a Service, which is the cluster's own.
        let backend = record.service.as_mut().filter(|service| service.nat_resolution == NatResolution::Exact.name());
        let address = match backend {
            Some(service) => &mut service.backend_ip,
            None if is_of_source => &mut record.src_ip,
            None => &mut record.dst_ip,
        };
        if address.is_empty() {
            return;
        }
        record.external_form = form.number().into();
        if form == ExternalAddresses::Truncate {
            let kept = if address.len() == 4 { 3 } else { 6 };
            address[kept..].fill(0);
        } else {
            record.external_hmac = self.key.hash(address);
            address.clear();
        }
    }

    fn form(&self, namespace: &str) -> ExternalAddresses {
        let trails = self.trails.as_deref().unwrap_or_default();
        // Whose they are is not known: what is asked for most strictly holds.
        let asked = if namespace == UNKNOWN_NAMESPACE {
            trails.iter().map(|trail| trail.external_addresses).max()
        } else {
            let found = trails.binary_search_by(|trail| trail.namespace.as_str().cmp(namespace));
            found.ok().map(|index| trails[index].external_addresses)
        };
        match asked {
            None | Some(0) => ExternalAddresses::Full,
            // A form that a newer agent has stated hides as much as any.
            Some(asked) => {
                u8::try_from(asked).ok().and_then(ExternalAddresses::from_number).unwrap_or(ExternalAddresses::Hmac)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use podwitness_spool::Service;

    use super::*;

    fn protection(key: &Key) -> Protection<'_> {
        let trail = |namespace: &str, form: ExternalAddresses| Trail {
            namespace: namespace.to_owned(),
            external_addresses: form.number().into(),
            ..Trail::default()
        };
        let trails = [
            trail("bank", ExternalAddresses::Hmac),
            trail("lab", ExternalAddresses::Full),
            trail("shop", ExternalAddresses::Truncate),
        ];
        Protection::new(key, Some(trails.into()))
    }

    fn incoming(namespace: &str, from: &[u8]) -> Verdict {
        Verdict {
            namespace: namespace.to_owned(),
            src_ip: from.to_vec(),
            dst_ip: vec![10, 0, 0, 1],
            src_known: Known::External.number().into(),
            dst_known: Known::Exact.number().into(),
            ..Verdict::default()
        }
    }

    fn protected(mut record: Verdict) -> Verdict {
        protection(&Key::of_test()).apply(&mut record);
        record
    }

    #[test]
    fn the_address_outside_is_cut_or_hashed_as_the_namespace_asks_and_nothing_else_is() {
        let address = [203, 0, 113, 7];
        for namespace in ["lab", "other"] {
            assert_eq!(protected(incoming(namespace, &address)), incoming(namespace, &address));
        }
        let cut = protected(incoming("shop", &address));
        assert_eq!((cut.src_ip, cut.dst_ip, cut.external_form), (vec![203, 0, 113, 0], vec![10, 0, 0, 1], 2));
        let six: [u8; 16] = "2001:db8:1:2:3:4:5:6".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let cut = protected(incoming("shop", &six));
        assert_eq!(cut.src_ip, "2001:db8:1::".parse::<std::net::Ipv6Addr>().unwrap().octets());

        let hashed = protected(incoming("bank", &address));
        assert_eq!((hashed.src_ip.len(), hashed.dst_ip, hashed.external_form), (0, vec![10, 0, 0, 1], 3));
        // `printf '\xcb\x00\x71\x07' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07`
        assert_eq!(podwitness_seals::hex(&hashed.external_hmac), "55cbe0986c6857ba223eb9589c3fa6be");
        // Whose it is is not known: as strictly as anybody asks.
        assert_eq!(protected(incoming(UNKNOWN_NAMESPACE, &address)).external_form, 3);

        let within = Verdict { src_known: Known::Node.number().into(), ..incoming("bank", &address) };
        assert_eq!(protected(within.clone()), within);
        let nothing = incoming("bank", &[]);
        assert_eq!(protected(nothing.clone()), nothing, "there was no address");
    }

    #[test]
    fn behind_a_service_it_is_the_backend_that_is_outside() {
        let service = Service {
            ip: vec![10, 96, 0, 1],
            nat_resolution: NatResolution::Exact.name().to_owned(),
            backend_ip: vec![203, 0, 113, 7],
            ..Service::default()
        };
        let outgoing = Verdict {
            namespace: "shop".to_owned(),
            src_ip: vec![10, 0, 0, 1],
            dst_ip: vec![10, 96, 0, 1],
            src_known: Known::Exact.number().into(),
            dst_known: Known::External.number().into(),
            service: Some(service),
            ..Verdict::default()
        };
        let cut = protected(outgoing);
        assert_eq!((cut.dst_ip, cut.service.unwrap().backend_ip), (vec![10, 96, 0, 1], vec![203, 0, 113, 0]));
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("privacy/hmac.key");
        let made = Key::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Key::open(&path).unwrap().0, made.0);
        assert_ne!(Key::open(&folder.path().join("other")).unwrap().0, made.0);
        fs::write(&path, "secret\n").unwrap();
        let refused = Key::open(&path).err().unwrap().to_string();
        assert!(refused.contains("holds no key (64 hexadecimal digits)"), "{refused}");
    }
}
