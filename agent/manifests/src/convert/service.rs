//! Services.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use podwitness_policy::{Service, ServicePort};

use super::address::address;
use super::pod::{port_number, protocol};
use super::{Converted, left_out, object_name, uid};
use crate::fault::{Effect, Mistake, Problem};

/// Converts a Service. What is wrong in it costs that part alone.
///
/// The error is that it has no name, or is in a namespace that there cannot be.
pub fn service(object: &core::Service) -> Result<Converted<Service>, Problem> {
    let mut service = Service {
        name: object_name(&object.metadata)?,
        uid: uid(&object.metadata),
        cluster_addresses: Vec::new(),
        external_addresses: Vec::new(),
        ports: Arc::default(),
        internal_traffic_local: false,
    };
    let mut problems = Vec::new();
    let default = core::ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default);
    let mut ports = ports(spec, &mut problems);
    service.internal_traffic_local = is_local(spec, &mut problems);

    let cluster_ips = cluster_ips(spec);
    let is_headless = cluster_ips.iter().any(|(_, address)| *address == "None");
    let is_name_only = is_headless || spec.type_.as_deref() == Some("ExternalName");
    if is_name_only {
        for port in &mut ports {
            port.node_port = None;
        }
    } else {
        service.cluster_addresses = addresses(cluster_ips, &mut problems);
        service.external_addresses = addresses(external_ips(object, spec), &mut problems);
    }
    service.ports = ports.into();
    Ok(Converted { object: service, problems })
}

fn ports(spec: &core::ServiceSpec, problems: &mut Vec<Problem>) -> Vec<ServicePort> {
    let mut ports = Vec::new();
    for (index, given) in spec.ports.iter().flatten().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        let node_port = match given.node_port.filter(|port| *port != 0).map(port_number).transpose() {
            Ok(node_port) => node_port,
            Err(mistake) => {
                problems.push(left_out(at("nodePort"), mistake));
                None
            }
        };
        match (protocol(given.protocol.as_deref()), port_number(given.port)) {
            (Ok(protocol), Ok(port)) => {
                let name = given.name.clone().unwrap_or_default();
                ports.push(ServicePort { name, protocol, port, node_port });
            }
            (Err(mistake), _) => problems.push(left_out(at("protocol"), mistake)),
            (_, Err(mistake)) => problems.push(left_out(at("port"), mistake)),
        }
    }
    ports
}

fn is_local(spec: &core::ServiceSpec, problems: &mut Vec<Problem>) -> bool {
    match spec.internal_traffic_policy.as_deref() {
        None | Some("" | "Cluster") => false,
        Some("Local") => true,
        Some(other) => {
            let mistake = Mistake::Word { given: other.to_owned(), known: "Cluster and Local", taken: "Cluster" };
            problems.push(Problem { path: "spec.internalTrafficPolicy".to_owned(), mistake, effect: Effect::Used });
            false
        }
    }
}

/// `clusterIPs`, or `clusterIP` where there is only that, each with its path.
fn cluster_ips(spec: &core::ServiceSpec) -> Vec<(String, &str)> {
    let several = spec.cluster_ips.as_deref().unwrap_or_default();
    if several.is_empty() {
        let single = spec.cluster_ip.as_deref().filter(|address| !address.is_empty());
        return single.map(|address| ("spec.clusterIP".to_owned(), address)).into_iter().collect();
    }
    (0..).zip(several).map(|(index, address)| (format!("spec.clusterIPs[{index}]"), address.as_str())).collect()
}

/// The addresses beside those that nodes translate too.
fn external_ips<'a>(object: &'a core::Service, spec: &'a core::ServiceSpec) -> Vec<(String, &'a str)> {
    let external = (0..).zip(spec.external_ips.iter().flatten());
    let external =
        external.map(|(index, address): (usize, _)| (format!("spec.externalIPs[{index}]"), address.as_str()));
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let balancer = (0..).zip(balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default());
    let translated = balancer.filter(|(_, ingress)| ingress.ip_mode.as_deref() != Some("Proxy"));
    let translated = translated.filter_map(|(index, ingress): (usize, _)| {
        Some((format!("status.loadBalancer.ingress[{index}].ip"), ingress.ip.as_deref().filter(|ip| !ip.is_empty())?))
    });
    external.chain(translated).collect()
}

fn addresses(given: Vec<(String, &str)>, problems: &mut Vec<Problem>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (path, text) in given {
        match address(text) {
            Some(address) => addresses.push(address),
            None => problems.push(left_out(path, Mistake::Address(text.to_owned()))),
        }
    }
    addresses
}
