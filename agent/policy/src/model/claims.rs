//! Who has an address that several pods claim.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Cluster, Pod};

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

    /// The pods of a node by the addresses that they have there; none where a claim cannot be told from another. A claim of a
    /// pod elsewhere says nothing about an interface that is seen on this node, so that it cannot make its pod unknown.
    pub fn pods_on(&self, node: &str) -> BTreeMap<IpAddr, Option<&Pod>> {
        let of_node = self.claims(|pod| pod.node.as_deref() == Some(node));
        of_node.into_iter().map(|(address, claimants)| (address, newest(claimants).map(Arc::as_ref))).collect()
    }

    /// Every address that pods on the pod network claim, of those that `counts` says count, with all that do.
    pub(crate) fn claims(&self, counts: impl Fn(&Pod) -> bool) -> BTreeMap<IpAddr, Vec<&Arc<Pod>>> {
        let mut claims: BTreeMap<IpAddr, Vec<&Arc<Pod>>> = BTreeMap::new();
        for pod in self.pods.shared_iter().filter(|pod| counts(pod) && pod.is_on_pod_network()) {
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
