//! Who has which address, and of which class it is.
//!
//! All of it is made from nothing when nodes change, and where several have one address; else it follows the pods that
//! came, went or changed, and the blocks of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use podwitness_sorted::Difference;

use super::Input;
use super::classes::{Classes, Question};
use super::subjects::Rules;
use crate::model::{Cluster, NodeName, ObjectName, Pod, claims, newest};
use crate::tables::{Address, IdentityRef};

/// An entry for each network that the kernel must know.
pub(super) type Addresses = BTreeMap<IpNet, Address>;

/// The peers of a node's endpoints, beside the entries that there are for them.
#[derive(Default)]
pub(super) struct Peers {
    pub(super) classes: Classes,
    /// The addresses whose entries depend on more than the one pod that has them, blocks aside.
    entangled: BTreeSet<IpAddr>,
    /// The pods that have an address of which something else is said.
    hidden: BTreeMap<IpAddr, ObjectName>,
    /// The networks that have an entry for a block's sake alone.
    inherited: BTreeSet<IpNet>,
}

impl Peers {
    /// The peers of the input. Classes are numbered as those that these and the entries before had, as far as that is
    /// possible.
    pub(super) fn of(input: &Input<'_>, rules: &Rules, before: &Self, had: &Addresses) -> (Self, Addresses) {
        let claims = claims(&input.cluster.pods);
        let mut peers = Self::default();
        let shared = claims.iter().filter(|(_, claimants)| claimants.len() > 1).map(|(address, _)| *address);
        peers.entangled = shared.chain(hosts(input)).collect();
        let owners: BTreeMap<IpAddr, Option<&Arc<Pod>>> =
            claims.into_iter().map(|(address, claimants)| (address, newest(claimants))).collect();
        peers.classes = Classes::with_numbers_of(&before.classes);
        let blocks = &mut peers.classes.blocks;
        blocks.change(blocks.difference(rules));

        let mut identities = identities(input, &owners);
        for net in peers.classes.blocks.nets() {
            if !identities.contains_key(&net) {
                peers.inherited.insert(net);
            }
        }
        let inherited: Vec<_> =
            peers.inherited.iter().map(|net| (*net, around(*net, |net| identities.get(net)))).collect();
        identities.extend(inherited);
        // Together, in their order: so the nodes of the tree are full.
        let entries = identities.into_iter().map(|(net, identity)| {
            let owner = owner_of(net, &owners);
            if let Some(pod) = owner.filter(|pod| !is_pod(&identity, &pod.name)) {
                peers.hidden.insert(net.addr(), pod.name.clone());
            }
            let class = had.get(&net).map_or(0, |had| had.class);
            let mut address = Address { class, identity };
            peers.classes.put(net, owner, &mut address);
            (net, address)
        });
        let mut addresses: Addresses = entries.collect();
        peers.classes.settle(input.cluster, rules, &Question::default(), &mut addresses);
        (peers, addresses)
    }

    /// Whether these changes of pods can be followed: every address in question was and is of one of these pods alone.
    pub(super) fn can_follow(&self, addresses: &Addresses, pods: &[Difference<&Arc<Pod>>]) -> bool {
        let changed: BTreeSet<&ObjectName> = pods.iter().flat_map(Difference::both).map(|pod| &pod.name).collect();
        let mut owners: BTreeMap<IpAddr, &ObjectName> = BTreeMap::new();
        for (address, pod) in on_network(pods.iter().filter_map(|pod| pod.after())) {
            if owners.insert(address, &pod.name).is_some_and(|other| *other != pod.name) {
                return false;
            }
        }
        on_network(pods.iter().flat_map(Difference::both)).all(|(address, _)| {
            let net = IpNet::from(address);
            let is_of_changed = match addresses.get(&net).map(|before| &before.identity) {
                None => true,
                Some(IdentityRef::Pod(name)) => changed.contains(name),
                Some(_) => false,
            };
            is_of_changed && !self.entangled.contains(&address) && !self.classes.blocks.have(net)
        })
    }

    /// Gives addresses to the pods that have them now, where that [can be followed](Self::can_follow). Returns the entries
    /// that are of another class or new or gone.
    pub(super) fn follow_pods(
        &mut self,
        addresses: &mut Addresses,
        before: &Cluster,
        pods: &[Difference<&Arc<Pod>>],
    ) -> BTreeSet<IpNet> {
        let owners: BTreeMap<IpAddr, &Arc<Pod>> = on_network(pods.iter().filter_map(|pod| pod.after())).collect();
        let all: BTreeSet<IpAddr> =
            on_network(pods.iter().flat_map(Difference::both)).map(|(address, _)| address).collect();
        let mut moved = BTreeSet::new();
        for address in all {
            let net = IpNet::from(address);
            let had = addresses.remove(&net);
            if let Some(had) = &had {
                self.classes.take(net, self.owner(net, &had.identity, before));
            }
            let class = had.map(|had| had.class);
            let now = owners.get(&address).map(|pod| {
                let identity = IdentityRef::Pod(pod.name.clone());
                let mut address = Address { class: class.unwrap_or(0), identity };
                self.classes.put(net, Some(pod), &mut address);
                address
            });
            if class != now.as_ref().map(|now| now.class) {
                moved.insert(net);
            }
            addresses.extend(now.map(|now| (net, now)));
        }
        moved
    }

