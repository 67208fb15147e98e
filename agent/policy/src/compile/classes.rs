//! Who has which address, and which peers the rules of this node can tell apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use podwitness_wire::Direction;

use super::Input;
use super::subjects::LocalRule;
use crate::model::{Cluster, IpBlock, LabelSelector, NamedPort, Peer, Peers, Pod, newest};
use crate::tables::{Address, IdentityRef};

/// All that the rules of this node can see of a peer. The default is a peer of class 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Profile<'a> {
    /// The rules that match it, those for everybody left out.
    pub(super) rules: BTreeSet<usize>,
    /// Its named ports that an egress rule which matches it, or is for everybody, refers to.
    pub(super) named_ports: BTreeSet<&'a NamedPort>,
}

impl Profile<'_> {
    /// The same, in a form that can be kept.
    pub(super) fn into_owned(self) -> (BTreeSet<usize>, BTreeSet<NamedPort>) {
        (self.rules, self.named_ports.into_iter().cloned().collect())
    }
}

/// The peers of a node's endpoints.
pub(super) struct Classes<'a> {
    pub(super) addresses: BTreeMap<IpNet, Address>,
    /// The profile of each class from 1 on.
    pub(super) profiles: Vec<Profile<'a>>,
    /// The addresses whose entries depend on more than the one pod that has them.
    pub(super) entangled: BTreeSet<IpAddr>,
}

impl<'a> Classes<'a> {
    pub(super) fn of(input: &Input<'a>, rules: &[LocalRule<'a>]) -> Self {
        let claims = input.cluster.claims(|_| true);
        let mut entangled: BTreeSet<IpAddr> =
            claims.iter().filter(|(_, claimants)| claimants.len() > 1).map(|(address, _)| *address).collect();
        let owners: BTreeMap<IpAddr, Option<&Pod>> =
            claims.into_iter().map(|(address, claimants)| (address, newest(claimants))).collect();
        let mut matches = Matches::of(input.cluster, rules);
        entangled.extend(hosts(input, &matches.blocks));

        let mut numbers = BTreeMap::from([(Profile::default(), 0)]);
        let mut profiles = Vec::new();
        let addresses = identities(input, &owners, &matches.blocks)
            .into_iter()
            .map(|(net, identity)| {
                let profile = matches.profile(net, owner_of(net, &owners));
                let next = u32::try_from(profiles.len() + 1).expect("there are fewer classes than addresses");
                let class = *numbers.entry(profile).or_insert_with_key(|profile| {
                    profiles.push(profile.clone());
                    next
                });
                (net, Address { class, identity })
            })
            .collect();
        Self { addresses, profiles, entangled }
    }
}

/// What the rules of a node match.
pub(super) struct Matches<'a, 'r> {
    rules: &'r [LocalRule<'a>],
    /// The egress rules that refer to a port by a name.
    naming: Vec<usize>,
    pods: PodRules<'a>,
    blocks: BTreeMap<&'a IpBlock, BTreeSet<usize>>,
}

impl<'a, 'r> Matches<'a, 'r> {
    pub(super) fn of(cluster: &'a Cluster, rules: &'r [LocalRule<'a>]) -> Self {
        let naming = |rule: &LocalRule<'_>| rule.direction == Direction::Egress && rule.names_ports();
        let naming = rules.iter().enumerate().filter(|(_, rule)| naming(rule)).map(|(index, _)| index).collect();
        Self { rules, naming, pods: PodRules::new(cluster, rules), blocks: blocks(rules) }
    }

    /// The profile of a network, or of an address with the pod that has it.
    pub(super) fn profile(&mut self, net: IpNet, owner: Option<&'a Pod>) -> Profile<'a> {
        let blocks = self.blocks.iter().filter(|(block, _)| block.covers(net));
        let mut matching: BTreeSet<usize> = blocks.flat_map(|(_, rules)| rules).copied().collect();
        let Some(pod) = owner else {
            return Profile { rules: matching, named_ports: BTreeSet::new() };
        };
        matching.extend(self.pods.matching(pod));
        let named_ports = pod
            .ports
            .iter()
            .filter(|port| {
                self.naming.iter().any(|index| {
                    let rule = &self.rules[*index];
                    (rule.is_for_everybody() || matching.contains(index)) && rule.names(port)
                })
            })
            .collect();
        Profile { rules: matching, named_ports }
    }
}

/// The single addresses that something else than a pod gives an entry.
fn hosts(input: &Input<'_>, blocks: &BTreeMap<&IpBlock, BTreeSet<usize>>) -> BTreeSet<IpAddr> {
    let nodes = input.cluster.nodes.iter();
    let of_nodes = nodes.clone().flat_map(|node| &node.addresses).chain(input.node_addresses).copied();
    let nets = nodes.flat_map(|node| node.pod_cidrs.iter().copied()).chain(blocks.keys().flat_map(|block| nets(block)));
    of_nodes.chain(nets.filter(|net| net.prefix_len() == net.max_prefix_len()).map(|net| net.addr())).collect()
}

/// The networks that a block is made of.
fn nets(block: &IpBlock) -> impl Iterator<Item = IpNet> {
    block.except().iter().copied().chain([block.cidr()])
}

fn owner_of<'a>(net: IpNet, owners: &BTreeMap<IpAddr, Option<&'a Pod>>) -> Option<&'a Pod> {
    if net.prefix_len() == net.max_prefix_len() { owners.get(&net.addr()).copied().flatten() } else { None }
}

