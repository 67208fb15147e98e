//! From a cluster and a node's endpoints to the tables by which the kernel decides.
//!
//! Four steps: which rules matter here and to whom ([`subjects`]), which peers those rules can tell apart ([`peers`] has
//! who they are, [`classes`] what the rules say of them), which ports each of the first allows to each of the second
//! ([`ports`]), and what that comes to for the backends of each Service ([`services`]). Where a cluster is followed, each does
//! what a change asks for ([`follow`]).

mod blocks;
mod classes;
mod follow;
mod peers;
mod ports;
mod selecting;
mod services;
mod subjects;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use podwitness_wire::Direction;

use crate::model::{Cluster, ObjectName, Pod, WitnessMode};
use crate::tables::{EndpointTable, PortEntry, Side, Tables};

use classes::{Classes, Profile};
use follow::Whole;
use ports::{ResolvedPorts, RuleSets};
use subjects::{RuleId, Rules, Subject, Subjects};

pub use follow::{Changed, Compiler};

/// What a compilation depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The name of the node that the tables are for.
    pub node: &'a str,
    /// All addresses of that node: those of its interfaces and those of its Node object. Traffic with them is always allowed.
    pub node_addresses: &'a [IpAddr],
    /// The endpoints on that node, each with an interface of its own.
    pub endpoints: &'a [Endpoint],
}

/// A local pod's network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The index of the interface's host side.
    pub interface: u32,
    /// The pod behind it, once it is known.
    pub pod: Option<ObjectName>,
    /// The addresses that were read inside the pod's network namespace.
    pub addresses: Vec<IpAddr>,
}

/// Compiles the policies of a cluster to the tables of one node.
pub fn compile(input: &Input<'_>) -> Tables {
    let mut whole = Whole::default();
    whole.begin_anew(None, input);
    whole.tables
}

fn endpoints(input: &Input<'_>, subjects: &Subjects) -> BTreeMap<u32, EndpointTable> {
    let table = |endpoint: &Endpoint| {
        let pod = endpoint.pod.as_ref().and_then(|name| input.cluster.pods.get(name));
        let status = pod.iter().flat_map(|pod| pod.addresses.iter());
        let addresses: BTreeSet<IpAddr> = endpoint.addresses.iter().copied().chain(status).collect();
        let side = |direction| subjects.sides.get(&(endpoint.interface, direction)).cloned().unwrap_or(Side::Open);
        EndpointTable {
            pod: pod.map(|pod| pod.name.clone()),
            addresses: addresses.into_iter().collect(),
            ingress: side(Direction::Ingress),
            egress: side(Direction::Egress),
            audits: pod.and_then(|pod| audits(input.cluster, pod)),
        }
    };
    input.endpoints.iter().map(|endpoint| (endpoint.interface, table(endpoint))).collect()
}

fn audits(cluster: &Cluster, pod: &Pod) -> Option<bool> {
    let mode = cluster.trails.get(pod.name.namespace())?.mode?;
    Some(mode == WitnessMode::Audit)
}

/// The entries for peers.
fn port_entries(subjects: &Subjects, classes: &Classes, rule_sets: &mut RuleSets) -> Vec<PortEntry> {
    rule_sets.begin();
    let rules = &subjects.rules;
    let nobody = Profile::default();
    let mut entries = Vec::new();
    // A class is treated otherwise than everybody by those alone that have a rule which matches it, or one that names
    // its ports.
    let mut having: HashMap<RuleId, Vec<u32>> = HashMap::new();
    let mut naming = BTreeSet::new();
    let mut for_everybody = BTreeMap::new();
    for (&number, subject) in &subjects.all {
        for &id in &subject.rules {
            having.entry(id).or_default().push(number);
            if rules.get(id).is_for_everybody() && rules.get(id).names_ports_of_peers() {
                naming.insert(number);
            }
        }
        let allowed = allowed(rules, subject, &nobody);
        entries.extend(ports::entries(number, 0, &allowed, rules, rule_sets));
        for_everybody.insert(number, allowed);
    }
    for (class, profile) in classes.profiles() {
        let having = profile.rules.iter().filter_map(|id| having.get(id)).flatten();
        let naming = naming.iter().filter(|_| !profile.named_ports.is_empty());
        let in_question: BTreeSet<u32> = having.chain(naming).copied().collect();
        for number in in_question {
            let for_class = allowed(rules, &subjects.all[&number], profile);
            // Without an entry of its own a class falls back on the entries for everybody.
            if for_class != for_everybody[&number] {
                entries.extend(ports::entries(number, class, &for_class, rules, rule_sets));
            }
        }
    }
    entries.sort_by_key(PortEntry::key);
    entries
}

/// The rules of a subject that match the peers of a class, each with the ports that it allows between the two.
fn allowed(rules: &Rules, subject: &Subject, profile: &Profile) -> Vec<(RuleId, ResolvedPorts)> {
    let destination = match subject.direction {
        Direction::Ingress => &subject.named_ports,
        Direction::Egress => &profile.named_ports,
    };
    let matching = subject.rules.iter().map(|id| (*id, rules.get(*id)));
    matching
        .filter(|(id, rule)| rule.is_for_everybody() || profile.rules.contains(id))
        .map(|(id, rule)| (id, ResolvedPorts::of(rule.ports(), destination)))
        .collect()
}
