//! Which rules matter on this node, and which endpoints they treat alike.
//!
//! What stays from one compilation to the next keeps its number: rules that are as they were, and subjects of the same
//! policies. So what was made by these numbers still holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use podwitness_wire::Direction;

use super::Input;
use crate::model::{Cluster, NamedPort, NetworkPolicy, ObjectName, Peer, Peers, Pod, PortMatch, Ports, Rule};
use crate::rule_set::{PolicyRule, RuleSet};
use crate::tables::Side;

/// The number of a rule, which no other rule gets as long as a cluster is followed.
pub(super) type RuleId = u64;

/// A usable rule of a policy that isolates an endpoint of this node.
#[derive(Clone)]
pub(super) struct LocalRule {
    policy: Arc<NetworkPolicy>,
    direction: Direction,
    index: u32,
}

static NO_PORTS: Ports = Ports::Listed(Vec::new());
static NO_PEERS: Peers = Peers::Listed(Vec::new());

impl LocalRule {
    fn rule(&self) -> (&Peers, &Ports) {
        let place = usize::try_from(self.index).expect("a list has fewer rules");
        match self.policy.rules(self.direction).and_then(|rules| rules.get(place)) {
            Some(Rule::Usable { peers, ports }) => (peers, ports),
            // Only usable rules are here.
            Some(Rule::Unusable) | None => (&NO_PEERS, &NO_PORTS),
        }
    }

    pub(super) fn ports(&self) -> &Ports {
        self.rule().1
    }

    /// The peers that it lists; none where it is for everybody.
    pub(super) fn listed(&self) -> &[Peer] {
        match self.rule().0 {
            Peers::Everybody => &[],
            Peers::Listed(peers) => peers,
        }
    }

    /// The namespace of its policy.
    pub(super) fn namespace(&self) -> &str {
        self.policy.name.namespace()
    }

    pub(super) fn is_for_everybody(&self) -> bool {
        *self.rule().0 == Peers::Everybody
    }

    /// Whether it is an egress rule that refers to a port by a name.
    pub(super) fn names_ports_of_peers(&self) -> bool {
        self.direction == Direction::Egress
            && match self.ports() {
                Ports::Every => false,
                Ports::Listed(ports) => ports.iter().any(|matched| matches!(matched, PortMatch::Named(..))),
            }
    }

    /// Whether the rule refers to this port by its name.
    pub(super) fn names(&self, port: &NamedPort) -> bool {
        match self.ports() {
            Ports::Every => false,
            Ports::Listed(ports) => ports.iter().any(
                |matched| matches!(matched, PortMatch::Named(protocol, name) if *protocol == port.protocol && *name == port.name),
            ),
        }
    }

    /// How records name it.
    pub(super) fn name(&self) -> PolicyRule {
        PolicyRule::of(&self.policy, Some(self.index))
    }

    /// Whether everything that is made of the one holds for the other.
    fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy) || self.policy.uid == other.policy.uid && self.rule() == other.rule()
    }
}

/// The rules by their numbers.
#[derive(Default)]
pub(super) struct Rules {
    by_id: BTreeMap<RuleId, LocalRule>,
    of_policies: BTreeMap<(ObjectName, Direction), Vec<RuleId>>,
    next: RuleId,
}

impl Rules {
    pub(super) fn get(&self, id: RuleId) -> &LocalRule {
        &self.by_id[&id]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, &LocalRule)> {
        self.by_id.iter().map(|(id, rule)| (*id, rule))
    }

    /// Those that others do not have.
    pub(super) fn not_in<'a>(&'a self, others: &'a Self) -> impl Iterator<Item = (RuleId, &'a LocalRule)> {
        self.iter().filter(|(id, _)| !others.by_id.contains_key(id))
    }

    /// The usable rules of a policy, under the numbers that they had before.
    fn add(&mut self, policy: &Arc<NetworkPolicy>, direction: Direction, before: &Self) -> &[RuleId] {
        let Self { by_id, of_policies, next } = self;
        of_policies.entry((policy.name.clone(), direction)).or_insert_with_key(|key| {
            let had = before.of_policies.get(key).map_or(&[][..], |had| had);
            let usable = (0..).zip(policy.rules(direction).unwrap_or_default());
            let usable = usable.filter(|(_, rule)| **rule != Rule::Unusable);
            usable
                .map(|(index, _)| {
                    let rule = LocalRule { policy: Arc::clone(policy), direction, index };
                    let same = had.iter().find(|id| {
                        let had = before.get(**id);
                        had.index == index && had.is_as(&rule)
                    });
                    let id = *same.unwrap_or_else(|| {
                        *next += 1;
                        &*next
                    });
                    by_id.insert(id, rule);
                    id
                })
                .collect()
        })
    }
}