/// Each prefix that the kernel must know, with who it belongs to.
fn identities(
    input: &Input<'_>,
    owners: &BTreeMap<IpAddr, Option<&Pod>>,
    blocks: &BTreeMap<&IpBlock, BTreeSet<usize>>,
) -> BTreeMap<IpNet, IdentityRef> {
    let mut identities: BTreeMap<IpNet, IdentityRef> = BTreeMap::new();
    // Each may replace those before: a host's address says more than a range, a pod's more than a node's.
    for node in input.cluster.nodes.iter() {
        identities.extend(node.pod_cidrs.iter().map(|cidr| (cidr.trunc(), IdentityRef::PodRange)));
    }
    for node in input.cluster.nodes.iter() {
        for address in &node.addresses {
            identities.insert(IpNet::from(*address), IdentityRef::Node(node.name.clone()));
        }
    }
    for (address, owner) in owners {
        let identity = owner.map_or(IdentityRef::PodRange, |pod| IdentityRef::Pod(pod.name.clone()));
        identities.insert(IpNet::from(*address), identity);
    }
    for address in input.node_addresses {
        identities.insert(IpNet::from(*address), IdentityRef::LocalNode);
    }

    // A block's own prefixes say nothing about who is there: they take over what the prefix around them says.
    let nets: BTreeSet<IpNet> = blocks.keys().flat_map(|block| nets(block)).collect();
    let inherited: Vec<(IpNet, IdentityRef)> = nets
        .into_iter()
        .filter(|net| !identities.contains_key(net))
        .map(|net| {
            let around = std::iter::successors(net.supernet(), IpNet::supernet).find_map(|net| identities.get(&net));
            (net, around.cloned().unwrap_or(IdentityRef::External))
        })
        .collect();
    identities.extend(inherited);
    identities
}

/// The `ipBlock`s of the rules, each with the rules that have it.
fn blocks<'a>(rules: &[LocalRule<'a>]) -> BTreeMap<&'a IpBlock, BTreeSet<usize>> {
    let mut blocks: BTreeMap<&IpBlock, BTreeSet<usize>> = BTreeMap::new();
    for (rule, peer) in peers(rules) {
        if let Peer::Block(block) = peer {
            blocks.entry(block).or_default().insert(rule);
        }
    }
    blocks
}

/// Every peer that a rule lists, with the rule.
fn peers<'a>(rules: &[LocalRule<'a>]) -> impl Iterator<Item = (usize, &'a Peer)> {
    let listed = |peers: &'a Peers| match peers {
        Peers::Everybody => [].iter(),
        Peers::Listed(peers) => peers.iter(),
    };
    rules.iter().enumerate().flat_map(move |(index, rule)| listed(rule.peers).map(move |peer| (index, peer)))
}

/// The pods that one selector of a peer is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Scope<'a> {
    Namespace(&'a str),
    Namespaces(&'a LabelSelector),
}

/// All that a selector of the rules can see of a pod: its namespace, and its labels of the keys that one asks for.
type Alike<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Pods that a selector selects, with the rules that have it.
type Selecting<'a> = (&'a LabelSelector, BTreeSet<usize>);

/// Which rules select which pods. Pods alike in namespace and in the labels that a selector asks for are looked at once,
/// and by the selectors alone whose scope has their namespace.
struct PodRules<'a> {
    cluster: &'a Cluster,
    scopes: Vec<(Scope<'a>, Vec<Selecting<'a>>)>,
    /// The places of the scopes that have a namespace.
    scopes_of: BTreeMap<&'a str, Vec<usize>>,
    keys: BTreeSet<&'a str>,
    known: BTreeMap<Alike<'a>, BTreeSet<usize>>,
}

impl<'a> PodRules<'a> {
    fn new(cluster: &'a Cluster, rules: &[LocalRule<'a>]) -> Self {
        let mut selecting: BTreeMap<Scope<'a>, BTreeMap<&'a LabelSelector, BTreeSet<usize>>> = BTreeMap::new();
        for (rule, peer) in peers(rules) {
            if let Peer::Pods { namespaces, pods } = peer {
                let own = &rules[rule].policy.name.namespace;
                let scope = namespaces.as_ref().map_or(Scope::Namespace(own), Scope::Namespaces);
                selecting.entry(scope).or_default().entry(pods).or_default().insert(rule);
            }
        }
        let keys = selecting
            .values()
            .flat_map(BTreeMap::keys)
            .flat_map(|pods| &pods.requirements)
            .map(|requirement| requirement.key.as_str())
            .collect();
        let scopes = selecting.into_iter().map(|(scope, selecting)| (scope, selecting.into_iter().collect())).collect();
        Self { cluster, scopes, scopes_of: BTreeMap::new(), keys, known: BTreeMap::new() }
    }

    /// The rules that a selector of theirs makes match this pod, which must be on the pod network.
    fn matching(&mut self, pod: &'a Pod) -> &BTreeSet<usize> {
        let Self { cluster, scopes, scopes_of, keys, known } = self;
        let name = pod.name.namespace.as_str();
        let labels = pod.labels.iter().filter(|(key, _)| keys.contains(key.as_str()));
        let alike = (name, labels.map(|(key, value)| (key.as_str(), value.as_str())).collect());
        known.entry(alike).or_insert_with(|| {
            let namespace = cluster.namespaces.get(name);
            let has_namespace = |(_, (scope, _)): &(usize, &(Scope<'_>, _))| match scope {
                Scope::Namespace(own) => *own == name,
                Scope::Namespaces(selector) => namespace.is_some_and(|namespace| selector.matches(&namespace.labels)),
            };
            let in_question = scopes_of
                .entry(name)
                .or_insert_with(|| scopes.iter().enumerate().filter(has_namespace).map(|(place, _)| place).collect());
            let selecting = in_question.iter().flat_map(|place| &scopes[*place].1);
            selecting.filter(|(pods, _)| pods.matches(&pod.labels)).flat_map(|(_, rules)| rules).copied().collect()
        })
    }
}
