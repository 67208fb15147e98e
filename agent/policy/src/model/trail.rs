//! `AuditTrail` (`podwitness.io/v1alpha1`).

use std::time::Duration;

use serde::Deserialize;

use super::ObjectName;

/// What a namespace says of the evidence about it. The one that counts is called `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditTrail {
    /// Its namespace and name.
    pub name: ObjectName,
    /// `spec.retention`: how long evidence is kept at least; `None` where the configuration's default holds.
    pub retention: Option<Duration>,
    /// `spec.legalHold`: nothing is deleted while it is set.
    pub legal_hold: bool,
    /// `spec.mode`: the witness mode of the namespace's pods; `None` where the node's holds.
    pub mode: Option<WitnessMode>,
    /// `spec.externalAddresses`: how addresses outside the cluster are kept.
    pub external_addresses: ExternalAddresses,
}

/// What becomes of what policy denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WitnessMode {
    /// It is denied.
    Enforce,
    /// It passes, with a record that says so.
    Audit,
}

/// How addresses outside the cluster are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExternalAddresses {
    /// As they are.
    #[default]
    Full,
    /// As their network, /24 or /48.
    Truncate,
    /// As a keyed hash.
    Hmac,
}
