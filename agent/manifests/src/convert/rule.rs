//! The rules of a policy.
//!
//! Each mistake is found that the API server's validation finds (`pkg/apis/networking/validation`), and a rule with one
//! allows nothing.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use podwitness_policy::{IpBlock, Peer, Peers, PortMatch, PortRange, Ports, Rule};

use super::names::is_port_name;
use super::pod::{port_number, protocol};
use super::selector::selector;
use super::{address, exactly};
use crate::fault::{Effect, Mistake, Problem};

/// The mistakes of one rule, each with its path.
type Mistakes = Vec<(String, Mistake)>;

/// Converts the rule at `path`, whose peers are in the field `list`.
pub(super) fn rule(
    path: &str,
    list: &str,
    given_peers: Option<&[networking::NetworkPolicyPeer]>,
    given_ports: Option<&[networking::NetworkPolicyPort]>,
    problems: &mut Vec<Problem>,
) -> Rule {
    let mut mistakes = Vec::new();
    let peers = peers(&format!("{path}.{list}"), given_peers.unwrap_or_default(), &mut mistakes);
    let ports = ports(&format!("{path}.ports"), given_ports.unwrap_or_default(), &mut mistakes);
    let mut unusable = false;
    for (path, mistake) in mistakes {
        let effect = if mistake.has_one_meaning() { Effect::Used } else { Effect::RuleClosed };
        unusable |= effect == Effect::RuleClosed;
        problems.push(Problem { path, mistake, effect });
    }
    if unusable { Rule::Unusable } else { Rule::Usable { peers, ports } }
}

fn peers(path: &str, given: &[networking::NetworkPolicyPeer], mistakes: &mut Mistakes) -> Peers {
    if given.is_empty() {
        return Peers::Everybody;
    }
    let listed =
        (0..).zip(given).filter_map(|(index, given): (usize, _)| peer(&format!("{path}[{index}]"), given, mistakes));
    Peers::Listed(exactly(listed))
}

fn peer(path: &str, given: &networking::NetworkPolicyPeer, mistakes: &mut Mistakes) -> Option<Peer> {
    let pods = given.pod_selector.as_ref().map(|given| selector(&format!("{path}.podSelector"), given));
    let namespaces =
        given.namespace_selector.as_ref().map(|given| selector(&format!("{path}.namespaceSelector"), given));
    let block = given.ip_block.as_ref().map(|given| block(&format!("{path}.ipBlock"), given, mistakes));
    let selectors = match (pods.transpose(), namespaces.transpose()) {
        (Ok(pods), Ok(namespaces)) => (pods.is_some() || namespaces.is_some()).then_some((pods, namespaces)),
        (pods, namespaces) => {
            mistakes.extend(pods.err().into_iter().chain(namespaces.err()).flatten());
            return None;
        }
    };
    match (block, selectors) {
        (Some(block), None) => block.map(Peer::Block),
        (None, Some((pods, namespaces))) => Some(Peer::Pods { namespaces, pods: pods.unwrap_or_default() }),
        (Some(_), Some(_)) => {
            mistakes.push((path.to_owned(), Mistake::BlockWithSelectors));
            None
        }
        (None, None) => {
            mistakes.push((path.to_owned(), Mistake::EmptyPeer));
            None
        }
    }
}

fn block(path: &str, given: &networking::IPBlock, mistakes: &mut Mistakes) -> Option<IpBlock> {
    let cidr = network(format!("{path}.cidr"), &given.cidr, mistakes);
    let mut except = Vec::new();
    for (index, text) in given.except.iter().flatten().enumerate() {
        let path = format!("{path}.except[{index}]");
        let Some(net) = network(path.clone(), text, mistakes) else { continue };
        if let Some(cidr) = cidr
            && (!cidr.contains(&net) || cidr == net)
        {
            mistakes.push((path, Mistake::ExceptOutside { given: text.clone(), block: given.cidr.clone() }));
        }
        except.push(net);
    }
    IpBlock::new(cidr?, except)
}

fn network(path: String, given: &str, mistakes: &mut Mistakes) -> Option<IpNet> {
    if given.is_empty() {
        mistakes.push((path, Mistake::Missing));
        return None;
    }
    let Some((net, is_clear)) = address::network(given) else {
        mistakes.push((path, Mistake::Cidr(given.to_owned())));
        return None;
    };
    let meant = net.trunc();
    let as_written = || (given.to_owned(), meant.to_string());
    if meant != net {
        let (given, meant) = as_written();
        mistakes.push((path, Mistake::CidrHostBits { given, meant }));
    } else if !is_clear {
        let (given, meant) = as_written();
        mistakes.push((path, Mistake::CidrForm { given, meant }));
    }
    Some(meant)
}

fn ports(path: &str, given: &[networking::NetworkPolicyPort], mistakes: &mut Mistakes) -> Ports {
    if given.is_empty() {
        return Ports::Every;
    }
    let listed =
        (0..).zip(given).filter_map(|(index, given): (usize, _)| port(&format!("{path}[{index}]"), given, mistakes));
    Ports::Listed(exactly(listed))
}

fn port(path: &str, given: &networking::NetworkPolicyPort, mistakes: &mut Mistakes) -> Option<PortMatch> {
    let mut wrong = |field: &str, mistake| mistakes.push((format!("{path}.{field}"), mistake));
    // One that is given and empty is none of the three.
    let known = match given.protocol.as_deref() {
        Some("") => Err(Mistake::Protocol(String::new())),
        name => protocol(name),
    };
    let protocol = known.map_err(|mistake| wrong("protocol", mistake)).ok();
    match (&given.port, given.end_port) {
        (None, None) => Some(PortMatch::Protocol(protocol?)),
        (None, Some(end)) => {
            wrong("endPort", Mistake::EndPortWithoutPort(end));
            None
        }
        (Some(IntOrString::String(name)), end) => {
            if !is_port_name(name) {
                wrong("port", Mistake::PortName(name.clone()));
            }
            if let Some(end) = end {
                wrong("endPort", Mistake::EndPortWithNamedPort { name: name.clone(), end });
            }
            Some(PortMatch::Named(protocol?, name.clone()))
        }
        (Some(IntOrString::Int(port)), end) => {
            let first = port_number(*port).map_err(|mistake| wrong("port", mistake)).ok();
            let last = end.map_or(Ok(first), |end| port_number(end).map(Some));
            let last = last.map_err(|mistake| wrong("endPort", mistake)).ok().flatten();
            let (first, last) = (first?, last?);
            let range = PortRange::new(first, last);
            if range.is_none() {
                wrong("endPort", Mistake::EndPortBelowPort { start: first.get(), end: last.get() });
            }
            Some(PortMatch::Range(protocol?, range?))
        }
    }
}
