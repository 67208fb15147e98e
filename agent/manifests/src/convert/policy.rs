//! Policies.
//!
//! A mistake never makes a pod more open than the policy as it was meant could: a rule with a mistake allows nothing, a
//! policy whose pods cannot be told isolates all of its namespace and allows nothing (what it allows was meant for
//! others), and a policy type that cannot be told is both.

use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use podwitness_policy::{
    IpBlock, LabelSelector, NetworkPolicy, ObjectName, Peer, Peers, PortMatch, PortRange, Ports, Rule,
};
use serde_json::{Map, Value};

use super::pod::{port_number, protocol};
use super::selector::selector;
use super::{Converted, object_name, uid};
use crate::fault::{Effect, Mistake, Problem};

/// The mistakes of one rule, each with its path.
type Mistakes = Vec<(String, Mistake)>;

/// Converts a `NetworkPolicy`.
///
/// The error is that it has no name.
pub fn network_policy(object: &networking::NetworkPolicy) -> Result<Converted<NetworkPolicy>, Problem> {
    let name = object_name(&object.metadata)?;
    let mut problems = Vec::new();
    let default = networking::NetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default);

    let pod_selector =
        spec.pod_selector.as_ref().map_or(Ok(LabelSelector::everything()), |given| selector("spec.podSelector", given));
    let ingress = (0..).zip(spec.ingress.iter().flatten()).map(|(index, given): (usize, _)| {
        let path = format!("spec.ingress[{index}]");
        rule(peers(&format!("{path}.from"), given.from.as_deref()), ports(&path, given.ports.as_deref()), &mut problems)
    });
    let ingress: Vec<Rule> = ingress.collect();
    let egress = (0..).zip(spec.egress.iter().flatten()).map(|(index, given): (usize, _)| {
        let path = format!("spec.egress[{index}]");
        rule(peers(&format!("{path}.to"), given.to.as_deref()), ports(&path, given.ports.as_deref()), &mut problems)
    });
    let egress: Vec<Rule> = egress.collect();
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
            problems.extend(with_effect(mistakes, Effect::NamespaceClosed));
            close(&mut policy);
        }
    }
    Ok(Converted { object: policy, problems })
}

/// Leaves of a policy what is certain where its pods cannot be told: it isolates all of its namespace, in both
/// directions, and allows nothing.
pub(crate) fn close(policy: &mut NetworkPolicy) {
    policy.pod_selector = LabelSelector::everything();
    policy.ingress = Some(Vec::new());
    policy.egress = Some(Vec::new());
}

/// The policy that stands for an object that does not have the API's types, but a name.
pub(crate) fn closed(object: &Value) -> Option<NetworkPolicy> {
    let metadata = &object["metadata"];
    let text_of = |field: &str| metadata[field].as_str().filter(|text| !text.is_empty());
    Some(NetworkPolicy {
        name: ObjectName::new(text_of("namespace").unwrap_or("default"), text_of("name")?),
        uid: text_of("uid").unwrap_or_default().to_owned(),
        generation: metadata["generation"].as_i64().unwrap_or(0),
        resource_version: text_of("resourceVersion").unwrap_or_default().to_owned(),
        pod_selector: LabelSelector::everything(),
        ingress: Some(Vec::new()),
        egress: Some(Vec::new()),
        text: text(object),
        faults: Vec::new(),
    })
}

/// The text that is evidence: what a person applied, without what the API server keeps beside it, keys sorted.
fn text(object: &Value) -> String {
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
    applied.to_string()
}

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
    for (index, given) in given.iter().enumerate() {
        match given.as_str() {
            "Ingress" => isolated.ingress = true,
            "Egress" => isolated.egress = true,
            other => {
                isolated = Isolated { ingress: true, egress: true };
                let path = format!("spec.policyTypes[{index}]");
                problems.push(Problem { path, mistake: Mistake::PolicyType(other.to_owned()), effect: Effect::Used });
            }
        }
    }
    isolated
}

fn rule(peers: (Peers, Mistakes), ports: (Ports, Mistakes), problems: &mut Vec<Problem>) -> Rule {
    let (peers, mut mistakes) = peers;
    let (ports, of_ports) = ports;
    mistakes.extend(of_ports);
    // A network with host bits has one meaning, so it costs nothing.
    let (harmless, fatal): (Mistakes, Mistakes) =
        mistakes.into_iter().partition(|(_, mistake)| matches!(mistake, Mistake::CidrHostBits { .. }));
    let unusable = !fatal.is_empty();
    problems.extend(with_effect(harmless, Effect::Used));
    problems.extend(with_effect(fatal, Effect::RuleClosed));
    if unusable { Rule::Unusable } else { Rule::Usable { peers, ports } }
}

fn with_effect(mistakes: Mistakes, effect: Effect) -> impl Iterator<Item = Problem> {
    mistakes.into_iter().map(move |(path, mistake)| Problem { path, mistake, effect })
}

