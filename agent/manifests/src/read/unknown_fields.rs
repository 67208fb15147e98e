//! Fields of a policy that the API does not have.
//!
//! The API's types pass over them, and what was meant as a restriction would be gone: a rule with `form` for
//! `from` would be one for everybody. The API server refuses them for the same reason.

use std::sync::Arc;

use podwitness_policy::{NetworkPolicy, Rule};
use serde_json::Value;

use crate::convert;
use crate::fault::{Effect, Mistake, Problem};

/// Finds the fields in the spec `written` that are not in `understood`, the same spec after it went through the API's
/// types, and closes what they are in.
pub(super) fn close_around_unknown_fields(
    written: &Value,
    understood: &Value,
    policy: &mut NetworkPolicy,
) -> Vec<Problem> {
    let mut paths = Vec::new();
    collect(written, understood, "spec", &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let effect = if let Some(rule) = rule_at(&path, policy) {
                *rule = Rule::Unusable;
                Effect::RuleClosed
            } else if path.starts_with("spec.ingress[") || path.starts_with("spec.egress[") {
                // A rule of a direction in which the policy does not isolate, or is closed already.
                Effect::Used
            } else if path.starts_with("spec.podSelector.") {
                convert::close(policy);
                Effect::NamespaceClosed
            } else {
                policy.ingress = Some(Arc::default());
                policy.egress = Some(Arc::default());
                Effect::PolicyClosed
            };
            Problem { path, mistake: Mistake::UnknownField, effect }
        })
        .collect()
}

fn rule_at<'a>(path: &str, policy: &'a mut NetworkPolicy) -> Option<&'a mut Rule> {
    let (rules, rest) = if let Some(rest) = path.strip_prefix("spec.ingress[") {
        (&mut policy.ingress, rest)
    } else {
        (&mut policy.egress, path.strip_prefix("spec.egress[")?)
    };
    let index: usize = rest.split_once(']')?.0.parse().ok()?;
    Arc::make_mut(rules.as_mut()?).get_mut(index)
}

fn collect(written: &Value, understood: &Value, path: &str, paths: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (field, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("{path}.{field}");
                match understood.get(field) {
                    Some(understood) => collect(value, understood, &path, paths),
                    None => paths.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) => {
            for (index, (written, understood)) in written.iter().zip(understood).enumerate() {
                collect(written, understood, &format!("{path}[{index}]"), paths);
            }
        }
        _ => {}
    }
}
