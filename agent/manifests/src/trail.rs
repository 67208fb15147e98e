//! `AuditTrail` as it is written: the one type from which the definition that the API server is given is made, and through
//! which manifests are read.
//!
//! The definition refuses what cannot be understood; what is read may be older than it, or come from a file. So each field
//! of the spec keeps what was written, and [`convert::audit_trail`](crate::convert::audit_trail) says what is made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, CustomResourceExt as _};
use podwitness_policy::{ExternalAddresses, WitnessMode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The longest retention, as in the configuration. A time later than that could not be written in evidence.
pub(crate) const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// In seconds, as in the configuration.
const DURATION_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// What a namespace asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "podwitness.io",
    version = "v1alpha1",
    kind = "AuditTrail",
    plural = "audittrails",
    shortname = "trail",
    doc = "What a namespace asks for the evidence about it, and what evidence there is. The one that counts is called `default`.",
    namespaced,
    derive = "PartialEq",
    status = "AuditTrailStatus",
    validation = Rule::new("self.metadata.name == 'default'")
        .message("only the AuditTrail called `default` counts in its namespace: give it that name"),
    printcolumn(name = "Retention", type_ = "string", json_path = ".spec.retention",
        description = "How long evidence is kept; where it is empty, as long as the cluster's configuration says."),
    printcolumn(name = "Hold", type_ = "boolean", json_path = ".spec.legalHold", description = "Whether nothing is deleted."),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode",
        description = "Whether policy is enforced or only witnessed; where it is empty, as the node's configuration says."),
    printcolumn(name = "Evidence from", type_ = "date", json_path = ".status.evidenceFrom",
        description = "How old the oldest evidence is."),
    printcolumn(name = "Last seal", type_ = "date", json_path = ".status.lastSeal",
        description = "When evidence was last sealed."),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytes", priority = 1,
        description = "How much evidence there is."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AuditTrailSpec {
    /// How long evidence is kept at least: a whole number and its unit (s, m, h, d), such as 400d. Never less than the
    /// cluster's configuration says (retention.minimum); without it, retention.default of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "retention_schema")]
    pub retention: Option<Given<Retention>>,
    /// Whether nothing is deleted, however old it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "hold_schema")]
    pub legal_hold: Option<Given<bool>>,
    /// What becomes of what policy denies: `enforce` denies it, `audit` lets it pass and records what would have been
    /// denied. Without it, what the node's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "mode_schema")]
    pub mode: Option<Given<WitnessMode>>,
    /// How addresses outside the cluster are kept: `full` as they are, `truncate` as their network (/24 or /48), `hmac` as a
    /// keyed hash. Without it, `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "addresses_schema")]
    pub external_addresses: Option<Given<ExternalAddresses>>,
    /// Fields that there are not.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// What evidence there is of a namespace. `podwitness status` writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditTrailStatus {
    /// The `metadata.generation` that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the oldest record happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub evidence_from: Option<Time>,
    /// When the newest record happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub evidence_to: Option<Time>,
    /// The end of the newest interval that was sealed, whether or not there was evidence of this namespace in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub last_seal: Option<Time>,
    /// How many objects of evidence there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// How many bytes they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Whether a legal hold is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// `Ready`: whether the status is of the whole evidence, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// The definition of the kind, as the API server takes it.
pub fn audit_trail_definition() -> CustomResourceDefinition {
    AuditTrail::crd()
}

/// A field: what was written, and what that means where it can be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Given<T> {
    /// What was written.
    pub written: Value,
    /// What it means.
    pub understood: Option<T>,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let understood = T::deserialize(&written).ok();
        Ok(Self { written, understood })
    }
}

impl<T> Serialize for Given<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

/// A retention, which may be longer than the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Retention(pub Duration);

impl TryFrom<String> for Retention {
    type Error = &'static str;

    /// A whole number and its unit.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let seconds = || {
            let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
            let (_, seconds) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
            number.parse::<u64>().ok()?.checked_mul(*seconds).filter(|seconds| *seconds > 0)
        };
        seconds().map(|seconds| Self(Duration::from_secs(seconds))).ok_or("no duration")
    }
}

/// The most characters that a retention needs: the longest in seconds.
const MOST_CHARACTERS: usize = 11;

fn retention_schema(_: &mut SchemaGenerator) -> Schema {
    let form = "self.matches('^[1-9][0-9]*[smhd]$')";
    let unit = "(self.endsWith('d') ? 86400 : self.endsWith('h') ? 3600 : self.endsWith('m') ? 60 : 1)";
    let longest = LONGEST.as_secs();
    json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": MOST_CHARACTERS,
        "x-kubernetes-validations": [
            {"rule": form, "message": "a retention is a whole number and its unit (s, m, h, d), such as 400d"},
            {
                "rule": format!("!{form} || int(self.substring(0, self.size() - 1)) * {unit} <= {longest}"),
                "message": "the longest retention is 36500d (a hundred years)",
            },
        ],
    })
}

fn hold_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "boolean", "nullable": true})
}

fn mode_schema(_: &mut SchemaGenerator) -> Schema {
    words_schema(&["enforce", "audit"], "the modes are enforce and audit")
}

fn addresses_schema(_: &mut SchemaGenerator) -> Schema {
    words_schema(&["full", "truncate", "hmac"], "addresses outside the cluster are kept as full, truncate or hmac")
}

/// One of these words. The rule says the same as an `enum` would, in words of ours.
fn words_schema(words: &[&str], message: &str) -> Schema {
    let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": 63,
        "x-kubernetes-validations": [{"rule": format!("self in [{list}]"), "message": message}],
    })
}

fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "nullable": true})
}

fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32_768},
            },
        },
    })
}
