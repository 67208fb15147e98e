//! From documents to a cluster.

use std::collections::BTreeMap;

use podwitness_policy::Cluster;

use crate::fault::{Effect, Fault, Mistake, Place, Problem};
use crate::object::{Document, Object, ObjectKey};

/// Puts objects together to a cluster. Where two are the same object (kind, namespace and name), the first one stands, and
/// the other is a fault.
pub fn assemble(documents: impl IntoIterator<Item = Document>) -> (Cluster, Vec<Fault>) {
    let mut cluster = Cluster::default();
    let mut places: BTreeMap<ObjectKey, Place> = BTreeMap::new();
    let mut faults = Vec::new();
    for Document { place, object } in documents {
        let key = object.key();
        if let Some(first) = places.get(&key) {
            let mistake = Mistake::Duplicate(first.clone());
            let problem = Problem { path: String::new(), mistake, effect: Effect::LeftOut };
            faults.push(Fault { place, object: Some(key), problem });
            continue;
        }
        places.insert(key, place);
        match object {
            Object::Namespace(namespace) => cluster.namespaces.insert(namespace),
            Object::Pod(pod) => cluster.pods.insert(pod),
            Object::NetworkPolicy(policy) => cluster.policies.insert(policy),
            Object::Node(node) => cluster.nodes.insert(node),
            Object::Service(service) => cluster.services.insert(service),
            Object::EndpointSlice(slice) => cluster.endpoint_slices.insert(slice),
            Object::AuditTrail(trail) => cluster.trails.insert(trail),
        }
    }
    (cluster, faults)
}
