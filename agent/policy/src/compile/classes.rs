//! Which peers the rules of this node can tell apart.
//!
//! Pods of one namespace with the same labels and ports, as the replicas of a workload are, are one *kind* where the
//! same blocks hold their addresses; so are networks in the same blocks. Rules are held against kinds, of which there
//! are few. Kinds that the same rules match are one class.
//!
//! Where a rule changes, only the kinds that it could match are looked at; where a pod comes whose kind is known, none is.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::blocks::{BlockId, Blocks};
use super::selecting::PodRules;
use super::subjects::{RuleId, Rules};
use crate::model::{Cluster, NamedPort, Peer, Pod};
use crate::tables::Address;

/// All that the rules of this node can see of a peer. The default is a peer of class 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Profile {
    /// The rules that match it, those for everybody left out.
    pub(super) rules: BTreeSet<RuleId>,
    /// Its named ports that an egress rule which matches it, or is for everybody, refers to.
    pub(super) named_ports: BTreeSet<NamedPort>,
}

/// All that any rule could see of an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    pod: Option<Alike>,
    /// The blocks that hold it, ascending.
    blocks: Vec<BlockId>,
}

/// A pod that stands for all of its namespace with its labels and ports.
#[derive(Clone)]
struct Alike(Arc<Pod>);

impl Ord for Alike {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, other) = (&*self.0, &*other.0);
        if std::ptr::eq(own, other) {
            return Ordering::Equal;
        }
        let templates = || {
            if Arc::ptr_eq(&own.template, &other.template) {
                return Ordering::Equal;
            }
            let (own, other) = (&own.template, &other.template);
            own.labels.cmp(&other.labels).then_with(|| own.ports.cmp(&other.ports))
        };
        own.name.namespace().cmp(other.name.namespace()).then_with(templates)
    }
}

impl PartialOrd for Alike {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alike {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Alike {}

/// Who is of a kind, and the class of them all.
#[derive(Default)]
struct Members {
    class: u32,
    /// Whether the class is what the rules say, and not only one that a member had before.
    is_settled: bool,
    nets: Vec<IpNet>,
}

/// A class.
struct Class {
    profile: Arc<Profile>,
    /// How many kinds are in it.
    kinds: usize,
}

/// The peers of a node's endpoints.
#[derive(Default)]
pub(super) struct Classes {
    pub(super) blocks: Blocks,
    kinds: BTreeMap<Kind, Members>,
    /// The classes from 1 on by their numbers. One in which nobody is any more stays until entries are made anew.
    all: BTreeMap<u32, Class>,
    numbers: BTreeMap<Arc<Profile>, u32>,
    /// The numbers of classes, those of Services too.
    pub(super) free: Numbers,
}

/// What settling has changed.
#[derive(Default)]
pub(super) struct Settled {
    /// What came to another class.
    pub(super) moved: Vec<IpNet>,
    /// Whether there are other classes than before.
    pub(super) has_other_classes: bool,
}

impl Classes {
    /// None, but with the numbers that others have used.
    pub(super) fn with_numbers_of(others: &Self) -> Self {
        let last = others.free.last;
        Self { free: Numbers { given_back: (1..=last).collect(), last }, ..Self::default() }
    }

    /// The classes with their profiles.
    pub(super) fn profiles(&self) -> impl Iterator<Item = (u32, &Profile)> {
        self.all.iter().map(|(number, class)| (*number, &*class.profile))
    }

    /// Puts an address or a network, with the pod that has it, to those of its kind. It takes their class where that is known.
    pub(super) fn put(&mut self, net: IpNet, owner: Option<&Arc<Pod>>, address: &mut Address) {
        let members = self.kinds.entry(self.blocks.kind(net, owner)).or_default();
        if members.is_settled {
            address.class = members.class;
        } else if members.class == 0 {
            members.class = address.class;
        }
        // Exactly as many, or an eighth more: of kinds there are as many as of workloads.
        if members.nets.len() == members.nets.capacity() {
            members.nets.reserve_exact(1 + members.nets.len() / 8);
        }
        members.nets.push(net);
    }

