//! From Services and their backends to what is decided before a Service's address is translated.
//!
//! It stands on the tables as they are without Services: what the policies say of a backend is what those tables say of its
//! address and port.
//!
//! What is behind frontends is kept, and made anew with the Services and slices that change; how to decide about one,
//! where what is behind it has changed, or what the tables say of that.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::mem;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;

use super::Input;
use super::classes::Numbers;
use crate::model::{EndpointSlice, ObjectName, Service, ServicePort, SliceEndpoint, SlicePort};
use crate::rule_set::RuleSet;
use crate::tables::{
    Backend, Frontend, IdentityRef, MOST_FRONTENDS, PortEntry, PortOutcome, ServiceKind, ServiceTarget, Side, Tables,
};

/// The Services of a cluster at a node.
#[derive(Default)]
pub(super) struct Services {
    targets: Targets,
    own: OwnClasses,
}

/// What has changed of what they are made of.
#[derive(Default)]
pub(super) struct Stale<'a> {
    /// Anything may have.
    pub(super) everything: bool,
    /// The Services themselves.
    pub(super) services: bool,
    /// The slices of these.
    pub(super) slices_of: BTreeSet<ObjectName>,
    /// The entries of these addresses and networks.
    pub(super) addresses: Option<&'a BTreeSet<IpNet>>,
}

/// What renewing has changed.
#[derive(Default)]
pub(super) struct Renewed {
    pub(super) services: bool,
    pub(super) backends: bool,
    /// Whether there are or were classes of Services' own.
    pub(super) has_own: bool,
}

impl Services {
    /// Forgets the classes that Services have for themselves: others have their numbers now.
    pub(super) fn forget(&mut self) {
        self.own = OwnClasses::default();
    }

    /// The classes that Services have for themselves.
    pub(super) fn own_classes(&self) -> BTreeSet<u32> {
        self.own.numbers.values().copied().collect()
    }

    /// Follows what has changed, in tables whose addresses, endpoints and entries for peers are up to date.
    pub(super) fn renew(
        &mut self,
        input: &Input<'_>,
        tables: &mut Tables,
        stale: &Stale<'_>,
        is_policy_stale: bool,
        free: &mut Numbers,
    ) -> Renewed {
        let mut renewed = Renewed::default();
        let known = tables.endpoints.values().filter(|endpoint| endpoint.pod.is_some());
        let local: BTreeSet<IpAddr> = known.flat_map(|endpoint| endpoint.addresses.iter().copied()).collect();
        let (mut frontends, has_other_local) = self.targets.renew(input, stale, &local);
        if stale.everything {
            frontends.extend(self.targets.by_frontend.keys());
        } else if let Some(addresses) = stale.addresses {
            frontends.extend(self.targets.on(addresses));
        }
        if has_other_local || is_policy_stale || stale.everything {
            let backends = frontends_of_local_backends(&local, &self.targets.by_frontend);
            renewed.backends = backends != tables.backends;
            tables.backends = backends;
        }
        for frontend in &frontends {
            let after = self.targets.by_frontend.get(frontend).map(|target| {
                let (kind, class, port) = self.own.kind(tables, *frontend, target, free);
                ServiceTarget { service: target.service.clone(), class, port, kind }
            });
            renewed.services |= tables.services.get(frontend) != after.as_ref();
            match after {
                Some(after) => tables.services.insert(*frontend, after),
                None => tables.services.remove(frontend),
            };
        }
        renewed.has_own = !self.own.numbers.is_empty();
        if renewed.has_own {
            self.own.keep_only(&tables.services, &self.targets.by_frontend, free);
        }
        renewed
    }

    /// The entries of the classes that Services have for themselves.
    pub(super) fn own_entries(&self, tables: &Tables) -> Vec<PortEntry> {
        self.own.port_entries(tables)
    }
}

/// In order, and each once.
type Backends = Arc<[Backend]>;

/// What is behind a frontend.
#[derive(PartialEq, Eq)]
struct Target {
    service: ObjectName,
    /// Whether a backend on this node sees who the client is.
    keeps_source: bool,
    backends: Backends,
}

/// What is behind every frontend at this node.
#[derive(Default)]
struct Targets {
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
                .or_insert_with(|| slices.backends(service, port, address.is_ipv4(), only_on));
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

