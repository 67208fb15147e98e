//! What kube-proxy does on a node, from the same Service and `EndpointSlice` objects that the agent reads.

mod objects;
mod rules;

use std::sync::Arc;

use crate::error::LabError;
use crate::lab::{Inner, Lab};
use crate::nft;

/// The Services of a lab's node: destination NAT in the node's network namespace, by rules of nftables that are made as those of
/// kube-proxy are.
///
/// - A `clusterIP` goes to one of the ready backends, chosen at random for each connection, or is refused (port unreachable)
///   where there is none. With `internalTrafficPolicy: Local`, only backends of this node count, and packets are dropped where
///   all are elsewhere.
/// - A `nodePort` on the node's addresses, an `externalIPs` and a load balancer's address go the same way, and leave the node
///   from the node's own address. With `externalTrafficPolicy: Local` they go to backends of this node alone and keep
///   the address they came from; with none of these here they are dropped.
/// - A backend that is sent to itself (hairpin) sees the node's address.
///
/// A connection keeps the backend that it was given, whatever changes afterwards; that holds for UDP too, where kube-proxy
/// would forget a backend that is gone. There is no session affinity, no fallback to backends that are terminating, and no way
/// to a Service from the node itself, which in the lab has no route to it.
#[derive(Debug)]
pub struct Services {
    lab: Arc<Inner>,
}

impl Lab {
    /// The Services of the lab's node. Nothing is translated before the first [`Services::sync`].
    pub fn services(&self) -> Services {
        Services { lab: Arc::clone(&self.inner) }
    }
}

impl Services {
    /// Reads the Service and `EndpointSlice` objects that are in the cluster's folder now, and puts them in force in one step.
    pub fn sync(&self) -> Result<(), LabError> {
        let node = &self.lab.node;
        let services = objects::read(&self.lab.folder.cluster_path(), node.name())?;
        nft::apply(node.netns(), &rules::ruleset(&services, node.addresses()))
    }
}
