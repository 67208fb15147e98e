//! From Services and their backends to what is decided before a Service's address is translated.
//!
//! It stands on the tables as they are without Services: what the policies say of a backend is what those tables say of its
//! address and port.
//!
//! The targets of frontends can be kept, and then change with the slices of a few Services ([`Targets::update`]).

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Input;
use crate::model::{EndpointSlice, ObjectName, Protocol, Service, ServicePort, SliceEndpoint, SlicePort};
use crate::rule_set::RuleSet;
use crate::tables::{
    Backend, Frontend, IdentityRef, MOST_FRONTENDS, PortEntry, PortOutcome, ServiceKind, ServiceTarget, Side, Tables,
};

/// Adds the Services to tables that are complete without them. Classes from `free_class` on belong to no address.
pub(super) fn add(input: &Input<'_>, tables: &mut Tables, free_class: u32) -> Targets {
    let targets = Targets::of(input);
    tables.backends = frontends_of_local_backends(tables, &targets.by_frontend);

    let mut own_classes = OwnClasses { free: free_class, numbers: BTreeMap::new(), ports: BTreeSet::new() };
    let mut services = BTreeMap::new();
    for (frontend, target) in &targets.by_frontend {
        let (kind, class, port) = own_classes.kind(tables, *frontend, target);
        services.insert(*frontend, ServiceTarget { service: target.service.clone(), class, port, kind });
    }
    let entries = own_classes.port_entries(tables);
    tables.services = services;
    tables.ports.extend(entries);
    tables.ports.sort_by_key(PortEntry::key);
    targets
}

type Backends = Arc<BTreeSet<Backend>>;

/// What is behind a frontend.
struct Target {
    service: ObjectName,
    /// Whether a backend on this node sees who the client is.
    keeps_source: bool,
    backends: Backends,
}

/// What is behind every frontend at this node.
pub(super) struct Targets {
    by_frontend: BTreeMap<Frontend, Target>,
    /// Whether a frontend is one of several Services, of which the first by name has it.
    is_contested: bool,
}

/// The slices by the Service that they belong to.
struct Slices<'a>(BTreeMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>);

impl Targets {
    fn of(input: &Input<'_>) -> Self {
        let mut targets = Self { by_frontend: BTreeMap::new(), is_contested: false };
        let slices = Slices::of(input.cluster.endpoint_slices.iter());
        for service in input.cluster.services.iter() {
            targets.add(input, &slices, service);
        }
        targets
    }

    fn add(&mut self, input: &Input<'_>, slices: &Slices<'_>, service: &Service) {
        for port in &service.ports {
            self.add_port(input, slices, service, port);
        }
    }

    fn add_port(&mut self, input: &Input<'_>, slices: &Slices<'_>, service: &Service, port: &ServicePort) {
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
                .or_insert_with(|| Arc::new(slices.backends(service, port, address.is_ipv4(), only_on)));
            let frontend = Frontend { address, protocol: port.protocol, port: number.get() };
            match self.by_frontend.entry(frontend) {
                Entry::Occupied(_) => self.is_contested = true,
                Entry::Vacant(vacant) => {
                    let service = service.name.clone();
                    vacant.insert(Target { service, keeps_source, backends: Arc::clone(backends) });
                }
            }
        }
    }

    /// Follows the slices of some Services, and what tables say of the backends on some addresses. Nothing else may have
    /// changed, and the tables' addresses must be up to date. `false` where more than the entries of frontends would
    /// change with it, or where that cannot be told: then all is to be made anew.
    pub(super) fn update(
        &mut self,
        input: &Input<'_>,
        tables: &mut Tables,
        services: &BTreeSet<ObjectName>,
        addresses: &BTreeSet<IpAddr>,
    ) -> bool {
        if self.is_contested {
            return false;
        }
        let cluster = input.cluster;
        let of_services = services.iter().flat_map(|name| {
            let slices = cluster.endpoint_slices.iter_from(&ObjectName::new(&name.namespace, ""));
            slices.take_while(|slice| slice.name.namespace == name.namespace)
        });
        let slices = Slices::of(of_services);
        let mut renewed = Self { by_frontend: BTreeMap::new(), is_contested: false };
        for service in services.iter().filter_map(|name| cluster.services.get(name)) {
            renewed.add(input, &slices, service);
        }
        for (frontend, target) in renewed.by_frontend {
            let Some(before) = self.by_frontend.get(&frontend) else { return false };
            if before.of_this_node(tables) != target.of_this_node(tables) {
                return false;
            }
            self.by_frontend.insert(frontend, target);
        }
        let is_touched = |target: &Target| {
            services.contains(&target.service)
                || addresses.iter().any(|address| target.backends.range(all_on(*address)).next().is_some())
        };
        for (frontend, target) in self.by_frontend.iter().filter(|(_, target)| is_touched(target)) {
            let Some((kind, class, port)) = target.kind(tables, *frontend) else { return false };
            let entry = ServiceTarget { service: target.service.clone(), class, port, kind };
            match tables.services.get_mut(frontend) {
                Some(before) if before.kind != ServiceKind::Own => *before = entry,
                _ => return false,
            }
        }
        true
    }
}

