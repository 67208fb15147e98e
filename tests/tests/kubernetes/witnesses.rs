//! The records that there must be: what each node's part says of a probe, by the slow evaluator over the cluster's objects.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use podwitness_manifests::{assemble, read_documents};
use podwitness_policy::{Protocol, WitnessMode};
use podwitness_tests::oracle::{Decision, Expected, Oracle};
use podwitness_wire::Direction;

use crate::cluster::{Cluster, NODES};

const KINDS: &str = "namespaces,pods,networkpolicies,services,endpointslices.discovery.k8s.io,nodes,audittrails";

/// One oracle for each node.
pub(crate) struct Witnesses(Vec<Oracle>);

impl Witnesses {
    /// Of the cluster as it stands now, with this mode for all nodes.
    pub(crate) fn of(cluster: &Cluster, mode: WitnessMode) -> Result<Self> {
        let objects = cluster.kubectl(&["get", KINDS, "-A", "-o", "json"])?;
        let read = read_documents(&objects, "kubectl get").objects;
        let oracles = NODES.iter().map(|node| {
            let (model, _) = assemble(read.clone());
            let found = model.nodes.get(*node).with_context(|| format!("there is no {node}"))?;
            let addresses: Vec<IpAddr> = found.addresses.clone();
            Ok(Oracle::new(model, node, &addresses, 0)?.in_mode(mode))
        });
        Ok(Self(oracles.collect::<Result<_>>()?))
    }

    /// What must come of a probe. Ports of sources are not known, and revisions differ between nodes: both are left out.
    pub(crate) fn expect(&self, protocol: Protocol, local: IpAddr, remote: SocketAddr) -> Expected {
        let sides = self.0.iter().flat_map(|oracle| oracle.sides(protocol, SocketAddr::new(local, 0), remote));
        let mut sides: Vec<Decision> = sides.collect();
        // The pod that it leaves comes first, on whichever node it is.
        sides.sort_by_key(|decision| decision.direction.as_deref() != Some(Direction::Egress.name()));
        let mut expected = Oracle::until_denied(sides);
        expected.decisions = expected.decisions.into_iter().map(comparable).collect();
        expected
    }
}

/// Without what the two sides of a comparison cannot both know.
pub(crate) fn comparable(mut decision: Decision) -> Decision {
    decision.src.port = None;
    decision.policy_revision = None;
    decision.policy_sha256 = None;
    decision
}
