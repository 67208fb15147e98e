//! A cluster that is followed: what one compilation has made serves the next.
//!
//! Of ten thousand pods and a thousand policies few change at a time, and most policies select nothing on this node. So
//! what changed is found first, and then what depends on it is made anew: the entries of the addresses of these pods, the
//! classes of peers that these rules could match ([`classes`](super::classes)), the Services that have such backends.
//! What depends on no more than the node's own endpoints is made anew whole.
//!
//! Where that cannot be told (nodes changed, several pods have one address), peers are made from nothing. Both ways lead
//! to the same tables but for the numbers of classes and subjects, which mean nothing in themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use podwitness_sorted::Difference;

use super::classes::Question;
use super::peers::{Addresses, Peers};
use super::ports::RuleSets;
use super::services::{self, Services};
use super::subjects::Subjects;
use super::{Endpoint, Input, endpoints, port_entries};
use crate::model::{Cluster, EndpointSlice, ObjectName, Pod};
use crate::tables::{EndpointTable, PortEntry, Tables};

/// Compiles one cluster after the other for a node.
#[derive(Default)]
pub struct Compiler {
    last: Option<Last>,
    whole: Whole,
    /// How often peers were made from nothing.
    #[cfg(test)]
    pub(crate) begun_anew: usize,
}

/// What may differ between the tables of two compilations, and in what the pods are that stand in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is about a table of its own")]
pub struct Changed {
    /// The entries of these networks, in [`Tables::addresses`] or no longer there, and their pods.
    pub addresses: BTreeSet<IpNet>,
    /// Whether [`Tables::endpoints`], or their pods.
    pub endpoints: bool,
    /// Whether [`Tables::ports`].
    pub ports: bool,
    /// Whether [`Tables::services`].
    pub services: bool,
    /// Whether [`Tables::backends`].
    pub backends: bool,
}

/// Of what the last compilation was.
struct Last {
    cluster: Arc<Cluster>,
    node: String,
    node_addresses: Vec<IpAddr>,
    endpoints: Vec<Endpoint>,
}

impl Compiler {
    /// What [`compile`](super::compile) makes of the cluster, but for the numbers of classes and subjects, and what is new
    /// in it since the last time.
    pub fn compile(
        &mut self,
        cluster: &Arc<Cluster>,
        node: &str,
        node_addresses: &[IpAddr],
        endpoints: &[Endpoint],
    ) -> (&Tables, Changed) {
        let input = Input { cluster, node, node_addresses, endpoints };
        let last = self.last.take();
        let before = last.as_ref().map(|last| Input {
            cluster: &last.cluster,
            node: &last.node,
            node_addresses: &last.node_addresses,
            endpoints: &last.endpoints,
        });
        let followed = before.and_then(|before| self.whole.follow(&before, &input));
        let changed = followed.unwrap_or_else(|| {
            #[cfg(test)]
            (self.begun_anew += 1);
            self.whole.begin_anew(before.map(|before| before.cluster), &input)
        });
        self.last = Some(Last {
            cluster: Arc::clone(cluster),
            node: node.to_owned(),
            node_addresses: node_addresses.to_owned(),
            endpoints: endpoints.to_owned(),
        });
        (&self.whole.tables, changed)
    }
}

/// Tables, and what they were made by.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) tables: Tables,
    subjects: Subjects,
    peers: Peers,
    rule_sets: RuleSets,
    services: Services,
}

/// What is to be made anew.
struct Stale<'a> {
    endpoints: bool,
    ports: bool,
    services: services::Stale<'a>,
}

impl Whole {
    /// Makes all of it anew. What was there serves for numbers alone.
    pub(super) fn begin_anew(&mut self, before: Option<&Cluster>, input: &Input<'_>) -> Changed {
        self.subjects = Subjects::of(input, &self.subjects);
        let had = mem::take(&mut self.tables.addresses);
        let (peers, addresses) = Peers::of(input, &self.subjects.rules, &self.peers, &had);
        self.peers = peers;
        self.services.forget();
        let mut differing = differing(&had, &addresses);
        self.tables.addresses = addresses;
        if let Some(before) = before {
            differing.extend(nets_of(&before.pods.differences(&input.cluster.pods).collect::<Vec<_>>()));
        }
        let services = services::Stale { everything: true, ..services::Stale::default() };
        let changed = self.renew(input, &Stale { endpoints: true, ports: true, services });
        Changed { addresses: &changed.addresses | &differing, endpoints: true, ..changed }
    }