    /// Has the entries be as the blocks of these rules ask. Returns those that are of another class or new or gone.
    pub(super) fn follow_blocks(
        &mut self,
        addresses: &mut Addresses,
        cluster: &Cluster,
        rules: &Rules,
    ) -> BTreeSet<IpNet> {
        let difference = self.classes.blocks.difference(rules);
        let mut moved = BTreeSet::new();
        if !difference.has_others() {
            self.classes.blocks.change(difference);
            return moved;
        }
        let nets: BTreeSet<IpNet> = difference.nets().collect();
        let mut touched = difference.touched(addresses);
        touched.extend(nets.iter().filter(|net| addresses.contains_key(net)));
        for net in &touched {
            let owner = self.owner(*net, &addresses[net].identity, cluster);
            self.classes.take(*net, owner);
        }
        self.classes.blocks.change(difference);
        for net in nets {
            let (is_wanted, is_there) = (self.classes.blocks.have(net), addresses.contains_key(&net));
            if is_wanted && !is_there {
                let identity = around(net, |net| addresses.get(net).map(|address| &address.identity));
                addresses.insert(net, Address { class: 0, identity });
                self.inherited.insert(net);
                moved.insert(net);
                touched.insert(net);
            } else if !is_wanted && self.inherited.remove(&net) {
                addresses.remove(&net);
                moved.insert(net);
                touched.remove(&net);
            }
        }
        for net in touched {
            let identity = &addresses[&net].identity;
            let owner = self.owner(net, identity, cluster).cloned();
            let address = addresses.get_mut(&net).expect("it was just there");
            let class = address.class;
            self.classes.put(net, owner.as_ref(), address);
            if address.class != class {
                moved.insert(net);
            }
        }
        moved
    }

    /// The pod that has an address of which it is said who has it.
    fn owner<'a>(&self, net: IpNet, identity: &IdentityRef, cluster: &'a Cluster) -> Option<&'a Arc<Pod>> {
        let name = match identity {
            IdentityRef::Pod(name) => Some(name),
            _ if self.hidden.is_empty() || net.prefix_len() != net.max_prefix_len() => None,
            _ => self.hidden.get(&net.addr()),
        };
        cluster.pods.shared(name?)
    }
}

/// The addresses of pods that have some of their own.
fn on_network<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> impl Iterator<Item = (IpAddr, &'a Arc<Pod>)> {
    let pods = pods.filter(|pod| pod.is_on_pod_network());
    pods.flat_map(|pod| pod.addresses.iter().map(move |address| (address, pod)))
}

/// The single addresses that something else than a pod or a block gives an entry.
fn hosts(input: &Input<'_>) -> impl Iterator<Item = IpAddr> {
    let nodes = input.cluster.nodes.iter();
    let of_nodes = nodes.clone().flat_map(|node| &node.addresses).chain(input.node_addresses).copied();
    let nets = nodes.flat_map(|node| node.pod_cidrs.iter().copied());
    of_nodes.chain(nets.filter(|net| net.prefix_len() == net.max_prefix_len()).map(|net| net.addr()))
}

fn owner_of<'a>(net: IpNet, owners: &BTreeMap<IpAddr, Option<&'a Arc<Pod>>>) -> Option<&'a Arc<Pod>> {
    if net.prefix_len() == net.max_prefix_len() { owners.get(&net.addr()).copied().flatten() } else { None }
}

fn is_pod(identity: &IdentityRef, pod: &ObjectName) -> bool {
    matches!(identity, IdentityRef::Pod(name) if name == pod)
}

/// Each prefix that has an owner of its own, with who it belongs to.
fn identities(input: &Input<'_>, owners: &BTreeMap<IpAddr, Option<&Arc<Pod>>>) -> BTreeMap<IpNet, IdentityRef> {
    let mut identities: BTreeMap<IpNet, IdentityRef> = BTreeMap::new();
    // Each may replace those before: a host's address says more than a range, a pod's more than a node's.
    for node in input.cluster.nodes.iter() {
        identities.extend(node.pod_cidrs.iter().map(|cidr| (cidr.trunc(), IdentityRef::PodRange)));
    }
    for node in input.cluster.nodes.iter() {
        let name = NodeName::from(node.name.as_str());
        for address in &node.addresses {
            identities.insert(IpNet::from(*address), IdentityRef::Node(name.clone()));
        }
    }
    for (address, owner) in owners {
        let identity = owner.map_or(IdentityRef::PodRange, |pod| IdentityRef::Pod(pod.name.clone()));
        identities.insert(IpNet::from(*address), identity);
    }
    for address in input.node_addresses {
        identities.insert(IpNet::from(*address), IdentityRef::LocalNode);
    }
    identities
}

/// Whom a block's own network belongs to: it says nothing about who is there, and takes over what the network around it
/// says.
fn around<'a>(net: IpNet, known: impl Fn(&IpNet) -> Option<&'a IdentityRef>) -> IdentityRef {
    let around = std::iter::successors(net.supernet(), IpNet::supernet).find_map(|net| known(&net));
    around.cloned().unwrap_or(IdentityRef::External)
}