    /// Follows Services and slices. Returns the frontends behind which something else is now, or which are gone, and
    /// whether other backends on this node's own addresses are among that.
    fn renew(&mut self, input: &Input<'_>, stale: &Stale<'_>, local: &BTreeSet<IpAddr>) -> (BTreeSet<Frontend>, bool) {
        let mut differing = BTreeSet::new();
        if stale.everything || stale.services || self.is_contested && !stale.slices_of.is_empty() {
            let before = mem::replace(self, Self::of(input));
            let has_gone = |frontend: &&Frontend| !self.by_frontend.contains_key(frontend);
            differing.extend(before.by_frontend.keys().filter(has_gone));
            let is_other = |(frontend, target): &(&Frontend, &Target)| before.by_frontend.get(frontend) != Some(target);
            differing.extend(self.by_frontend.iter().filter(is_other).map(|(frontend, _)| *frontend));
            return (differing, true);
        }
        let cluster = input.cluster;
        let of_services = stale.slices_of.iter().flat_map(|name| {
            let slices = cluster.endpoint_slices.iter_from(&ObjectName::new(&name.namespace, ""));
            slices.take_while(|slice| slice.name.namespace == name.namespace)
        });
        let slices = Slices::of(of_services);
        let mut renewed = Self::default();
        for service in stale.slices_of.iter().filter_map(|name| cluster.services.get(name)) {
            renewed.add(input, &slices, service);
        }
        let mut has_other_local = false;
        for (frontend, target) in renewed.by_frontend {
            let before = self.by_frontend.get(&frontend);
            has_other_local |= before.is_none_or(|before| before.among(local) != target.among(local));
            differing.insert(frontend);
            self.by_frontend.insert(frontend, target);
        }
        (differing, has_other_local)
    }

    /// The frontends with backends on one of these addresses, or in one of these networks.
    fn on<'a>(&'a self, nets: &'a BTreeSet<IpNet>) -> impl Iterator<Item = Frontend> + 'a {
        let (hosts, wide): (BTreeSet<IpNet>, BTreeSet<IpNet>) =
            nets.iter().partition(|net| net.prefix_len() == net.max_prefix_len());
        let is_on = move |backends: &[Backend]| {
            wide.iter().any(|net| backends.iter().any(|backend| net.contains(&backend.address)))
                || if hosts.len() < backends.len() {
                    let has = |address| backends.binary_search_by(|backend| backend.address.cmp(&address)).is_ok();
                    hosts.iter().any(|net| has(net.addr()))
                } else {
                    backends.iter().any(|backend| hosts.contains(&IpNet::from(backend.address)))
                }
        };
        self.by_frontend.iter().filter(move |(_, target)| is_on(&target.backends)).map(|(frontend, _)| *frontend)
    }
}

impl Target {
    /// The backends that are on these addresses.
    fn among(&self, addresses: &BTreeSet<IpAddr>) -> Vec<Backend> {
        self.backends.iter().copied().filter(|backend| addresses.contains(&backend.address)).collect()
    }

    /// What those that share a class of their own have in common.
    fn group(&self) -> (Backends, bool) {
        (Arc::clone(&self.backends), self.keeps_source)
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
    fn backends(&self, service: &Service, port: &ServicePort, ipv4: bool, only_on: Option<&str>) -> Backends {
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
                .map(|(port, endpoint)| (*port, endpoint.address))
                .filter(|(_, address)| address.is_ipv4() == ipv4)
                .map(|(number, address)| Backend { address, protocol: port.protocol, port: number.get() })
                .collect()
        };
        let ready = those(|endpoint| endpoint.ready);
        let chosen = if ready.is_empty() {
            those(|endpoint| !endpoint.ready && endpoint.serving && endpoint.terminating)
        } else {
            ready
        };
        chosen.into_iter().collect()
    }
}

/// The frontends of each backend that is an endpoint of this node with a known pod, of which these are the addresses, if
/// its hook can know them all.
fn frontends_of_local_backends(
    local: &BTreeSet<IpAddr>,
    targets: &BTreeMap<Frontend, Target>,
) -> BTreeMap<Backend, Vec<Frontend>> {
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
#[derive(Default)]
struct OwnClasses {
    numbers: BTreeMap<(Backends, bool), u32>,
    /// At which ports each class must have entries. The protocol is the backends'.
    ports: BTreeSet<(u32, u16)>,
}

impl OwnClasses {
    /// How to decide about these backends, with the class and port under which the entries stand.
    fn kind(
        &mut self,
        tables: &Tables,
        frontend: Frontend,
        target: &Target,
        free: &mut Numbers,
    ) -> (ServiceKind, u32, u16) {
        target.kind(tables, frontend).unwrap_or_else(|| {
            let class = *self.numbers.entry(target.group()).or_insert_with(|| free.take());
            (ServiceKind::Own, class, frontend.port)
        })
    }

    /// Forgets what none of the Services has any more, and learns their ports.
    fn keep_only(
        &mut self,
        services: &BTreeMap<Frontend, ServiceTarget>,
        targets: &BTreeMap<Frontend, Target>,
        free: &mut Numbers,
    ) {
        let own = services.iter().filter(|(_, target)| target.kind == ServiceKind::Own);
        self.ports = own.clone().map(|(frontend, target)| (target.class, frontend.port)).collect();
        let groups: BTreeSet<(Backends, bool)> =
            own.filter_map(|(frontend, _)| Some(targets.get(frontend)?.group())).collect();
        self.numbers.retain(|group, number| {
            let stays = groups.contains(group);
            if !stays {
                free.give_back(*number);
            }
            stays
        });
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
    backends: &[Backend],
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
