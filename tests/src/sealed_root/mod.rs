//! Evidence roots made without a node, a kernel or a store: whole, sealed and signed, and always of the same bytes. The files and
//! seals are the exporter's own, made from a spool; keys, boots and times are given.
//!
//! ```
//! use podwitness_tests::sealed_root::{Cluster, Node, SealedRoot, micros, records};
//!
//! let mut root = SealedRoot::new();
//! let mut node = Node::begin(&mut root, Cluster::named("lab"), "node-a", 1, "boot-1", micros(10, 0, 0))?;
//! node.witness(&mut root, vec![records::open("shop", micros(10, 1, 0), 40_000)])?;
//! node.seal(&mut root, micros(10, 5, 0));
//! node.seal_last(&mut root, micros(10, 7, 0));
//! assert_eq!(root.seals().len(), 2);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`node`] | a node: its boots, what it witnesses, its chain of seals |
//! | [`records`] | records of every table, and the definitions that they refer to |
//! | [`recurring`] | rows that come again and again, for roots of gigabytes |
//! | [`deletions`] | a chain of deletions |
//! | [`golden`] | the one root that the test vectors and the tamper matrix are of |

pub mod deletions;
pub mod golden;
pub mod node;
pub mod records;
pub mod recurring;

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use podwitness_schemas::layout;
use podwitness_seals::deletion::Deletion;
use podwitness_seals::document::{self, Document};
use podwitness_seals::key::{PrivateKey, PublicKey};
use podwitness_seals::seal::{NamespaceRetention, Seal};

pub use deletions::Deletions;
pub use node::Node;

/// 2026-01-02T00:00:00Z in microseconds since 1970: the day of every root.
pub const DAY: i64 = 1_767_312_000_000_000;

/// A time of that day, in microseconds since 1970; `hour` may be beyond 23.
pub fn micros(hour: i64, minute: i64, second: i64) -> i64 {
    DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000
}

/// The key of a number: no secret, and the same for ever.
pub fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number; 32])
}

/// What all nodes of a cluster have in common.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// How often its nodes seal, in seconds.
    pub interval_seconds: u64,
    /// How long what no `AuditTrail` is about is kept, in seconds.
    pub default_seconds: u64,
    /// How long everything is kept at the least, in seconds.
    pub minimum_seconds: u64,
    /// What namespaces ask for, by namespace.
    pub retention: Vec<NamespaceRetention>,
}

impl Cluster {
    /// One that seals every five minutes and keeps everything for a day.
    pub fn named(name: &str) -> Self {
        let day = 24 * 60 * 60;
        Self {
            name: name.to_owned(),
            interval_seconds: 300,
            default_seconds: day,
            minimum_seconds: 0,
            retention: Vec::new(),
        }
    }
}

/// What a namespace asks for: seconds, whether it is on hold; addresses in full.
pub fn asks(namespace: &str, seconds: u64, hold: bool) -> NamespaceRetention {
    NamespaceRetention { namespace: namespace.to_owned(), seconds, hold, addresses: "full".to_owned() }
}

/// An evidence root: objects by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRoot {
    /// What there is.
    pub objects: BTreeMap<String, Vec<u8>>,
}

impl Default for SealedRoot {
    fn default() -> Self {
        Self::new()
    }
}

impl SealedRoot {
    /// A root that says what it is, and nothing else.
    pub fn new() -> Self {
        let marker = layout::RootMarker::current().to_json().into_bytes();
        Self { objects: BTreeMap::from([(layout::ROOT_MARKER_PATH.to_owned(), marker)]) }
    }

    /// Reads a root from a folder.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut objects = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in fs::read_dir(at)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder).expect("it was found below it").to_string_lossy().into_owned();
                    objects.insert(name, fs::read(&path)?);
                }
            }
        }
        Ok(Self { objects })
    }

    /// Writes it into a folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        for (path, bytes) in &self.objects {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("it is below the folder"))?;
            fs::write(path, bytes)?;
        }
        Ok(())
    }

    /// Puts an object where none is.
    ///
    /// # Panics
    ///
    /// Where one is: objects are created, never replaced.
    pub fn put(&mut self, path: &str, bytes: Vec<u8>) {
        assert!(self.objects.insert(path.to_owned(), bytes).is_none(), "{path} is there already");
    }

    /// Puts a public key, where it is not there already.
    pub fn put_key(&mut self, key: &PublicKey) {
        self.objects.insert(layout::key_path(&key.id().0), key.to_pem().into_bytes());
    }

    /// Puts a document and its signature, and gives the document's hash.
    pub fn put_document(&mut self, path: &str, document: &impl Document, key: &PrivateKey) -> String {
        let bytes = document::to_bytes(document);
        let hash = podwitness_seals::sha256(&bytes);
        self.put(&signature_path(path), key.sign(&bytes).to_vec());
        self.put(path, bytes);
        hash
    }

    /// All paths that begin so, in order.
    pub fn paths(&self, prefix: &str) -> Vec<String> {
        self.objects.keys().filter(|path| path.starts_with(prefix)).cloned().collect()
    }

    /// All seals by path.
    pub fn seals(&self) -> Vec<(String, Seal)> {
        self.documents("seals/")
    }

    /// All deletions by path.
    pub fn deletions(&self) -> Vec<(String, Deletion)> {
        self.documents("deletions/")
    }

    fn documents<D: Document>(&self, prefix: &str) -> Vec<(String, D)> {
        let documents = self
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(prefix) && !path.ends_with(layout::SIGNATURE_SUFFIX));
        let read = |bytes: &[u8]| document::from_bytes(bytes).expect("this root was made of documents");
        documents.map(|(path, bytes)| (path.clone(), read(bytes))).collect()
    }
}

/// Where the signature of the document at `path` stands.
pub fn signature_path(path: &str) -> String {
    format!("{path}{}", layout::SIGNATURE_SUFFIX)
}