    /// Takes one away from those of its kind.
    pub(super) fn take(&mut self, net: IpNet, owner: Option<&Arc<Pod>>) {
        let Some(members) = self.kinds.get_mut(&self.blocks.kind(net, owner)) else { return };
        if let Some(place) = members.nets.iter().position(|member| *member == net) {
            members.nets.swap_remove(place);
        }
    }

    /// Has every kind that is new or in question be of the class that the rules put it into.
    pub(super) fn settle(
        &mut self,
        cluster: &Cluster,
        rules: &Rules,
        in_question: &Question,
        addresses: &mut BTreeMap<IpNet, Address>,
    ) -> Settled {
        let mut kinds = std::mem::take(&mut self.kinds);
        kinds.retain(|_, members| {
            let stays = !members.nets.is_empty();
            if !stays && members.is_settled {
                self.leave(members.class);
            }
            stays
        });
        let is_in_question = |class: u32, kind: &Kind| {
            let profile = self.all.get(&class).map(|class| &*class.profile);
            in_question.is_about(kind, profile)
        };
        let mut unsettled: Vec<(&Kind, &mut Members)> = kinds
            .iter_mut()
            .filter(|(kind, members)| !members.is_settled || is_in_question(members.class, kind))
            .collect();
        // Whoever had a number comes first; numbers that are new follow from addresses.
        unsettled.sort_by_key(|(_, members)| (members.class == 0, members.nets.first().copied()));
        // All leave first: a class that nobody is in gives its number to where most of it has gone.
        for (_, members) in unsettled.iter().filter(|(_, members)| members.is_settled) {
            self.leave(members.class);
        }
        let mut settled = Settled::default();
        let mut pods = None;
        for (kind, members) in &mut unsettled {
            let pods = pods.get_or_insert_with(|| PodRules::new(cluster, rules));
            let profile = self.blocks.profile(kind, pods, rules);
            members.class = self.enter(profile, members.class, &mut settled);
            members.is_settled = true;
            for net in &members.nets {
                let address = addresses.get_mut(net).expect("each member has an entry");
                if address.class != members.class {
                    address.class = members.class;
                    settled.moved.push(*net);
                }
            }
        }
        self.kinds = kinds;
        settled
    }

    fn leave(&mut self, class: u32) {
        if let Some(class) = self.all.get_mut(&class) {
            class.kinds -= 1;
        }
    }

    /// The number of the class of this profile, for a kind that was of the class `before`.
    fn enter(&mut self, profile: Profile, before: u32, settled: &mut Settled) -> u32 {
        if profile == Profile::default() {
            return 0;
        }
        let known = self.numbers.get(&profile).copied();
        let number = known.unwrap_or_else(|| {
            settled.has_other_classes = true;
            let number = self.number_after(before);
            let profile = Arc::new(profile);
            self.numbers.insert(Arc::clone(&profile), number);
            self.all.insert(number, Class { profile, kinds: 0 });
            number
        });
        self.all.get_mut(&number).expect("each number has its class").kinds += 1;
        number
    }

    /// A number for a new class: the one before, if nobody else has it.
    fn number_after(&mut self, before: u32) -> u32 {
        if self.all.get(&before).is_some_and(|class| class.kinds == 0) {
            self.forget(before);
        }
        if self.free.take_this(before) { before } else { self.free.take() }
    }

    fn forget(&mut self, number: u32) {
        if let Some(class) = self.all.remove(&number) {
            self.numbers.remove(&class.profile);
            self.free.give_back(number);
        }
    }

    /// Forgets the classes in which nobody is.
    pub(super) fn forget_empty(&mut self) {
        let empty: Vec<u32> =
            self.all.iter().filter(|(_, class)| class.kinds == 0).map(|(number, _)| *number).collect();
        for number in empty {
            self.forget(number);
        }
    }
}

impl Blocks {
    fn kind(&self, net: IpNet, owner: Option<&Arc<Pod>>) -> Kind {
        Kind { pod: owner.map(|pod| Alike(Arc::clone(pod))), blocks: self.holding(net) }
    }

