//! `AuditTrail`s.
//!
//! What cannot be understood is taken to mean what loses and reveals least: evidence is held, and addresses are hidden.

use std::time::Duration;

use podwitness_policy::{AuditTrail, ExternalAddresses, ObjectName, WitnessMode};
use serde_json::Value;

use super::{Converted, left_out};
use crate::fault::{Effect, Mistake, Problem};

/// The name of the one that counts in its namespace.
const NAME: &str = "default";

/// As in the configuration. A time later than that could not be written in evidence.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// In seconds, as in the configuration.
const DURATION_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Converts an `AuditTrail`, as it was written: the API's own types do not have it.
///
/// The error is that it has no name, or another than `default`.
pub fn audit_trail(object: &Value) -> Result<Converted<AuditTrail>, Problem> {
    let metadata = |field: &str| object["metadata"][field].as_str().filter(|text| !text.is_empty());
    let wrong_name = |mistake| Problem { path: "metadata.name".to_owned(), mistake, effect: Effect::LeftOut };
    match metadata("name") {
        Some(NAME) => {}
        Some(other) => return Err(wrong_name(Mistake::TrailName(other.to_owned()))),
        None => return Err(wrong_name(Mistake::Missing)),
    }
    let mut trail = AuditTrail {
        name: ObjectName::new(metadata("namespace").unwrap_or("default"), NAME),
        retention: None,
        legal_hold: false,
        mode: None,
        external_addresses: ExternalAddresses::default(),
    };
    let mut problems = Vec::new();
    match &object["spec"] {
        Value::Null => {}
        Value::Object(spec) => {
            for (field, value) in spec.iter().filter(|(_, value)| !value.is_null()) {
                problems.extend(set(&mut trail, field, value));
            }
        }
        other => problems
            .push(left_out("spec".to_owned(), Mistake::FieldType { given: shown(other), expected: "an object" })),
    }
    Ok(Converted { object: trail, problems })
}

/// Takes in one field of the spec; returns what is wrong with it.
fn set(trail: &mut AuditTrail, field: &str, value: &Value) -> Option<Problem> {
    let path = format!("spec.{field}");
    let text = value.as_str().unwrap_or_default();
    let word = |known, taken| Mistake::Word { given: shown(value), known, taken };
    let used = |mistake| Some(Problem { path: path.clone(), mistake, effect: Effect::Used });
    match field {
        "retention" => {
            let asked = duration(text);
            trail.retention = asked.map(|asked| asked.min(LONGEST));
            match asked {
                None => Some(left_out(path, Mistake::Duration(shown(value)))),
                Some(asked) if asked > LONGEST => used(Mistake::Retention(shown(value))),
                Some(_) => None,
            }
        }
        "legalHold" => {
            trail.legal_hold = value.as_bool().unwrap_or(true);
            value.as_bool().is_none().then(|| used(word("true and false", "true"))).flatten()
        }
        "mode" => {
            trail.mode = match text {
                "enforce" => Some(WitnessMode::Enforce),
                "audit" => Some(WitnessMode::Audit),
                _ => return used(word("enforce and audit", "the mode of the node")),
            };
            None
        }
        "externalAddresses" => {
            trail.external_addresses = match text {
                "full" => ExternalAddresses::Full,
                "truncate" => ExternalAddresses::Truncate,
                "hmac" => ExternalAddresses::Hmac,
                _ => {
                    trail.external_addresses = ExternalAddresses::Hmac;
                    return used(word("full, truncate and hmac", "hmac"));
                }
            };
            None
        }
        _ => Some(left_out(path, Mistake::UnknownField)),
    }
}

/// A whole number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
    let (_, seconds) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    let seconds = number.parse::<u64>().ok()?.checked_mul(*seconds).filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

/// A value as a message shows it: text without quotes.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
