//! Who has an address that several pods claim.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Cluster, Objects, Pod};

impl Cluster {
    /// The pod that a packet's address stands for: the newest claim wins.
    ///
    /// While an address moves from one pod to another, both objects may claim it for a while. Of the pods on the pod network
    /// that do, one that is not being deleted beats one that is, and then one that was created later beats one that was
    /// created earlier. Only where neither tells them apart is the address nobody's: no selector matches it.
    pub fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        newest(self.claimants(address)).map(Arc::as_ref)
    }

    fn claimants(&self, address: IpAddr) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.shared_iter().filter(move |pod| pod.is_on_pod_network() && pod.addresses.contains(address))
    }
}

/// The pods of one node, while a cluster is followed.
#[derive(Debug)]
pub struct PodsOfNode {
    node: String,
    /// Of all nodes, as they were the last time.
    all: Objects<Pod>,
    own: Objects<Pod>,
}

impl PodsOfNode {
    /// Of this node; there are none before a cluster was followed.
    pub fn new(node: impl Into<String>) -> Self {
        Self { node: node.into(), all: Objects::default(), own: Objects::default() }
    }

    /// The pods of the node in a cluster by the addresses that they have there; none where a claim cannot be told from another. A
    /// claim of a pod elsewhere says nothing about an interface that is seen on this node, so that it cannot make its pod
    /// unknown.
    pub fn follow(&mut self, cluster: &Cluster) -> BTreeMap<IpAddr, Option<&Pod>> {
        for difference in self.all.differences(&cluster.pods) {
            let is_own = |pod: &&Arc<Pod>| pod.node.as_deref() == Some(&*self.node);
            match (difference.before(), difference.after().filter(is_own)) {
                (_, Some(now)) => self.own.insert(Arc::clone(now)),
                (Some(before), None) => _ = self.own.remove(&before.name),
                (None, None) => {}
            }
        }
        self.all = cluster.pods.clone();
        claims(&self.own)
            .into_iter()
            .map(|(address, claimants)| (address, newest(claimants).map(Arc::as_ref)))
            .collect()
    }
}

/// Every address that those of these pods claim that are on the pod network, with all that do.
pub(crate) fn claims(pods: &Objects<Pod>) -> BTreeMap<IpAddr, Vec<&Arc<Pod>>> {
    let mut claims: BTreeMap<IpAddr, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in pods.shared_iter().filter(|pod| pod.is_on_pod_network()) {
        for address in pod.addresses.iter() {
            let claimants = claims.entry(address).or_default();
            // A pod that lists an address twice claims it once.
            if claimants.last().is_none_or(|last| last.name != pod.name) {
                claimants.push(pod);
            }
        }
    }
    claims
}

/// The claim that stands, if there is one that does.
pub(crate) fn newest<'a>(claimants: impl IntoIterator<Item = &'a Arc<Pod>>) -> Option<&'a Arc<Pod>> {
    let mut candidates: Vec<&Arc<Pod>> = claimants.into_iter().collect();
    if candidates.iter().any(|pod| !pod.is_being_deleted) {
        candidates.retain(|pod| !pod.is_being_deleted);
    }
    if let [only] = candidates.as_slice() {
        return Some(only);
    }
    // One whose time is not known may be older or newer than each of the others.
    if candidates.iter().any(|pod| pod.created.is_none()) {
        return None;
    }
    let latest = candidates.iter().map(|pod| pod.created).max()?;
    candidates.retain(|pod| pod.created == latest);
    match candidates.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}
