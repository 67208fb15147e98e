//! The oracle for Services: what a pod's connection to a Service's address comes to.
//!
//! The API leaves open whether policy is about the Service's address or the backend's (of rewritten addresses its documentation
//! says: "it is not defined whether this happens before or after NetworkPolicy processing, and the behavior may be different for
//! different combinations of network plugin, cloud provider, `Service` implementation, etc."). Here it is about where the
//! packet really goes: a Service's own address matches no `ipBlock`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use podwitness_wire::Direction;

use super::{Evaluation, Subject, evaluate};
use crate::model::{Cluster, EndpointSlice, Service, ServicePort};
use crate::rule_set::RuleSet;
use crate::tables::Backend;

/// What the policies say about a pod's connection to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvaluation<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Whether the backend sees who the client is. It does behind a cluster address; what comes through an external
    /// address or a node port may come from the node's address (`kube-proxy` masquerades it).
    pub keeps_source: bool,
    /// Each backend that the connection may get to, with what the policies say about a connection to it.
    pub backends: BTreeMap<Backend, Evaluation>,
    /// What follows.
    pub outcome: ServiceOutcome,
}

/// What follows from what the policies say about each backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceOutcome {
    /// Allowed, because every backend is the pod's own node.
    Node,
    /// Allowed, because no policy isolates the pod for egress.
    NotIsolated,
    /// Every backend is allowed; these are all the rules that allow one.
    Allowed(RuleSet),
    /// No backend is allowed, or there is none; these policies isolate the pod.
    Denied(RuleSet),
    /// Some backends are allowed and some are not.
    Mixed {
        /// All the rules that allow a backend; empty where those allowed are all on the pod's own node's addresses.
        allowing: RuleSet,
        /// The policies that isolate the pod.
        isolating: RuleSet,
    },
}

/// What is done about a connection to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceVerdict {
    /// Allowed, because every backend is the pod's own node.
    Node,
    /// Allowed, because no policy isolates the pod for egress.
    NotIsolated,
    /// Allowed by these rules.
    Allowed(RuleSet),
    /// Denied: no backend is allowed, or there is none.
    Denied(RuleSet),
    /// It passes, and the hook of the backend that it gets to decides. These rules allow some of the backends.
    Deferred(RuleSet),
    /// Denied, because some backend is not allowed and nobody could tell which one the connection got to.
    MixedDenied(RuleSet),
}

/// What is known of the backend when a connection to a Service is decided: the column `nat_resolution`, in which `exact` is
/// said only where the backend itself was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// There is no backend.
    None,
    /// The decision is right for each of the backends.
    AllBackends,
    /// The decision is right for some of the backends.
    Mixed,
}

/// Decides a connection of the subject to a Service's frontend; `None` where this is no Service's.
///
/// Frontends are each of a Service's addresses with each of its ports, and each address of the subject's node with each
/// node port (that node translates these before the packet leaves it; a node port on another node's address is
/// just that node's address). Where two Services have the same, which the API calls unsupported, the first by name has it.
pub fn evaluate_service<'a>(
    cluster: &'a Cluster,
    subject: &Subject<'_>,
    address: IpAddr,
    protocol: u8,
    port: Option<u16>,
) -> Option<ServiceEvaluation<'a>> {
    let port = port?;
    let (service, service_port, route) = cluster.services.iter().find_map(|service| {
        service.ports.iter().filter(|service_port| service_port.protocol.number() == protocol).find_map(
            |service_port| Some((service, service_port, route(service, service_port, subject, address, port)?)),
        )
    })?;
    let only_local = route == Route::Internal && service.internal_traffic_local;
    let backends: BTreeMap<Backend, Evaluation> =
        backends(cluster, subject, service, service_port, address, only_local)
            .into_iter()
            .map(|backend| {
                let port = Some(backend.port);
                (backend, evaluate(cluster, subject, Direction::Egress, backend.address, protocol, port))
            })
            .collect();
    let isolating = super::isolating_set(cluster, subject.pod, Direction::Egress);
    let outcome = outcome(&backends, isolating);
    Some(ServiceEvaluation { service, keeps_source: route == Route::Internal, backends, outcome })
}