    fn profile<'a>(&self, kind: &'a Kind, pods: &mut PodRules<'a>, rules: &Rules) -> Profile {
        let of_blocks = kind.blocks.iter().flat_map(|block| self.rules_of(*block));
        let mut matching: BTreeSet<RuleId> = of_blocks.copied().collect();
        let Some(Alike(pod)) = &kind.pod else {
            return Profile { rules: matching, named_ports: BTreeSet::new() };
        };
        matching.extend(pods.matching(pod));
        let is_named = |port: &NamedPort| {
            pods.naming().iter().any(|id| {
                let rule = rules.get(*id);
                (rule.is_for_everybody() || matching.contains(id)) && rule.names(port)
            })
        };
        let named_ports = pod.template.ports.iter().filter(|port| is_named(port)).cloned().collect();
        Profile { rules: matching, named_ports }
    }
}

/// Which kinds rules and namespaces that changed may put into another class.
#[derive(Default)]
pub(super) struct Question {
    everybody: bool,
    /// Rules that are gone.
    gone: BTreeSet<RuleId>,
    namespaces: BTreeSet<String>,
    blocks: BTreeSet<BlockId>,
}

impl Question {
    /// What the difference between rules asks, of which `blocks` knows all.
    pub(super) fn of_rules(cluster: &Cluster, before: &Rules, now: &Rules, blocks: &Blocks) -> Self {
        let mut question = Self { gone: before.not_in(now).map(|(id, _)| id).collect(), ..Self::default() };
        let differing = || before.not_in(now).chain(now.not_in(before));
        question.everybody = differing().any(|(_, rule)| rule.is_for_everybody() && rule.names_ports_of_peers());
        for (_, rule) in differing() {
            for peer in rule.listed() {
                match peer {
                    Peer::Block(block) => question.blocks.extend(blocks.id(block)),
                    // Whom a rule that is gone has matched is known by their profiles.
                    Peer::Pods { .. } => {}
                }
            }
        }
        for (_, rule) in now.not_in(before) {
            for peer in rule.listed() {
                match peer {
                    Peer::Block(_) => {}
                    Peer::Pods { namespaces: None, .. } => {
                        question.namespaces.insert(rule.namespace().to_owned());
                    }
                    Peer::Pods { namespaces: Some(selector), .. } => {
                        let selected =
                            cluster.namespaces.iter().filter(|namespace| selector.matches(&namespace.labels));
                        question.namespaces.extend(selected.map(|namespace| namespace.name.clone()));
                    }
                }
            }
        }
        question
    }

    /// And about the pods of a namespace.
    pub(super) fn add_namespace(&mut self, name: &str) {
        self.namespaces.insert(name.to_owned());
    }

    fn is_about(&self, kind: &Kind, profile: Option<&Profile>) -> bool {
        let has_namespace = |pod: &Pod| !self.namespaces.is_empty() && self.namespaces.contains(pod.name.namespace());
        self.everybody
            || kind.blocks.iter().any(|block| self.blocks.contains(block))
            || kind.pod.as_ref().is_some_and(|Alike(pod)| has_namespace(pod))
            || profile.is_some_and(|profile| !self.gone.is_disjoint(&profile.rules))
    }
}

/// Numbers from 1 on, of which some are free.
#[derive(Default)]
pub(super) struct Numbers {
    given_back: BTreeSet<u32>,
    last: u32,
}

impl Numbers {
    pub(super) fn take(&mut self) -> u32 {
        self.given_back.pop_first().unwrap_or_else(|| {
            self.last = self.last.checked_add(1).expect("there are fewer classes than addresses");
            self.last
        })
    }

    fn take_this(&mut self, number: u32) -> bool {
        self.given_back.remove(&number)
    }

    pub(super) fn give_back(&mut self, number: u32) {
        self.given_back.insert(number);
    }
}
