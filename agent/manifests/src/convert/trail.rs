//! `AuditTrail`s.
//!
//! What cannot be understood is taken to mean what loses and reveals least: evidence is held, and addresses are hidden.

use podwitness_policy::{AuditTrail, ExternalAddresses, ObjectName};
use serde_json::Value;

use super::{Converted, left_out, namespace_of};
use crate::fault::{Effect, Mistake, Problem};
use crate::trail::{self, LONGEST};

/// The name of the one that counts in its namespace.
const NAME: &str = "default";

/// Converts an `AuditTrail`.
///
/// The error is that it has no name, or another than `default`, or is in a namespace that there cannot be.
pub fn audit_trail(object: &trail::AuditTrail) -> Result<Converted<AuditTrail>, Problem> {
    let wrong_name = |mistake| Problem { path: "metadata.name".to_owned(), mistake, effect: Effect::LeftOut };
    match object.metadata.name.as_deref().filter(|name| !name.is_empty()) {
        Some(NAME) => {}
        Some(other) => return Err(wrong_name(Mistake::TrailName(other.to_owned()))),
        None => return Err(wrong_name(Mistake::Missing)),
    }
    let spec = &object.spec;
    let mut trail = AuditTrail {
        name: ObjectName::new(namespace_of(object.metadata.namespace.as_deref())?, NAME),
        retention: None,
        legal_hold: false,
        mode: None,
        external_addresses: ExternalAddresses::default(),
    };
    let mut problems = Vec::new();
    let mut used = |field: &str, mistake| {
        problems.push(Problem { path: format!("spec.{field}"), mistake, effect: Effect::Used });
    };
    let word = |written, known, taken| Mistake::Word { given: shown(written), known, taken };

    if let Some(given) = &spec.external_addresses {
        trail.external_addresses = given.understood.unwrap_or(ExternalAddresses::Hmac);
        if given.understood.is_none() {
            used("externalAddresses", word(&given.written, "full, truncate and hmac", "hmac"));
        }
    }
    if let Some(given) = &spec.legal_hold {
        trail.legal_hold = given.understood.unwrap_or(true);
        if given.understood.is_none() {
            used("legalHold", word(&given.written, "true and false", "true"));
        }
    }
    if let Some(given) = &spec.mode {
        trail.mode = given.understood;
        if given.understood.is_none() {
            used("mode", word(&given.written, "enforce and audit", "the mode of the node"));
        }
    }
    if let Some(given) = &spec.retention {
        trail.retention = given.understood.map(|asked| asked.0.min(LONGEST));
        match given.understood {
            Some(asked) if asked.0 > LONGEST => used("retention", Mistake::Retention(shown(&given.written))),
            Some(_) => {}
            None => {
                problems.push(left_out("spec.retention".to_owned(), Mistake::Duration(shown(&given.written))));
            }
        }
    }
    let unknown = spec.unknown.iter().filter(|(_, value)| !value.is_null());
    problems.extend(unknown.map(|(field, _)| left_out(format!("spec.{field}"), Mistake::UnknownField)));
    problems.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Converted { object: trail, problems })
}

/// A value as a message shows it: text without quotes.
pub(crate) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