impl ServiceEvaluation<'_> {
    /// What is done about it. `decides` says whether the hook of a backend's own endpoint will be able to decide: it is on
    /// this node, with a known pod, and can tell through which frontend a packet came.
    pub fn verdict(&self, decides: impl Fn(&Backend) -> bool) -> ServiceVerdict {
        match self.outcome.clone() {
            ServiceOutcome::Node => ServiceVerdict::Node,
            ServiceOutcome::NotIsolated => ServiceVerdict::NotIsolated,
            ServiceOutcome::Allowed(rules) => ServiceVerdict::Allowed(rules),
            ServiceOutcome::Denied(isolating) => ServiceVerdict::Denied(isolating),
            ServiceOutcome::Mixed { allowing, isolating } => {
                let mut denied =
                    self.backends.iter().filter(|(_, evaluation)| matches!(evaluation, Evaluation::Denied(_)));
                if self.keeps_source && denied.all(|(backend, _)| decides(backend)) {
                    ServiceVerdict::Deferred(allowing)
                } else {
                    ServiceVerdict::MixedDenied(isolating)
                }
            }
        }
    }

    /// What is known of the backend with that.
    pub fn resolution(&self) -> Resolution {
        match &self.outcome {
            _ if self.backends.is_empty() => Resolution::None,
            ServiceOutcome::Mixed { .. } => Resolution::Mixed,
            _ => Resolution::AllBackends,
        }
    }
}

fn outcome(backends: &BTreeMap<Backend, Evaluation>, isolating: RuleSet) -> ServiceOutcome {
    if !backends.is_empty() && backends.values().all(|evaluation| *evaluation == Evaluation::Node) {
        return ServiceOutcome::Node;
    }
    if isolating.is_empty() {
        return ServiceOutcome::NotIsolated;
    }
    let denied = backends.values().filter(|evaluation| matches!(evaluation, Evaluation::Denied(_))).count();
    if denied == backends.len() {
        return ServiceOutcome::Denied(isolating);
    }
    let allowing = backends.values().filter_map(|evaluation| match evaluation {
        Evaluation::Allowed(rules) => Some(rules),
        _ => None,
    });
    let allowing: RuleSet = allowing.flat_map(RuleSet::iter).cloned().collect();
    if denied == 0 { ServiceOutcome::Allowed(allowing) } else { ServiceOutcome::Mixed { allowing, isolating } }
}

/// Which way a connection takes to the backends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    /// Through a cluster address, where `internalTrafficPolicy` holds.
    Internal,
    /// Through another address or a node port.
    External,
}

fn route(service: &Service, port: &ServicePort, subject: &Subject<'_>, address: IpAddr, number: u16) -> Option<Route> {
    if port.port.get() == number && service.cluster_addresses.contains(&address) {
        return Some(Route::Internal);
    }
    let external = port.port.get() == number && service.external_addresses.contains(&address);
    let on_node = port.node_port.is_some_and(|port| port.get() == number) && subject.node_addresses.contains(&address);
    ((external || on_node) && service.serves_family_of(address)).then_some(Route::External)
}

/// The backends of the address's family: those that are ready, and where there is none, those that are terminating and serve
/// still (KEP-1669). With `only_local` those of other nodes do not count, neither the ones nor the others.
///
/// Topology hints are left out of account: they make a choice among the backends, and what holds for all holds for those.
fn backends(
    cluster: &Cluster,
    subject: &Subject<'_>,
    service: &Service,
    port: &ServicePort,
    frontend: IpAddr,
    only_local: bool,
) -> Vec<Backend> {
    let of_service = |slice: &&EndpointSlice| {
        slice.name.namespace() == service.name.namespace() && slice.service.as_deref() == Some(service.name.name())
    };
    let mut ready = Vec::new();
    let mut terminating = Vec::new();
    for slice in cluster.endpoint_slices.iter().filter(of_service) {
        for target in slice.ports.iter().filter(|target| target.name == port.name && target.protocol == port.protocol) {
            for endpoint in &slice.endpoints {
                let is_elsewhere = endpoint.node.is_none() || endpoint.node != subject.pod.node;
                if only_local && is_elsewhere || endpoint.address.is_ipv4() != frontend.is_ipv4() {
                    continue;
                }
                let backend = Backend { address: endpoint.address, protocol: port.protocol, port: target.port.get() };
                if endpoint.ready {
                    ready.push(backend);
                } else if endpoint.serving && endpoint.terminating {
                    terminating.push(backend);
                }
            }
        }
    }
    if ready.is_empty() { terminating } else { ready }
}
