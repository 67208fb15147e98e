//! Pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use podwitness_policy::{NamedPort, Phase, Pod, PodAddresses, PodTemplate, Protocol};
use serde::{Deserialize, Deserializer};

use super::{Converted, labels, left_out, object_name, uid};
use crate::fault::{Effect, Mistake, Problem};

/// What is used of a Pod, as the API writes it.
///
/// Pods are most of what an API server says, and nine tenths of each are for others: for the kubelet, for controllers, for
/// who manages which field. That is passed over, where the API's own types would have every part of it made and dropped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct GivenPod {
    #[serde(deserialize_with = "used_of_metadata")]
    metadata: ObjectMeta,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    service_account_name: Option<String>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    restart_policy: Option<String>,
    ports: Option<Vec<Exposed>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Exposed {
    name: Option<String>,
    container_port: Option<i32>,
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodIp {
    ip: Option<String>,
}

fn used_of_metadata<'de, D: Deserializer<'de>>(metadata: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Used {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
    }
    let used = Option::<Used>::deserialize(metadata)?.unwrap_or_default();
    Ok(ObjectMeta {
        name: used.name,
        namespace: used.namespace,
        uid: used.uid,
        labels: used.labels,
        owner_references: used.owner_references,
        creation_timestamp: used.creation_timestamp,
        deletion_timestamp: used.deletion_timestamp,
        ..ObjectMeta::default()
    })
}

/// Converts a Pod. What is wrong in it costs that part alone, so that its isolation stands.
///
/// The error is that it has no name, or is in a namespace that there cannot be.
pub fn pod(object: &GivenPod) -> Result<Converted<Pod>, Problem> {
    let name = object_name(&object.metadata)?;
    let mut problems = Vec::new();
    let spec = object.spec.as_ref();
    let (workload_kind, workload) = workload(&object.metadata).unzip();
    let pod = Pod {
        name,
        uid: uid(&object.metadata),
        addresses: addresses(object, &mut problems),
        node: spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty()).map(Into::into),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        phase: phase(object, &mut problems),
        template: PodTemplate {
            labels: labels(&object.metadata),
            ports: spec.map(|spec| ports(spec, &mut problems)).unwrap_or_default().into(),
            service_account: spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default().into(),
            workload_kind: workload_kind.map(Into::into),
            workload: workload.map(Into::into),
        }
        .into(),
        is_being_deleted: object.metadata.deletion_timestamp.is_some(),
        created: object.metadata.creation_timestamp.as_ref().map(|created| seconds(created.0.as_second())),
    };
    Ok(Converted { object: pod, problems })
}

fn addresses(object: &GivenPod, problems: &mut Vec<Problem>) -> PodAddresses {
    let status = object.status.as_ref();
    let several = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    let mut given: Vec<(String, &str)> = (0..)
        .zip(several)
        .map(|(index, address)| (format!("status.podIPs[{index}].ip"), address.ip.as_deref().unwrap_or_default()))
        .collect();
    if given.is_empty() {
        let single = status.and_then(|status| status.pod_ip.as_deref());
        given.extend(single.map(|address| ("status.podIP".to_owned(), address)));
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (path, address) in given.into_iter().filter(|(_, address)| !address.is_empty()) {
        match address.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => problems.push(left_out(path, Mistake::Address(address.to_owned()))),
        }
    }
    addresses.into()
}

/// The seconds since 1970 as a pod has them.
fn seconds(given: i64) -> NonZeroU32 {
    let seconds = u32::try_from(given.max(0)).unwrap_or(u32::MAX);
    NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN)
}

fn phase(object: &GivenPod, problems: &mut Vec<Problem>) -> Phase {
    match object.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown" | "") | None => Phase::Unknown,
        Some(other) => {
            let mistake = Mistake::Phase(other.to_owned());
            problems.push(Problem { path: "status.phase".to_owned(), mistake, effect: Effect::Used });
            Phase::Unknown
        }
    }
}

/// The named ports of the containers that live as long as the pod: the ordinary ones, and the init containers that
/// are restarted always (sidecars).
fn ports(spec: &Spec, problems: &mut Vec<Problem>) -> Vec<NamedPort> {
    let sidecars = (0..)
        .zip(spec.init_containers.as_deref().unwrap_or_default())
        .filter(|(_, container)| container.restart_policy.as_deref() == Some("Always"))
        .map(|(index, container): (usize, _)| (format!("spec.initContainers[{index}]"), container));
    let containers = (0..)
        .zip(spec.containers.as_deref().unwrap_or_default())
        .map(|(index, container): (usize, _)| (format!("spec.containers[{index}]"), container));

    let mut ports = Vec::new();
    for (container_path, container) in containers.chain(sidecars) {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(name) = port.name.clone().filter(|name| !name.is_empty()) else {
                continue;
            };
            let path = format!("{container_path}.ports[{index}]");
            match (protocol(port.protocol.as_deref()), port_number(port.container_port.unwrap_or_default())) {
                (Ok(protocol), Ok(port)) => ports.push(NamedPort { name, protocol, port }),
                (Err(mistake), _) => problems.push(left_out(format!("{path}.protocol"), mistake)),
                (_, Err(mistake)) => problems.push(left_out(format!("{path}.containerPort"), mistake)),
            }
        }
    }
    ports
}

/// The protocol of this name; TCP where there is none.
pub(super) fn protocol(name: Option<&str>) -> Result<Protocol, Mistake> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(Protocol::Tcp);
    };
    let known = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
    known.ok_or_else(|| Mistake::Protocol(name.to_owned()))
}

pub(super) fn port_number(number: i32) -> Result<NonZeroU16, Mistake> {
    let port = u16::try_from(number).ok().and_then(NonZeroU16::new);
    port.ok_or(Mistake::PortNumber(i64::from(number)))
}

/// What made the pod. A Deployment makes its pods through a ReplicaSet, whose name is the Deployment's with the
/// template's hash; for a Job of a `CronJob` no such rule is certain, so it stays a Job.
fn workload(metadata: &ObjectMeta) -> Option<(String, String)> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    if owner.kind == "ReplicaSet" {
        let hash = metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
        let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        if let Some(deployment) = deployment.filter(|deployment| !deployment.is_empty()) {
            return Some(("Deployment".to_owned(), deployment.to_owned()));
        }
    }
    Some((owner.kind.clone(), owner.name.clone()))
}
