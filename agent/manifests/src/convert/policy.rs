//! Policies.
//!
//! A mistake never makes a pod more open than the policy as it was meant could: a rule with a mistake allows nothing, a
//! policy whose pods cannot be told isolates all of its namespace and allows nothing (what it allows was meant for
//! others), and a policy type that cannot be told is both.

use std::sync::Arc;

use k8s_openapi::api::networking::v1 as networking;
use podwitness_policy::{LabelSelector, NetworkPolicy, ObjectName, PolicyText, Rule};
use serde_json::{Map, Value};

use super::rule::rule;
use super::selector::selector;
use super::{Converted, namespace_of, object_name, uid};
use crate::fault::{Effect, Mistake, Problem};

/// Converts a `NetworkPolicy`.
///
/// The error is that it has no name, or is in a namespace that there cannot be.
pub fn network_policy(object: &networking::NetworkPolicy) -> Result<Converted<NetworkPolicy>, Problem> {
    let name = object_name(&object.metadata)?;
    let mut problems = Vec::new();
    let default = networking::NetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default);

    let pod_selector =
        spec.pod_selector.as_ref().map_or(Ok(LabelSelector::everything()), |given| selector("spec.podSelector", given));
    let ingress = (0..).zip(spec.ingress.iter().flatten()).map(|(index, given): (usize, _)| {
        let path = format!("spec.ingress[{index}]");
        rule(&path, "from", given.from.as_deref(), given.ports.as_deref(), &mut problems)
    });
    let ingress: Arc<[Rule]> = ingress.collect();
    let egress = (0..).zip(spec.egress.iter().flatten()).map(|(index, given): (usize, _)| {
        let path = format!("spec.egress[{index}]");
        rule(&path, "to", given.to.as_deref(), given.ports.as_deref(), &mut problems)
    });
    let egress: Arc<[Rule]> = egress.collect();
    let types = isolated(spec, &mut problems);

    let mut policy = NetworkPolicy {
        name,
        uid: uid(&object.metadata),
        generation: object.metadata.generation.unwrap_or(0),
        resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
        pod_selector: LabelSelector::everything(),
        ingress: types.ingress.then_some(ingress),
        egress: types.egress.then_some(egress),
        text: text(&serde_json::to_value(object).expect("the API's types have only text as keys")),
        faults: Vec::new(),
    };
    match pod_selector {
        Ok(selector) => policy.pod_selector = selector,
        Err(mistakes) => {
            let effect = Effect::NamespaceClosed;
            problems.extend(mistakes.into_iter().map(|(path, mistake)| Problem { path, mistake, effect }));
            close(&mut policy);
        }
    }
    note(&problems, &mut policy);
    Ok(Converted { object: policy, problems })
}

/// Adds to a policy's faults those of the problems that closed something.
pub(crate) fn note(problems: &[Problem], policy: &mut NetworkPolicy) {
    policy.faults.extend(problems.iter().filter(|problem| problem.effect != Effect::Used).map(Problem::to_string));
}

/// Leaves of a policy what is certain where its pods cannot be told: it isolates all of its namespace, in both
/// directions, and allows nothing.
pub(crate) fn close(policy: &mut NetworkPolicy) {
    policy.pod_selector = LabelSelector::everything();
    policy.ingress = Some(Arc::default());
    policy.egress = Some(Arc::default());
}

/// The policy that stands for an object that does not have the API's types, but a name, and a namespace that there can
/// be.
pub(crate) fn closed(object: &Value) -> Option<NetworkPolicy> {
    let metadata = &object["metadata"];
    let text_of = |field: &str| metadata[field].as_str().filter(|text| !text.is_empty());
    Some(NetworkPolicy {
        name: ObjectName::new(namespace_of(text_of("namespace")).ok()?, text_of("name")?),
        uid: text_of("uid").unwrap_or_default().into(),
        generation: metadata["generation"].as_i64().unwrap_or(0),
        resource_version: text_of("resourceVersion").unwrap_or_default().to_owned(),
        pod_selector: LabelSelector::everything(),
        ingress: Some(Arc::default()),
        egress: Some(Arc::default()),
        text: text(object),
        faults: Vec::new(),
    })
}

/// The text that is evidence: what a person applied, without what the API server keeps beside it, keys sorted.
fn text(object: &Value) -> PolicyText {
    let mut metadata = Map::new();
    for field in ["annotations", "labels", "name", "namespace"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let mut applied = serde_json::json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": object["spec"],
    });
    applied.sort_all_objects();
    // The spec comes last.
    let text = applied.to_string();
    let spec = text.len() - applied["spec"].to_string().len() - 1;
    PolicyText::new(&text[..spec], &text[spec..])
}

/// How many entries `policyTypes` can have.
const MOST_TYPES: usize = 2;

struct Isolated {
    ingress: bool,
    egress: bool,
}

/// The directions in which the policy isolates: those given, else ingress, and egress if there are egress rules.
fn isolated(spec: &networking::NetworkPolicySpec, problems: &mut Vec<Problem>) -> Isolated {
    let given = spec.policy_types.as_deref().unwrap_or_default();
    if given.is_empty() {
        return Isolated { ingress: true, egress: spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()) };
    }
    let mut isolated = Isolated { ingress: false, egress: false };
    let mut unknown = |path, mistake| {
        problems.push(Problem { path, mistake, effect: Effect::BothIsolated });
        Isolated { ingress: true, egress: true }
    };
    if given.len() > MOST_TYPES {
        return unknown("spec.policyTypes".to_owned(), Mistake::PolicyTypes(given.len()));
    }
    for (index, given) in given.iter().enumerate() {
        match given.as_str() {
            "Ingress" => isolated.ingress = true,
            "Egress" => isolated.egress = true,
            other => {
                isolated = unknown(format!("spec.policyTypes[{index}]"), Mistake::PolicyType(other.to_owned()));
            }
        }
    }
    isolated
}
