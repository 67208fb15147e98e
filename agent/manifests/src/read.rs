//! From text to objects.

mod split;
mod unknown_fields;

use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::convert::{self, Converted};
use crate::fault::{Effect, Fault, Mistake, Place, Problem};
use crate::object::{Document, Documents, Object, ObjectKey};
use crate::trail::{AuditTrail, AuditTrailSpec};

use unknown_fields::close_around_unknown_fields;

/// Reads all objects of a text, YAML or JSON, of one document or several, and of `List`s of any kind. `origin` names the
/// text in places and faults.
///
/// A document or item that cannot be used costs no other.
pub fn read_documents(text: &str, origin: &str) -> Documents {
    let mut documents = Documents::default();
    for (number, parsed) in (1..).zip(split::values(text)) {
        let place = Place { origin: origin.to_owned(), document: number, item: None };
        match parsed {
            Ok(value) => read_value(&value, None, place, &mut documents),
            Err(error) => {
                let problem = Problem { path: String::new(), mistake: Mistake::Syntax(error), effect: Effect::LeftOut };
                documents.faults.push(Fault { place, object: None, problem });
            }
        }
    }
    documents
}

/// Reads one object. `implied` is the `apiVersion` and `kind` of the items of a typed list, which the API leaves out of them.
fn read_value(value: &Value, implied: Option<(&str, &str)>, place: Place, documents: &mut Documents) {
    let field = |name: &str| value[name].as_str().map(str::to_owned);
    let api_version = field("apiVersion").or_else(|| implied.map(|(api_version, _)| api_version.to_owned()));
    let kind = field("kind").or_else(|| implied.map(|(_, kind)| kind.to_owned()));
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        let problem = Problem { path: String::new(), mistake: Mistake::NotAnObject, effect: Effect::LeftOut };
        documents.faults.push(Fault { place, object: None, problem });
        return;
    };

    if let (Some(kind_of_items), Some(Value::Array(items))) = (kind.strip_suffix("List"), value.get("items")) {
        let implied = (!kind_of_items.is_empty()).then_some((api_version.as_str(), kind_of_items));
        for (index, item) in items.iter().enumerate() {
            read_value(item, implied, Place { item: Some(index), ..place.clone() }, documents);
        }
        return;
    }

    let key = ObjectKey::of_value(&kind, value);
    let (object, problems) = object(&api_version, &kind, value);
    documents.faults.extend(problems.into_iter().map(|problem| Fault {
        place: place.clone(),
        object: Some(object.as_ref().map_or_else(|| key.clone(), Object::key)),
        problem,
    }));
    documents.objects.extend(object.map(|object| Document { place, object }));
}

/// Reads one object, of which it is known what it is: its text need not say so.
pub fn read_object(api_version: &str, kind: &str, json: &str) -> (Option<Object>, Vec<Problem>) {
    object(api_version, kind, &mut serde_json::Deserializer::from_str(json))
}

fn object<'de, D: Deserializer<'de>>(api_version: &str, kind: &str, value: D) -> (Option<Object>, Vec<Problem>) {
    match (api_version, kind) {
        ("v1", "Namespace") => typed(value, convert::namespace, Object::Namespace),
        ("v1", "Pod") => typed(value, convert::pod, Object::Pod),
        ("v1", "Node") => typed(value, convert::node, Object::Node),
        ("networking.k8s.io/v1", "NetworkPolicy") => network_policy(value),
        ("v1", "Service") => typed(value, convert::service, Object::Service),
        ("discovery.k8s.io/v1", "EndpointSlice") => typed(value, convert::endpoint_slice, Object::EndpointSlice),
        ("podwitness.io/v1alpha1", "AuditTrail") => audit_trail(value),
        _ => {
            let mistake = Mistake::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() };
            (None, vec![Problem { path: String::new(), mistake, effect: Effect::Ignored }])
        }
    }
}

fn typed<'de, D: Deserializer<'de>, K: DeserializeOwned, T>(
    value: D,
    convert: impl Fn(&K) -> Result<Converted<T>, Problem>,
    wrap: impl Fn(T) -> Object,
) -> (Option<Object>, Vec<Problem>) {
    let converted = K::deserialize(value).map_err(|error| Problem {
        path: String::new(),
        mistake: Mistake::Type(error.to_string()),
        effect: Effect::LeftOut,
    });
    match converted.and_then(|object| convert(&object)) {
        Ok(Converted { object, problems }) => (Some(wrap(object)), problems),
        Err(problem) => (None, vec![problem]),
    }
}

/// What is wrong in its metadata or spec takes nothing from a trail but that part: it may be what holds evidence.
fn audit_trail<'de, D: Deserializer<'de>>(value: D) -> (Option<Object>, Vec<Problem>) {
    let value = match written(value) {
        Ok(value) => value,
        Err(problem) => return (None, vec![problem]),
    };
    let text_of = |field: &str| value["metadata"][field].as_str().map(str::to_owned);
    let metadata = ObjectMeta { name: text_of("name"), namespace: text_of("namespace"), ..ObjectMeta::default() };
    let mut problems = Vec::new();
    let spec = match &value["spec"] {
        Value::Null => AuditTrailSpec::default(),
        spec => AuditTrailSpec::deserialize(spec).unwrap_or_else(|_| {
            let mistake = Mistake::FieldType { given: convert::shown(spec), expected: "an object" };
            problems.push(Problem { path: "spec".to_owned(), mistake, effect: Effect::PartLeftOut });
            AuditTrailSpec::default()
        }),
    };
    match convert::audit_trail(&AuditTrail { metadata, spec, status: None }) {
        Ok(Converted { object, problems: of_fields }) => {
            problems.extend(of_fields);
            (Some(Object::AuditTrail(object)), problems)
        }
        Err(problem) => (None, vec![problem]),
    }
}

fn written<'de, D: Deserializer<'de>>(value: D) -> Result<Value, Problem> {
    Value::deserialize(value).map_err(|error| Problem {
        path: String::new(),
        mistake: Mistake::Syntax(error.to_string()),
        effect: Effect::LeftOut,
    })
}

/// A policy that has a name is never left out, but where its namespace cannot be: what is wrong with it closes it.
fn network_policy<'de, D: Deserializer<'de>>(value: D) -> (Option<Object>, Vec<Problem>) {
    let value = match written(value) {
        Ok(value) => value,
        Err(problem) => return (None, vec![problem]),
    };
    let given = match networking::NetworkPolicy::deserialize(&value) {
        Ok(given) => given,
        Err(error) => {
            let mut closed = convert::closed(&value);
            let effect = if closed.is_some() { Effect::NamespaceClosed } else { Effect::LeftOut };
            let problems = vec![Problem { path: String::new(), mistake: Mistake::Type(error.to_string()), effect }];
            if let Some(policy) = &mut closed {
                convert::note(&problems, policy);
            }
            return (closed.map(Object::NetworkPolicy), problems);
        }
    };
    match convert::network_policy(&given) {
        Ok(Converted { object: mut policy, mut problems }) => {
            let understood = serde_json::to_value(&given.spec).expect("the API's types have only text as keys");
            let unknown = close_around_unknown_fields(&value["spec"], &understood, &mut policy);
            convert::note(&unknown, &mut policy);
            problems.extend(unknown);
            (Some(Object::NetworkPolicy(policy)), problems)
        }
        Err(problem) => (None, vec![problem]),
    }
}
