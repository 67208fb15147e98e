//! What a pod is made from.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A pod's place in the cluster and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSpec {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; another one makes it another pod of the same name.
    pub uid: String,
    /// `status.podIPs`, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.containers[0].ports`.
    pub ports: Vec<NamedPort>,
    /// `spec.serviceAccountName`.
    pub service_account: String,
    /// `status.phase`.
    pub phase: String,
}

/// A container port that policies can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    /// The name, as in a policy's `port: http`.
    pub name: String,
    /// The number.
    pub number: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

impl PodSpec {
    /// A running pod without labels or ports.
    pub fn new(namespace: &str, name: &str, addresses: &[IpAddr]) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{namespace}-{name}"),
            addresses: addresses.to_vec(),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            service_account: "default".to_owned(),
            phase: "Running".to_owned(),
        }
    }

    /// The same pod with one more label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same pod with one more named container port.
    #[must_use]
    pub fn port(mut self, name: &str, number: u16, protocol: &str) -> Self {
        self.ports.push(NamedPort { name: name.to_owned(), number, protocol: protocol.to_owned() });
        self
    }

    /// The same pod with another uid.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        uid.clone_into(&mut self.uid);
        self
    }
}