/// The isolated sides of endpoints that the same rules treat alike.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) direction: Direction,
    /// The rules of the isolating policies, ascending.
    pub(super) rules: Vec<RuleId>,
    /// For ingress, the endpoint's named ports that these rules refer to; empty for egress.
    pub(super) named_ports: BTreeSet<NamedPort>,
}

/// All subjects of a node, and the rules they are about.
#[derive(Default)]
pub(super) struct Subjects {
    pub(super) rules: Rules,
    /// By the number under which the entries of each stand.
    pub(super) all: BTreeMap<u32, Subject>,
    numbers: BTreeMap<SubjectKey, u32>,
    /// The sides that are isolated.
    pub(super) sides: BTreeMap<(u32, Direction), Side>,
}

/// What makes two sides one subject.
type SubjectKey = (Direction, Vec<ObjectName>, BTreeSet<NamedPort>);

/// A side that is isolated, before it is known which subject it is.
struct Isolated<'a> {
    interface: u32,
    key: SubjectKey,
    policies: Vec<&'a Arc<NetworkPolicy>>,
    rules: Vec<RuleId>,
}

impl Subjects {
    /// The subjects of the input; what those before had too keeps its number.
    pub(super) fn of(input: &Input<'_>, before: &Self) -> Self {
        let mut subjects = Self::default();
        subjects.rules.next = before.rules.next;
        let mut isolated = Vec::new();
        let pods: BTreeMap<u32, &Pod> = input
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint.interface, input.cluster.pods.get(endpoint.pod.as_ref()?)?)))
            .collect();
        for (interface, pod) in pods {
            let selecting: Vec<&Arc<NetworkPolicy>> = policies_selecting(input.cluster, pod).collect();
            for direction in [Direction::Ingress, Direction::Egress] {
                let isolating = selecting.iter().copied().filter(|policy| policy.rules(direction).is_some());
                let policies: Vec<&Arc<NetworkPolicy>> = isolating.collect();
                if policies.is_empty() {
                    continue;
                }
                let rules = &mut subjects.rules;
                let mut ids: Vec<RuleId> = Vec::new();
                for policy in &policies {
                    ids.extend(rules.add(policy, direction, &before.rules));
                }
                ids.sort_unstable();
                let named_ports = match direction {
                    Direction::Ingress => ports_named_by(rules, &ids, pod),
                    Direction::Egress => BTreeSet::new(),
                };
                let key = (direction, policies.iter().map(|policy| policy.name.clone()).collect(), named_ports);
                isolated.push(Isolated { interface, key, policies, rules: ids });
            }
        }
        subjects.add(isolated, before);
        subjects
    }

    fn add(&mut self, isolated: Vec<Isolated<'_>>, before: &Self) {
        let kept = isolated.iter().filter_map(|side| before.numbers.get(&side.key).copied());
        let kept: BTreeSet<u32> = kept.collect();
        let mut free = (1..).filter(|number| !kept.contains(number));
        let mut sets: BTreeMap<u32, RuleSet> = BTreeMap::new();
        for Isolated { interface, key, policies, rules } in isolated {
            let (direction, named_ports) = (key.0, key.2.clone());
            let kept = before.numbers.get(&key).copied();
            let number = *self
                .numbers
                .entry(key)
                .or_insert_with(|| kept.or_else(|| free.next()).expect("a node has fewer than 2^32 endpoint sides"));
            self.all.entry(number).or_insert(Subject { direction, rules, named_ports });
            let set = sets
                .entry(number)
                .or_insert_with(|| policies.into_iter().map(|policy| PolicyRule::of(policy, None)).collect());
            self.sides.insert((interface, direction), Side::Isolated { subject: number, isolating: set.clone() });
        }
    }
}

fn ports_named_by(rules: &Rules, ids: &[RuleId], pod: &Pod) -> BTreeSet<NamedPort> {
    let named = pod.template.ports.iter().filter(|port| ids.iter().any(|id| rules.get(*id).names(port)));
    named.cloned().collect()
}

fn policies_selecting<'a>(cluster: &'a Cluster, pod: &'a Pod) -> impl Iterator<Item = &'a Arc<NetworkPolicy>> {
    cluster
        .policies
        .shared_from(&ObjectName::new(pod.name.namespace(), ""))
        .take_while(|policy| policy.name.namespace() == pod.name.namespace())
        .filter(|policy| policy.selects(pod))
}
