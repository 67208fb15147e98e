//! From Services and their backends to what is decided before a Service's address is translated.
//!
//! It stands on the tables as they are without Services: what the policies say of a backend is what those tables say of its
//! address and port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::rc::Rc;

use super::Input;
use crate::model::{EndpointSlice, ObjectName, Service, ServicePort, SliceEndpoint, SlicePort};
use crate::rule_set::RuleSet;
use crate::tables::{
    Backend, Frontend, IdentityRef, MOST_FRONTENDS, PortEntry, PortOutcome, ServiceKind, ServiceTarget, Side, Tables,
};

/// Adds the Services to tables that are complete without them. Classes from `free_class` on belong to no address.
pub(super) fn add(input: &Input<'_>, tables: &mut Tables, free_class: u32) {
    let targets = Slices::of(input).targets(input);
    tables.backends = frontends_of_local_backends(tables, &targets);

    let mut own_classes = OwnClasses { free: free_class, numbers: BTreeMap::new(), ports: BTreeSet::new() };
    let mut services = BTreeMap::new();
    for (frontend, target) in &targets {
        let (kind, class, port) = own_classes.kind(tables, *frontend, target);
        services.insert(*frontend, ServiceTarget { service: target.service.name.clone(), class, port, kind });
    }
    let entries = own_classes.port_entries(tables);
    tables.services = services;
    tables.ports.extend(entries);
    tables.ports.sort_by_key(PortEntry::key);
}

type Backends = Rc<BTreeSet<Backend>>;

/// What is behind a frontend.
struct Target<'a> {
    service: &'a Service,
    /// Whether a backend on this node sees who the client is.
    keeps_source: bool,
    backends: Backends,
}

/// The slices by the Service that they belong to.
struct Slices<'a>(BTreeMap<ObjectName, Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    fn of(input: &Input<'a>) -> Self {
        let mut slices: BTreeMap<ObjectName, Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in input.cluster.endpoint_slices.iter() {
            if let Some(service) = &slice.service {
                slices.entry(ObjectName::new(&slice.name.namespace, service)).or_default().push(slice);
            }
        }
        Self(slices)
    }

    /// Every frontend at this node. Where several Services have the same, the first by name has it.
    fn targets(&self, input: &Input<'a>) -> BTreeMap<Frontend, Target<'a>> {
        let mut targets = BTreeMap::new();
        for service in input.cluster.services.iter() {
            for port in &service.ports {
                self.add_targets(input, service, port, &mut targets);
            }
        }
        targets
    }

    fn add_targets(
        &self,
        input: &Input<'_>,
        service: &'a Service,
        port: &ServicePort,
        targets: &mut BTreeMap<Frontend, Target<'a>>,
    ) {
        let external = service.external_addresses.iter().map(|address| (*address, port.port));
        let of_node = input.node_addresses.iter().filter_map(|address| Some((*address, port.node_port?)));
        let served = external.chain(of_node).filter(|(address, _)| service.serves_family_of(*address));
        let internal = service.cluster_addresses.iter().map(|address| (*address, port.port, true));

        let mut known: BTreeMap<(bool, Option<&str>), Backends> = BTreeMap::new();
        for (address, number, keeps_source) in internal.chain(served.map(|(address, number)| (address, number, false)))
        {
            let only_on = (keeps_source && service.internal_traffic_local).then_some(input.node);
            let backends = known
                .entry((address.is_ipv4(), only_on))
                .or_insert_with(|| Rc::new(self.backends(service, port, address.is_ipv4(), only_on)));
            let frontend = Frontend { address, protocol: port.protocol, port: number.get() };
            let target = || Target { service, keeps_source, backends: Rc::clone(backends) };
            targets.entry(frontend).or_insert_with(target);
        }
    }

    /// The backends of one family: those that are ready, or else those that are terminating and serve still.
    fn backends(&self, service: &Service, port: &ServicePort, ipv4: bool, only_on: Option<&str>) -> BTreeSet<Backend> {
        let stands_for = |target: &&SlicePort| target.name == port.name && target.protocol == port.protocol;
        let is_reachable =
            |endpoint: &&SliceEndpoint| only_on.is_none_or(|node| endpoint.node.as_deref() == Some(node));
        let endpoints: Vec<(NonZeroU16, &SliceEndpoint)> = self
            .0
            .get(&service.name)
            .into_iter()
            .flatten()
            .flat_map(|slice| slice.ports.iter().filter(stands_for).map(move |target| (slice, target.port)))
            .flat_map(|(slice, port)| slice.endpoints.iter().filter(is_reachable).map(move |endpoint| (port, endpoint)))
            .collect();
        let those = |state: fn(&SliceEndpoint) -> bool| -> BTreeSet<Backend> {
            let endpoints = endpoints.iter().filter(|(_, endpoint)| state(endpoint));
            endpoints
                .flat_map(|(port, endpoint)| endpoint.addresses.iter().map(move |address| (*port, *address)))
                .filter(|(_, address)| address.is_ipv4() == ipv4)
                .map(|(number, address)| Backend { address, protocol: port.protocol, port: number.get() })
                .collect()
        };
        let ready = those(|endpoint| endpoint.ready);
        if ready.is_empty() {
            those(|endpoint| !endpoint.ready && endpoint.serving && endpoint.terminating)
        } else {
            ready
        }
    }
}

