//! `EndpointSlice`s.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1 as discovery;
use podwitness_policy::{EndpointSlice, NodeName, SliceEndpoint, SlicePort};

use super::address::address;
use super::pod::{port_number, protocol};
use super::{Converted, left_out, object_name};
use crate::fault::{Effect, Mistake, Problem};

/// The label that says which Service a slice belongs to.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Converts an `EndpointSlice`. What is wrong in it costs that part alone. One of names (`addressType: FQDN`) has no
/// endpoints, as for `kube-proxy`.
///
/// The error is that it has no name, or is in a namespace that there cannot be.
pub fn endpoint_slice(object: &discovery::EndpointSlice) -> Result<Converted<EndpointSlice>, Problem> {
    let name = object_name(&object.metadata)?;
    let mut problems = Vec::new();
    let labels = object.metadata.labels.as_ref();
    let service = labels
        .and_then(|labels| labels.get(SERVICE_NAME_LABEL))
        .filter(|name| !name.is_empty())
        .map(|name| name.as_str().into());
    let ports = ports(object, &mut problems).into();
    let endpoints = match Family::of(object, &mut problems) {
        Family::Names => Vec::new(),
        family => endpoints(object, family, &mut problems),
    };
    Ok(Converted { object: EndpointSlice { name, service, ports, endpoints }, problems })
}

/// `addressType`.
#[derive(Clone, Copy)]
enum Family {
    Ipv4,
    Ipv6,
    Names,
    /// It cannot be told; each address speaks for itself.
    Unknown,
}

impl Family {
    fn of(object: &discovery::EndpointSlice, problems: &mut Vec<Problem>) -> Self {
        match object.address_type.as_str() {
            "IPv4" => Self::Ipv4,
            "IPv6" => Self::Ipv6,
            "FQDN" => Self::Names,
            other => {
                let (known, taken) = ("IPv4, IPv6 and FQDN", "what each address is");
                let word = Mistake::Word { given: other.to_owned(), known, taken };
                let mistake = if other.is_empty() { Mistake::Missing } else { word };
                problems.push(Problem { path: "addressType".to_owned(), mistake, effect: Effect::Used });
                Self::Unknown
            }
        }
    }

    fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
            Self::Names => false,
            Self::Unknown => true,
        }
    }
}

fn ports(object: &discovery::EndpointSlice, problems: &mut Vec<Problem>) -> Vec<SlicePort> {
    let mut ports = Vec::new();
    for (index, given) in object.ports.iter().flatten().enumerate() {
        let at = |field: &str| format!("ports[{index}].{field}");
        let Some(number) = given.port else {
            problems.push(left_out(at("port"), Mistake::AllPorts));
            continue;
        };
        match (protocol(given.protocol.as_deref()), port_number(number)) {
            (Ok(protocol), Ok(port)) => {
                ports.push(SlicePort { name: given.name.clone().unwrap_or_default(), protocol, port });
            }
            (Err(mistake), _) => problems.push(left_out(at("protocol"), mistake)),
            (_, Err(mistake)) => problems.push(left_out(at("port"), mistake)),
        }
    }
    ports
}

fn endpoints(object: &discovery::EndpointSlice, family: Family, problems: &mut Vec<Problem>) -> Vec<SliceEndpoint> {
    let count = object.endpoints.iter().flatten().map(|given| given.addresses.len()).sum();
    // Exactly as many as there are: of slices there are as many as of Services, twice.
    let mut endpoints = Vec::with_capacity(count);
    for (index, given) in object.endpoints.iter().flatten().enumerate() {
        let conditions = given.conditions.as_ref();
        // "A nil value should be interpreted as true" for the first two, and not for the third.
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(true);
        let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
        let node: Option<NodeName> = given.node_name.as_deref().filter(|node| !node.is_empty()).map(Into::into);
        for (number, text) in given.addresses.iter().enumerate() {
            let path = || format!("endpoints[{index}].addresses[{number}]");
            match address(text) {
                Some(address) if family.has(address) => {
                    endpoints.push(SliceEndpoint { address, ready, serving, terminating, node: node.clone() });
                }
                Some(_) => {
                    let mistake = Mistake::OtherFamily { given: text.clone(), family: object.address_type.clone() };
                    problems.push(left_out(path(), mistake));
                }
                None => problems.push(left_out(path(), Mistake::Address(text.clone()))),
            }
        }
    }
    endpoints
}
