//! A policy as the object that a person would apply.

use serde_json::{Map, Value, json};

use crate::model::{LabelSelector, NetworkPolicy, Operator, Peer, Peers, PortMatch, Ports, Rule};

/// The `NetworkPolicy` object that means this policy, with sorted keys. An unusable rule becomes one that the API refuses.
pub fn manifest(policy: &NetworkPolicy) -> Value {
    let mut spec = Map::from_iter([("podSelector".to_owned(), selector(&policy.pod_selector))]);
    let mut types = Vec::new();
    for (name, field, list, rules) in
        [("Ingress", "ingress", "from", &policy.ingress), ("Egress", "egress", "to", &policy.egress)]
    {
        if let Some(rules) = rules {
            types.push(json!(name));
            spec.insert(field.to_owned(), rules.iter().map(|given| rule(given, list)).collect());
        }
    }
    spec.insert("policyTypes".to_owned(), Value::Array(types));
    let mut manifest = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": policy.name.name(), "namespace": policy.name.namespace() },
        "spec": spec,
    });
    manifest.sort_all_objects();
    manifest
}

fn rule(rule: &Rule, list: &str) -> Value {
    let Rule::Usable { peers, ports } = rule else {
        return json!({ list: [{}] });
    };
    let mut object = Map::new();
    if let Peers::Listed(peers) = peers {
        object.insert(list.to_owned(), peers.iter().map(peer).collect());
    }
    if let Ports::Listed(ports) = ports {
        object.insert("ports".to_owned(), ports.iter().map(port).collect());
    }
    Value::Object(object)
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Pods { namespaces: None, pods } => json!({ "podSelector": selector(pods) }),
        Peer::Pods { namespaces: Some(namespaces), pods } if pods.requirements.is_empty() => {
            json!({ "namespaceSelector": selector(namespaces) })
        }
        Peer::Pods { namespaces: Some(namespaces), pods } => {
            json!({ "namespaceSelector": selector(namespaces), "podSelector": selector(pods) })
        }
        Peer::Block(block) if block.except().is_empty() => json!({ "ipBlock": { "cidr": block.cidr().to_string() } }),
        Peer::Block(block) => {
            let except: Vec<String> = block.except().iter().map(ToString::to_string).collect();
            json!({ "ipBlock": { "cidr": block.cidr().to_string(), "except": except } })
        }
    }
}

fn port(port: &PortMatch) -> Value {
    match port {
        PortMatch::Protocol(protocol) => json!({ "protocol": protocol.name() }),
        PortMatch::Named(protocol, name) => json!({ "port": name, "protocol": protocol.name() }),
        PortMatch::Range(protocol, range) if range.first() == range.last() => {
            json!({ "port": range.first(), "protocol": protocol.name() })
        }
        PortMatch::Range(protocol, range) => {
            json!({ "endPort": range.last(), "port": range.first(), "protocol": protocol.name() })
        }
    }
}

/// The selector with as many `matchLabels` as keep the order of its requirements, the rest as `matchExpressions`.
fn selector(selector: &LabelSelector) -> Value {
    let mut labels = Map::new();
    let mut expressions = Vec::new();
    let mut last_key = "";
    for requirement in selector.requirements.iter() {
        let (operator, values) = match &requirement.operator {
            Operator::In(values) => ("In", Some(values)),
            Operator::NotIn(values) => ("NotIn", Some(values)),
            Operator::Exists => ("Exists", None),
            Operator::DoesNotExist => ("DoesNotExist", None),
        };
        match (&requirement.operator, values.and_then(|values| values.first())) {
            (Operator::In(values), Some(value))
                if values.len() == 1 && expressions.is_empty() && last_key < requirement.key.as_str() =>
            {
                labels.insert(requirement.key.clone(), json!(value));
                last_key = &requirement.key;
            }
            _ => {
                let mut expression = json!({ "key": requirement.key, "operator": operator });
                if let Some(values) = values {
                    expression["values"] = json!(&**values);
                }
                expressions.push(expression);
            }
        }
    }
    let mut object = Map::new();
    if !labels.is_empty() {
        object.insert("matchLabels".to_owned(), Value::Object(labels));
    }
    if !expressions.is_empty() {
        object.insert("matchExpressions".to_owned(), Value::Array(expressions));
    }
    Value::Object(object)
}
