//! Which rules matter on this node, and which endpoints they treat alike.

use std::collections::{BTreeMap, BTreeSet};

use podwitness_wire::Direction;

use super::Input;
use crate::model::{Cluster, NamedPort, NetworkPolicy, ObjectName, Peers, Pod, PortMatch, Ports, Rule};
use crate::rule_set::{PolicyRule, RuleSet};
use crate::tables::Side;

/// A usable rule of a policy that isolates an endpoint of this node. It is known by its index in [`Subjects::rules`].
pub(super) struct LocalRule<'a> {
    pub(super) policy: &'a NetworkPolicy,
    pub(super) direction: Direction,
    pub(super) index: u32,
    pub(super) peers: &'a Peers,
    pub(super) ports: &'a Ports,
}

impl LocalRule<'_> {
    pub(super) fn is_for_everybody(&self) -> bool {
        *self.peers == Peers::Everybody
    }

    /// Whether the rule refers to a port by a name.
    pub(super) fn names_ports(&self) -> bool {
        match self.ports {
            Ports::Every => false,
            Ports::Listed(ports) => ports.iter().any(|matched| matches!(matched, PortMatch::Named(..))),
        }
    }

    /// Whether the rule refers to this port by its name.
    pub(super) fn names(&self, port: &NamedPort) -> bool {
        match self.ports {
            Ports::Every => false,
            Ports::Listed(ports) => ports.iter().any(
                |matched| matches!(matched, PortMatch::Named(protocol, name) if *protocol == port.protocol && *name == port.name),
            ),
        }
    }
}

/// The isolated sides of endpoints that the same rules treat alike.
pub(super) struct Subject<'a> {
    pub(super) number: u32,
    pub(super) direction: Direction,
    /// The rules that may allow something, ascending.
    pub(super) rules: Vec<usize>,
    /// For ingress, the endpoint's named ports that these rules refer to; empty for egress.
    pub(super) named_ports: BTreeSet<&'a NamedPort>,
}

/// All subjects of a node, and the rules they are about.
pub(super) struct Subjects<'a> {
    pub(super) rules: Vec<LocalRule<'a>>,
    pub(super) all: Vec<Subject<'a>>,
    /// The sides that are isolated.
    pub(super) sides: BTreeMap<(u32, Direction), Side>,
}

/// What makes two sides one subject.
type SubjectKey<'a> = (Direction, Vec<&'a ObjectName>, BTreeSet<&'a NamedPort>);

impl<'a> Subjects<'a> {
    pub(super) fn of(input: &Input<'a>) -> Self {
        let mut subjects = Self { rules: Vec::new(), all: Vec::new(), sides: BTreeMap::new() };
        let mut rules_of_policies: BTreeMap<(&'a ObjectName, Direction), Vec<usize>> = BTreeMap::new();
        let mut numbers: BTreeMap<SubjectKey<'a>, u32> = BTreeMap::new();
        let pods: BTreeMap<u32, &'a Pod> = input
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint.interface, input.cluster.pods.get(endpoint.pod.as_ref()?)?)))
            .collect();

        for (interface, pod) in pods {
            let selecting: Vec<&NetworkPolicy> = policies_selecting(input.cluster, pod).collect();
            for direction in [Direction::Ingress, Direction::Egress] {
                let isolating: Vec<&NetworkPolicy> =
                    selecting.iter().copied().filter(|policy| policy.rules(direction).is_some()).collect();
                if isolating.is_empty() {
                    continue;
                }
                let rules: Vec<usize> = isolating
                    .iter()
                    .flat_map(|policy| {
                        rules_of_policies
                            .entry((&policy.name, direction))
                            .or_insert_with(|| subjects.add_rules(policy, direction))
                            .clone()
                    })
                    .collect();
                let named_ports = match direction {
                    Direction::Ingress => subjects.ports_named_by(&rules, pod),
                    Direction::Egress => BTreeSet::new(),
                };
                let key = (direction, isolating.iter().map(|policy| &policy.name).collect(), named_ports.clone());
                let subject = *numbers.entry(key).or_insert_with(|| subjects.add(direction, rules, named_ports));
                let isolating: RuleSet = isolating.into_iter().map(|policy| PolicyRule::of(policy, None)).collect();
                subjects.sides.insert((interface, direction), Side::Isolated { subject, isolating });
            }
        }
        subjects
    }

    fn add_rules(&mut self, policy: &'a NetworkPolicy, direction: Direction) -> Vec<usize> {
        let first = self.rules.len();
        let usable = (0..).zip(policy.rules(direction).unwrap_or_default()).filter_map(|(index, rule)| match rule {
            Rule::Usable { peers, ports } => Some(LocalRule { policy, direction, index, peers, ports }),
            Rule::Unusable => None,
        });
        self.rules.extend(usable);
        (first..self.rules.len()).collect()
    }

    fn ports_named_by(&self, rules: &[usize], pod: &'a Pod) -> BTreeSet<&'a NamedPort> {
        pod.ports.iter().filter(|port| rules.iter().any(|&rule| self.rules[rule].names(port))).collect()
    }

    fn add(&mut self, direction: Direction, mut rules: Vec<usize>, named_ports: BTreeSet<&'a NamedPort>) -> u32 {
        rules.sort_unstable();
        let number = u32::try_from(self.all.len() + 1).expect("a node has fewer than 2^32 endpoint sides");
        self.all.push(Subject { number, direction, rules, named_ports });
        number
    }
}

fn policies_selecting<'a>(cluster: &'a Cluster, pod: &'a Pod) -> impl Iterator<Item = &'a NetworkPolicy> {
    cluster
        .policies
        .iter_from(&ObjectName::new(&pod.name.namespace, ""))
        .take_while(|policy| policy.name.namespace == pod.name.namespace)
        .filter(|policy| policy.selects(pod))
}
