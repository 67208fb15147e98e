//! Which rules select which pods.

use std::collections::{BTreeMap, BTreeSet};

use super::subjects::{RuleId, Rules};
use crate::model::{Cluster, LabelSelector, Peer, Pod};

/// The pods that one selector of a peer is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Scope<'a> {
    Namespace(&'a str),
    Namespaces(&'a LabelSelector),
}

/// All that a selector of the rules can see of a pod: its namespace, and its labels of the keys that one asks for.
type Alike<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Pods that a selector selects, with the rules that have it.
type Selecting<'a> = (&'a LabelSelector, BTreeSet<RuleId>);

/// Which rules select which pods. Pods alike in namespace and in the labels that a selector asks for are looked at once,
/// and by the selectors alone whose scope has their namespace.
pub(super) struct PodRules<'a> {
    cluster: &'a Cluster,
    scopes: Vec<(Scope<'a>, Vec<Selecting<'a>>)>,
    /// The places of the scopes that have a namespace.
    scopes_of: BTreeMap<&'a str, Vec<usize>>,
    keys: BTreeSet<&'a str>,
    known: BTreeMap<Alike<'a>, BTreeSet<RuleId>>,
    naming: Vec<RuleId>,
}

impl<'a> PodRules<'a> {
    pub(super) fn new(cluster: &'a Cluster, rules: &'a Rules) -> Self {
        let mut selecting: BTreeMap<Scope<'a>, BTreeMap<&'a LabelSelector, BTreeSet<RuleId>>> = BTreeMap::new();
        for (id, rule) in rules.iter() {
            for peer in rule.listed() {
                if let Peer::Pods { namespaces, pods } = peer {
                    let scope = namespaces.as_ref().map_or(Scope::Namespace(rule.namespace()), Scope::Namespaces);
                    selecting.entry(scope).or_default().entry(pods).or_default().insert(id);
                }
            }
        }
        let keys = selecting
            .values()
            .flat_map(BTreeMap::keys)
            .flat_map(|pods| pods.requirements.iter())
            .map(|requirement| requirement.key.as_str())
            .collect();
        let scopes = selecting.into_iter().map(|(scope, selecting)| (scope, selecting.into_iter().collect())).collect();
        let naming = rules.iter().filter(|(_, rule)| rule.names_ports_of_peers()).map(|(id, _)| id).collect();
        Self { cluster, scopes, scopes_of: BTreeMap::new(), keys, known: BTreeMap::new(), naming }
    }

    /// The egress rules that refer to a port by a name.
    pub(super) fn naming(&self) -> &[RuleId] {
        &self.naming
    }

    /// The rules that a selector of theirs makes match this pod, which must be on the pod network.
    pub(super) fn matching(&mut self, pod: &'a Pod) -> &BTreeSet<RuleId> {
        let Self { cluster, scopes, scopes_of, keys, known, .. } = self;
        let name = pod.name.namespace();
        let labels = &pod.template.labels;
        let alike = (name, labels.iter().filter(|(key, _)| keys.contains(key)).collect());
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
            selecting.filter(|(pods, _)| pods.matches(labels)).flat_map(|(_, rules)| rules).copied().collect()
        })
    }
}