fn peers(path: &str, given: Option<&[networking::NetworkPolicyPeer]>) -> (Peers, Mistakes) {
    let given = given.unwrap_or_default();
    if given.is_empty() {
        return (Peers::Everybody, Vec::new());
    }
    let mut mistakes = Vec::new();
    let listed =
        given.iter().enumerate().filter_map(|(index, given)| peer(&format!("{path}[{index}]"), given, &mut mistakes));
    (Peers::Listed(listed.collect()), mistakes)
}

fn peer(path: &str, given: &networking::NetworkPolicyPeer, mistakes: &mut Mistakes) -> Option<Peer> {
    if let Some(given_block) = &given.ip_block {
        if given.pod_selector.is_some() || given.namespace_selector.is_some() {
            mistakes.push((path.to_owned(), Mistake::BlockWithSelectors));
            return None;
        }
        return block(&format!("{path}.ipBlock"), given_block, mistakes).map(Peer::Block);
    }
    if given.pod_selector.is_none() && given.namespace_selector.is_none() {
        mistakes.push((path.to_owned(), Mistake::EmptyPeer));
        return None;
    }
    let pods = given.pod_selector.as_ref().map(|given| selector(&format!("{path}.podSelector"), given));
    let namespaces =
        given.namespace_selector.as_ref().map(|given| selector(&format!("{path}.namespaceSelector"), given));
    match (pods.transpose(), namespaces.transpose()) {
        (Ok(pods), Ok(namespaces)) => Some(Peer::Pods { namespaces, pods: pods.unwrap_or_default() }),
        (pods, namespaces) => {
            mistakes.extend(pods.err().into_iter().chain(namespaces.err()).flatten());
            None
        }
    }
}

fn block(path: &str, given: &networking::IPBlock, mistakes: &mut Mistakes) -> Option<IpBlock> {
    let cidr = network(format!("{path}.cidr"), &given.cidr, mistakes);
    let given_except = given.except.as_deref().unwrap_or_default();
    let except: Vec<_> = given_except
        .iter()
        .enumerate()
        .filter_map(|(index, given)| network(format!("{path}.except[{index}]"), given, mistakes))
        .collect();
    let cidr = cidr.filter(|_| except.len() == given_except.len())?;
    let block = IpBlock::new(cidr, except);
    if block.is_none() {
        mistakes.push((format!("{path}.except"), Mistake::ExceptOutside(cidr.to_string())));
    }
    block
}

fn network(path: String, given: &str, mistakes: &mut Mistakes) -> Option<ipnet::IpNet> {
    let Ok(net) = given.parse::<ipnet::IpNet>() else {
        mistakes.push((path, Mistake::Cidr(given.to_owned())));
        return None;
    };
    let meant = net.trunc();
    if meant != net {
        mistakes.push((path, Mistake::CidrHostBits { given: given.to_owned(), meant: meant.to_string() }));
    }
    Some(meant)
}

fn ports(rule_path: &str, given: Option<&[networking::NetworkPolicyPort]>) -> (Ports, Mistakes) {
    let given = given.unwrap_or_default();
    if given.is_empty() {
        return (Ports::Every, Vec::new());
    }
    let mut mistakes = Vec::new();
    let listed = given.iter().enumerate().filter_map(|(index, given)| {
        port(&format!("{rule_path}.ports[{index}]"), given).map_err(|mistake| mistakes.push(mistake)).ok()
    });
    (Ports::Listed(listed.collect()), mistakes)
}

fn port(path: &str, given: &networking::NetworkPolicyPort) -> Result<PortMatch, (String, Mistake)> {
    let at = |field: &str| format!("{path}.{field}");
    let protocol = protocol(given.protocol.as_deref()).map_err(|mistake| (at("protocol"), mistake))?;
    match (&given.port, given.end_port) {
        (None, None) => Ok(PortMatch::Protocol(protocol)),
        (Some(IntOrString::String(name)), None) if is_port_name(name) => Ok(PortMatch::Named(protocol, name.clone())),
        (Some(IntOrString::String(name)), None) => Err((at("port"), Mistake::PortName(name.clone()))),
        (None | Some(IntOrString::String(_)), Some(_)) => Err((at("endPort"), Mistake::EndPortWithoutPort)),
        (Some(IntOrString::Int(port)), None) => {
            let port = port_number(*port).map_err(|mistake| (at("port"), mistake))?;
            Ok(PortMatch::Range(protocol, PortRange::single(port)))
        }
        (Some(IntOrString::Int(port)), Some(end)) => {
            let first = port_number(*port).map_err(|mistake| (at("port"), mistake))?;
            let last = port_number(end).map_err(|mistake| (at("endPort"), mistake))?;
            let range = PortRange::new(first, last)
                .ok_or_else(|| (at("endPort"), Mistake::EndPortBelowPort { start: first.get(), end: last.get() }))?;
            Ok(PortMatch::Range(protocol, range))
        }
    }
}

/// Whether it can be the name of a port (`IANA_SVC_NAME`, RFC 6335).
fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