/// The frontends of each backend that is an endpoint of this node with a known pod, if its hook can know them all.
fn frontends_of_local_backends(
    tables: &Tables,
    targets: &BTreeMap<Frontend, Target<'_>>,
) -> BTreeMap<Backend, Vec<Frontend>> {
    let known = tables.endpoints.values().filter(|endpoint| endpoint.pod.is_some());
    let local: BTreeSet<IpAddr> = known.flat_map(|endpoint| endpoint.addresses.iter().copied()).collect();
    let mut frontends: BTreeMap<Backend, Vec<Frontend>> = BTreeMap::new();
    for (frontend, target) in targets.iter().filter(|(_, target)| target.keeps_source) {
        for backend in target.backends.iter().filter(|backend| local.contains(&backend.address)) {
            frontends.entry(*backend).or_default().push(*frontend);
        }
    }
    frontends.retain(|_, frontends| frontends.len() <= MOST_FRONTENDS);
    frontends
}

/// What the tables can see of a backend's address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    LocalNode,
    Class(u32),
}

fn seen(tables: &Tables, address: IpAddr) -> Seen {
    match tables.address(address) {
        None => Seen::Class(0),
        Some(known) if known.identity == IdentityRef::LocalNode => Seen::LocalNode,
        Some(known) => Seen::Class(known.class),
    }
}

/// The classes of Services whose backends differ: one for each set of backends and each way to see the client.
struct OwnClasses {
    free: u32,
    numbers: BTreeMap<(Backends, bool), u32>,
    /// At which ports each class must have entries. The protocol is the backends'.
    ports: BTreeSet<(u32, u16)>,
}

impl OwnClasses {
    /// How to decide about these backends, with the class and port under which the entries stand.
    fn kind(&mut self, tables: &Tables, frontend: Frontend, target: &Target<'_>) -> (ServiceKind, u32, u16) {
        let mut behind = target.backends.iter().map(|backend| (seen(tables, backend.address), backend.port));
        let Some((first, port)) = behind.next() else {
            return (ServiceKind::Empty, 0, frontend.port);
        };
        match first {
            Seen::LocalNode if behind.clone().all(|(seen, _)| seen == Seen::LocalNode) => {
                (ServiceKind::Node, 0, frontend.port)
            }
            Seen::Class(class) if behind.all(|other| other == (first, port)) => (ServiceKind::Alike, class, port),
            _ => {
                let class =
                    *self.numbers.entry((Rc::clone(&target.backends), target.keeps_source)).or_insert_with(|| {
                        self.free += 1;
                        self.free - 1
                    });
                self.ports.insert((class, frontend.port));
                (ServiceKind::Own, class, frontend.port)
            }
        }
    }

    fn port_entries(&self, tables: &Tables) -> Vec<PortEntry> {
        let isolated: BTreeMap<u32, &RuleSet> = tables
            .endpoints
            .values()
            .filter_map(|endpoint| match &endpoint.egress {
                Side::Isolated { subject, isolating } => Some((*subject, isolating)),
                Side::Open => None,
            })
            .collect();
        let mut entries = Vec::new();
        for ((backends, keeps_source), &class) in &self.numbers {
            let protocol = backends.first().map(|backend| backend.protocol.number());
            let decides = |backend: &Backend| *keeps_source && tables.backends.contains_key(backend);
            for (&subject, &isolating) in &isolated {
                let Some((rule_set, outcome)) = outcome(tables, subject, isolating, backends, decides) else {
                    continue;
                };
                let ports = self.ports.range((class, 0)..=(class, u16::MAX));
                entries.extend(ports.map(|&(class, port)| {
                    let rule_set = rule_set.clone();
                    PortEntry { subject, class, protocol, port, port_bits: 16, rule_set, outcome }
                }));
            }
        }
        entries
    }
}

/// What becomes of a subject's connection to one of these backends, of which some may be able to decide; `None` where none of
/// them is allowed.
fn outcome(
    tables: &Tables,
    subject: u32,
    isolating: &RuleSet,
    backends: &BTreeSet<Backend>,
    decides: impl Fn(&Backend) -> bool,
) -> Option<(RuleSet, PortOutcome)> {
    let mut allowing = BTreeSet::new();
    let mut denied = Vec::new();
    for backend in backends {
        match seen(tables, backend.address) {
            Seen::LocalNode => {}
            Seen::Class(class) => match tables.allowing(subject, class, backend.protocol.number(), backend.port) {
                Some(entry) => {
                    allowing.insert(&entry.rule_set);
                }
                None => denied.push(backend),
            },
        }
    }
    if denied.len() == backends.len() {
        return None;
    }
    let allowing = || allowing.iter().flat_map(|rules| rules.iter()).cloned().collect();
    Some(if denied.is_empty() {
        (allowing(), PortOutcome::Allowed)
    } else if denied.into_iter().all(decides) {
        (allowing(), PortOutcome::Deferred)
    } else {
        (isolating.clone(), PortOutcome::MixedDenied)
    })
}
