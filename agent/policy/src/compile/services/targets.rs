//! What is behind every frontend at a node, made anew with the Services and slices that change.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::mem;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;

use super::Stale;
use crate::compile::Input;
use crate::model::{EndpointSlice, ObjectName, Service, ServicePort, SliceEndpoint, SlicePort};
use crate::tables::{Backend, Frontend, MOST_FRONTENDS};

/// In order, and each once.
pub(super) type Backends = Arc<[Backend]>;

/// What is behind a frontend.
#[derive(PartialEq, Eq)]
pub(super) struct Target {
    pub(super) service: ObjectName,
    /// Whether a backend on this node sees who the client is.
    keeps_source: bool,
    pub(super) backends: Backends,
    /// The [marks](mark) of the backends' addresses, so that most frontends need not look at their backends for one.
    marks: u64,
}

/// What is behind every frontend at this node.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) by_frontend: BTreeMap<Frontend, Target>,
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
        for port in service.ports.iter() {
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
                    let marks = marks(backends.iter().map(|backend| backend.address));
                    vacant.insert(Target { service, keeps_source, backends: Arc::clone(backends), marks });
                }
            }
        }
    }

    /// Follows Services and slices. Returns the frontends behind which something else is now, or which are gone, and
    /// whether other backends on this node's own addresses are among that.
    pub(super) fn renew(
        &mut self,
        input: &Input<'_>,
        stale: &Stale<'_>,
        local: &BTreeSet<IpAddr>,
    ) -> (BTreeSet<Frontend>, bool) {
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
            let slices = cluster.endpoint_slices.iter_from(&ObjectName::new(name.namespace(), ""));
            slices.take_while(|slice| slice.name.namespace() == name.namespace())
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
    pub(super) fn on<'a>(&'a self, nets: &'a BTreeSet<IpNet>) -> impl Iterator<Item = Frontend> + 'a {
        let (hosts, wide): (BTreeSet<IpNet>, BTreeSet<IpNet>) =
            nets.iter().partition(|net| net.prefix_len() == net.max_prefix_len());
        let marks = marks(hosts.iter().map(IpNet::addr));
        let is_on = move |target: &Target| {
            let backends = &target.backends;
            let has_mark = target.marks & marks != 0;
            wide.iter().any(|net| backends.iter().any(|backend| net.contains(&backend.address)))
                || has_mark
                    && if hosts.len() < backends.len() {
                        let has = |address| backends.binary_search_by(|backend| backend.address.cmp(&address)).is_ok();
                        hosts.iter().any(|net| has(net.addr()))
                    } else {
                        backends.iter().any(|backend| hosts.contains(&IpNet::from(backend.address)))
                    }
        };
        self.by_frontend.iter().filter(move |(_, target)| is_on(target)).map(|(frontend, _)| *frontend)
    }
}

/// One bit of 64 for an address: where something has it not, it has not the address.
fn mark(address: IpAddr) -> u64 {
    // Those of one network differ in few of the last bits.
    let last = match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            address.segments()[4..].iter().fold(0_u32, |bits, segment| bits.rotate_left(9) ^ u32::from(*segment))
        }
    };
    // A product spreads them (Knuth, The Art of Computer Programming, 6.4).
    1 << (last.wrapping_mul(0x9e37_79b1) >> 26)
}

fn marks(addresses: impl Iterator<Item = IpAddr>) -> u64 {
    addresses.fold(0, |marks, address| marks | mark(address))
}

impl Target {
    /// The backends that are on these addresses.
    fn among(&self, addresses: &BTreeSet<IpAddr>) -> Vec<Backend> {
        self.backends.iter().copied().filter(|backend| addresses.contains(&backend.address)).collect()
    }

    /// What those that share a class of their own have in common.
    pub(super) fn group(&self) -> (Backends, bool) {
        (Arc::clone(&self.backends), self.keeps_source)
    }
}

impl<'a> Slices<'a> {
    fn of(all: impl IntoIterator<Item = &'a EndpointSlice>) -> Self {
        let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in all {
            if let Some(service) = &slice.service {
                slices.entry((slice.name.namespace(), service)).or_default().push(slice);
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
            .get(&(service.name.namespace(), service.name.name()))
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
pub(super) fn frontends_of_local_backends(
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