    /// Makes anew what depends on what has changed. `None` where that cannot be told: then nothing was made.
    fn follow(&mut self, before: &Input<'_>, input: &Input<'_>) -> Option<Changed> {
        let (then, now) = (before.cluster, input.cluster);
        if before.node != input.node || before.node_addresses != input.node_addresses || then.nodes != now.nodes {
            return None;
        }
        let pods: Vec<_> = then.pods.differences(&now.pods).collect();
        if !self.peers.can_follow(&self.tables.addresses, &pods) {
            return None;
        }
        let addresses = &mut self.tables.addresses;
        let mut moved = self.peers.follow_pods(addresses, then, &pods);

        let of_endpoints: BTreeSet<&ObjectName> =
            input.endpoints.iter().filter_map(|endpoint| endpoint.pod.as_ref()).collect();
        let has_other_pods = pods.iter().flat_map(Difference::both).any(|pod| of_endpoints.contains(&pod.name));
        let has_other_endpoints = has_other_pods || before.endpoints != input.endpoints;
        let mut stale = Stale {
            endpoints: has_other_endpoints || then.trails != now.trails,
            ports: false,
            services: services::Stale::default(),
        };
        let mut question = Question::default();
        if has_other_endpoints || then.policies != now.policies {
            let subjects = Subjects::of(input, &self.subjects);
            moved.extend(self.peers.follow_blocks(addresses, now, &subjects.rules));
            let blocks = &self.peers.classes.blocks;
            question = Question::of_rules(now, &self.subjects.rules, &subjects.rules, blocks);
            stale.ports = subjects.all != self.subjects.all;
            stale.endpoints |= subjects.sides != self.subjects.sides;
            self.subjects = subjects;
        }
        for namespace in then.namespaces.differences(&now.namespaces).flat_map(|difference| difference.both()) {
            question.add_namespace(&namespace.name);
        }
        let settled = self.peers.classes.settle(now, &self.subjects.rules, &question, addresses);
        moved.extend(settled.moved);
        stale.ports |= settled.has_other_classes;

        let slices = then.endpoint_slices.differences(&now.endpoint_slices).flat_map(|difference| difference.both());
        stale.services = services::Stale {
            everything: false,
            services: then.services != now.services,
            slices_of: slices.filter_map(|slice| service_of(slice)).collect(),
            addresses: Some(&moved),
        };
        let mut changed = self.renew(input, &stale);
        changed.addresses.extend(nets_of(&pods));
        changed.addresses.extend(&moved);
        changed.endpoints |= has_other_pods;
        Some(changed)
    }

    /// Makes anew what stands on peers and subjects.
    fn renew(&mut self, input: &Input<'_>, stale: &Stale<'_>) -> Changed {
        let Self { tables, subjects, peers, rule_sets, services } = self;
        let mut changed = Changed::default();
        if stale.endpoints {
            let endpoints = endpoints(input, subjects);
            changed.addresses.extend(nets_of_differing(&tables.endpoints, &endpoints));
            changed.endpoints = endpoints != tables.endpoints;
            tables.endpoints = endpoints;
        }
        let mut had = None;
        if stale.ports {
            peers.classes.forget_empty();
            let ports = port_entries(subjects, &peers.classes, rule_sets);
            had = Some(mem::replace(&mut tables.ports, ports));
        }
        let own_classes = services.own_classes();
        let is_policy_stale = stale.endpoints || stale.ports;
        let renewed = services.renew(input, tables, &stale.services, is_policy_stale, &mut peers.classes.free);
        changed.services = renewed.services;
        changed.backends = renewed.backends;
        if had.is_some() || renewed.has_own {
            let others = |entry: &&PortEntry| had.is_some() || !own_classes.contains(&entry.class);
            let mut ports: Vec<PortEntry> = tables.ports.iter().filter(others).cloned().collect();
            ports.extend(services.own_entries(tables));
            ports.sort_by_key(PortEntry::key);
            changed.ports = *had.as_ref().unwrap_or(&tables.ports) != ports;
            tables.ports = ports;
        }
        changed
    }
}

/// The entries that differ.
fn differing(before: &Addresses, after: &Addresses) -> BTreeSet<IpNet> {
    let mut differing: BTreeSet<IpNet> =
        after.iter().filter(|(net, now)| before.get(net) != Some(*now)).map(|(net, _)| *net).collect();
    differing.extend(before.keys().filter(|net| !after.contains_key(net)));
    differing
}

/// The addresses of endpoints that differ.
fn nets_of_differing(before: &BTreeMap<u32, EndpointTable>, after: &BTreeMap<u32, EndpointTable>) -> BTreeSet<IpNet> {
    let differs = |interface: &&u32| before.get(interface) != after.get(interface);
    let interfaces = before.keys().chain(after.keys()).filter(differs);
    let tables = interfaces.flat_map(|interface| before.get(interface).into_iter().chain(after.get(interface)));
    tables.flat_map(|endpoint| endpoint.addresses.iter().copied().map(IpNet::from)).collect()
}

fn nets_of(pods: &[Difference<&Arc<Pod>>]) -> BTreeSet<IpNet> {
    let pods = pods.iter().flat_map(Difference::both);
    pods.flat_map(|pod| pod.addresses.iter().map(IpNet::from)).collect()
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectName> {
    Some(ObjectName::new(slice.name.namespace(), slice.service.as_ref()?))
}
