//! From objects in a folder to what rules are made from.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use crate::error::LabError;

/// One port of one Service, with the backends that it has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServicePort {
    /// `namespace/name:port`, for the reader of rules.
    pub(super) name: String,
    /// `tcp`, `udp` or `sctp`.
    pub(super) protocol: String,
    pub(super) port: u16,
    pub(super) node_port: Option<u16>,
    pub(super) cluster_addresses: Vec<IpAddr>,
    /// External addresses and those of load balancers.
    pub(super) external_addresses: Vec<IpAddr>,
    pub(super) internal_local: bool,
    pub(super) external_local: bool,
    pub(super) backends: Vec<Backend>,
}

/// One address that is ready to be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Whether it is on this node.
    pub(super) is_local: bool,
}

/// Every port of every Service in the folder, for the node of this name.
pub(super) fn read(folder: &Path, node: &str) -> Result<Vec<ServicePort>, LabError> {
    let mut objects = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(LabError::path("list", folder))?;
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(LabError::path("read", &path))?;
        // What is no YAML is the agent's to complain of.
        objects.extend(serde_saphyr::from_multiple::<Value>(&text).unwrap_or_default());
    }
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let slices: Vec<&Value> = of_kind("EndpointSlice").collect();
    Ok(of_kind("Service").flat_map(|service| ports(service, &slices, node)).collect())
}

fn ports(service: &Value, slices: &[&Value], node: &str) -> Vec<ServicePort> {
    let (spec, metadata) = (&service["spec"], &service["metadata"]);
    let slices: Vec<&Value> = slices
        .iter()
        .filter(|slice| slice["metadata"]["namespace"] == metadata["namespace"])
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == metadata["name"])
        .copied()
        .collect();
    let mut cluster_addresses = addresses(&spec["clusterIPs"]);
    if cluster_addresses.is_empty() {
        cluster_addresses = addresses(&Value::Array(vec![spec["clusterIP"].clone()]));
    }
    let mut external_addresses = addresses(&spec["externalIPs"]);
    let balancer = items(&service["status"]["loadBalancer"]["ingress"]);
    external_addresses.extend(balancer.iter().filter_map(|ingress| ingress["ip"].as_str()?.parse::<IpAddr>().ok()));
    items(&spec["ports"])
        .iter()
        .filter_map(|port| {
            let number = port_number(&port["port"])?;
            Some(ServicePort {
                name: format!("{}/{}:{number}", text(&metadata["namespace"]), text(&metadata["name"])),
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_lowercase(),
                port: number,
                node_port: port_number(&port["nodePort"]),
                cluster_addresses: cluster_addresses.clone(),
                external_addresses: external_addresses.clone(),
                internal_local: spec["internalTrafficPolicy"] == "Local",
                external_local: spec["externalTrafficPolicy"] == "Local",
                backends: slices.iter().flat_map(|slice| backends(slice, port, node)).collect(),
            })
        })
        .collect()
}

/// The ready addresses of a slice, at the port that is called like the Service's and has its protocol.
fn backends(slice: &Value, service_port: &Value, node: &str) -> Vec<Backend> {
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let port = items(&slice["ports"])
        .iter()
        .find(|port| text(&port["name"]) == text(&service_port["name"]) && protocol(port) == protocol(service_port))
        .and_then(|port| port_number(&port["port"]));
    let Some(port) = port else { return Vec::new() };
    items(&slice["endpoints"])
        .iter()
        // Missing means ready.
        .filter(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true))
        .flat_map(|endpoint| {
            let is_local = endpoint["nodeName"] == node;
            addresses(&endpoint["addresses"]).into_iter().map(move |address| Backend { address, port, is_local })
        })
        .collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn addresses(list: &Value) -> Vec<IpAddr> {
    items(list).iter().filter_map(|address| address.as_str()?.parse().ok()).collect()
}

fn port_number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