/// Every backend on an address.
fn all_on(address: IpAddr) -> RangeInclusive<Backend> {
    let [first, .., last] = Protocol::ALL;
    Backend { address, protocol: first, port: 0 }..=Backend { address, protocol: last, port: u16::MAX }
}

impl Target {
    /// The backends that are endpoints of this node.
    fn of_this_node(&self, tables: &Tables) -> Vec<Backend> {
        let is_local = |backend: &Backend| {
            tables.endpoints.values().any(|endpoint| endpoint.addresses.binary_search(&backend.address).is_ok())
        };
        self.backends.iter().copied().filter(is_local).collect()
    }

    /// How to decide, with the class and port under which the entries stand; `None` where it takes a class of its own.
    fn kind(&self, tables: &Tables, frontend: Frontend) -> Option<(ServiceKind, u32, u16)> {
        let mut behind = self.backends.iter().map(|backend| (seen(tables, backend.address), backend.port));
        let Some((first, port)) = behind.next() else {
            return Some((ServiceKind::Empty, 0, frontend.port));
        };
        match first {
            Seen::LocalNode if behind.clone().all(|(seen, _)| seen == Seen::LocalNode) => {
                Some((ServiceKind::Node, 0, frontend.port))
            }
            Seen::Class(class) if behind.all(|other| other == (first, port)) => Some((ServiceKind::Alike, class, port)),
            _ => None,
        }
    }
}

impl<'a> Slices<'a> {
    fn of(all: impl IntoIterator<Item = &'a EndpointSlice>) -> Self {
        let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in all {
            if let Some(service) = &slice.service {
                slices.entry((&slice.name.namespace, service)).or_default().push(slice);
            }
        }
        Self(slices)
    }

    /// The backends of one family: those that are ready, or else those that are terminating and serve still.
    fn backends(&self, service: &Service, port: &ServicePort, ipv4: bool, only_on: Option<&str>) -> BTreeSet<Backend> {
        let stands_for = |target: &&SlicePort| target.name == port.name && target.protocol == port.protocol;
        let is_reachable =
            |endpoint: &&SliceEndpoint| only_on.is_none_or(|node| endpoint.node.as_deref() == Some(node));
        let endpoints: Vec<(NonZeroU16, &SliceEndpoint)> = self
            .0
            .get(&(service.name.namespace.as_str(), service.name.name.as_str()))
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
    targets: &BTreeMap<Frontend, Target>,
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
    fn kind(&mut self, tables: &Tables, frontend: Frontend, target: &Target) -> (ServiceKind, u32, u16) {
        target.kind(tables, frontend).unwrap_or_else(|| {
            let class = *self.numbers.entry((Arc::clone(&target.backends), target.keeps_source)).or_insert_with(|| {
                self.free += 1;
                self.free - 1
            });
            self.ports.insert((class, frontend.port));
            (ServiceKind::Own, class, frontend.port)
        })
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
