//! From a cluster and a node's endpoints to the tables by which the kernel decides.
//!
//! Four steps, one module each: which rules matter here and to whom ([`subjects`]), which peers those rules can tell
//! apart ([`classes`]), which ports each of the first allows to each of the second ([`ports`]), and what that comes to
//! for the backends of each Service ([`services`]). Where a cluster is followed, most changes go through none of them whole
//! ([`follow`]).

mod classes;
mod follow;
mod ports;
mod services;
mod subjects;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use podwitness_wire::Direction;

use crate::model::{Cluster, NamedPort, ObjectName, Pod, WitnessMode};
use crate::tables::{EndpointTable, PortEntry, Side, Tables};

use classes::{Classes, Profile};
use ports::{ResolvedPorts, RuleSets};
use services::Targets;
use subjects::{Subject, Subjects};

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
    whole(input).tables
}

/// Tables, and what they were made by.
struct Whole {
    tables: Tables,
    /// The class of each profile, with its named ports.
    classes: BTreeMap<(BTreeSet<usize>, BTreeSet<NamedPort>), u32>,
    /// See [`Classes::entangled`].
    entangled: BTreeSet<IpAddr>,
    targets: Targets,
}

fn whole(input: &Input<'_>) -> Whole {
    let subjects = Subjects::of(input);
    let Classes { addresses, profiles, entangled } = Classes::of(input, &subjects.rules);
    let first_free_class = u32::try_from(profiles.len() + 1).expect("there are fewer classes than addresses");
    let mut tables = Tables {
        ports: port_entries(&subjects, &profiles),
        endpoints: endpoints(input, subjects),
        addresses,
        ..Tables::default()
    };
    let targets = services::add(input, &mut tables, first_free_class);
    let classes = (1..).zip(profiles).map(|(class, profile)| (profile.into_owned(), class)).collect();
    Whole { tables, classes, entangled, targets }
}

fn endpoints(input: &Input<'_>, mut subjects: Subjects<'_>) -> BTreeMap<u32, EndpointTable> {
    let mut table = |endpoint: &Endpoint| {
        let pod = endpoint.pod.as_ref().and_then(|name| input.cluster.pods.get(name));
        let status = pod.iter().flat_map(|pod| &pod.addresses);
        let addresses: BTreeSet<IpAddr> = endpoint.addresses.iter().chain(status).copied().collect();
        let mut side = |direction| subjects.sides.remove(&(endpoint.interface, direction)).unwrap_or(Side::Open);
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
    let mode = cluster.trails.get(&pod.name.namespace)?.mode?;
    Some(mode == WitnessMode::Audit)
}

fn port_entries(subjects: &Subjects<'_>, profiles: &[Profile<'_>]) -> Vec<PortEntry> {
    let mut rule_sets = RuleSets::new(&subjects.rules);
    let mut entries = Vec::new();
    for subject in &subjects.all {
        let for_everybody = allowed(subjects, subject, &Profile::default());
        entries.extend(ports::entries(subject.number, 0, &for_everybody, &mut rule_sets));
        for (class, profile) in (1..).zip(profiles) {
            let for_class = allowed(subjects, subject, profile);
            // Without an entry of its own a class falls back on the entries for everybody.
            if for_class != for_everybody {
                entries.extend(ports::entries(subject.number, class, &for_class, &mut rule_sets));
            }
        }
    }
    entries.sort_by_key(PortEntry::key);
    entries
}

/// The rules of a subject that match the peers of a class, each with the ports that it allows between the two.
fn allowed(subjects: &Subjects<'_>, subject: &Subject<'_>, profile: &Profile<'_>) -> Vec<(usize, ResolvedPorts)> {
    let destination: &BTreeSet<&NamedPort> = match subject.direction {
        Direction::Ingress => &subject.named_ports,
        Direction::Egress => &profile.named_ports,
    };
    subject
        .rules
        .iter()
        .filter(|&&rule| subjects.rules[rule].is_for_everybody() || profile.rules.contains(&rule))
        .map(|&rule| (rule, ResolvedPorts::of(subjects.rules[rule].ports, destination)))
        .collect()
}
