//! A cluster that is followed: what one compilation has made serves the next.
//!
//! Of ten thousand pods a few change at a time, nearly all on other nodes. They touch no rule, no subject and no port: each of
//! their addresses gets an entry or loses it, in a class that is known. That is done in place, for exactly the addresses
//! and Services in question ([`Last::patch`]); everything else is compiled from nothing. Where it is not certain that a
//! patch comes to the same, it is not tried.
//!
//! Both ways lead to the same tables but for the numbers of classes, which mean nothing in themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::classes::Matches;
use super::subjects::Subjects;
use super::{Endpoint, Input, Whole, whole};
use crate::model::{Cluster, EndpointSlice, ObjectName, Pod};
use crate::tables::{Address, IdentityRef, Tables};

/// Compiles one cluster after the other for a node.
#[derive(Default)]
pub struct Compiler {
    last: Option<Last>,
}

/// What may differ between the tables of two compilations, and in what the pods are that stand in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Anything.
    Everything,
    /// Some entries.
    Entries {
        /// The entries of these addresses, in [`Tables::addresses`] or no longer there, and their pods.
        addresses: BTreeSet<IpAddr>,
        /// Whether entries in [`Tables::services`] too.
        services: bool,
    },
}

impl Compiler {
    /// What [`compile`](super::compile) makes of the cluster, but for the numbers of classes, and what is new in it since
    /// the last time.
    pub fn compile(
        &mut self,
        cluster: &Arc<Cluster>,
        node: &str,
        node_addresses: &[IpAddr],
        endpoints: &[Endpoint],
    ) -> (&Tables, Changed) {
        let input = Input { cluster, node, node_addresses, endpoints };
        let patched = self.last.as_mut().and_then(|last| last.patch(&input));
        let last = match (self.last.take(), &patched) {
            (Some(last), Some(_)) => Last { cluster: Arc::clone(cluster), ..last },
            (before, _) => {
                let mut whole = whole(&input);
                if let Some(before) = before {
                    whole.keep_numbers(&before.whole.tables);
                }
                Last {
                    cluster: Arc::clone(cluster),
                    node: node.to_owned(),
                    node_addresses: node_addresses.to_owned(),
                    endpoints: endpoints.to_owned(),
                    whole,
                }
            }
        };
        (&self.last.insert(last).whole.tables, patched.unwrap_or(Changed::Everything))
    }
}

/// A compilation, and of what.
struct Last {
    cluster: Arc<Cluster>,
    node: String,
    node_addresses: Vec<IpAddr>,
    endpoints: Vec<Endpoint>,
    whole: Whole,
}

impl Last {
    /// Follows changes of pods elsewhere and of slices, in place. `None` where it must be compiled anew; then the tables
    /// are not to be used.
    fn patch(&mut self, input: &Input<'_>) -> Option<Changed> {
        let (before, now) = (Arc::clone(&self.cluster), input.cluster);
        let is_rest_alike = self.node == input.node
            && self.node_addresses == input.node_addresses
            && self.endpoints == input.endpoints
            && before.policies == now.policies
            && before.namespaces == now.namespaces
            && before.nodes == now.nodes
            && before.services == now.services
            && before.trails == now.trails;
        if !is_rest_alike {
            return None;
        }
        let pods = differences(before.pods.iter(), now.pods.iter(), |pod| &pod.name);
        let of_endpoints: BTreeSet<&ObjectName> =
            input.endpoints.iter().filter_map(|endpoint| endpoint.pod.as_ref()).collect();
        if pods.iter().flat_map(Difference::both).any(|pod| of_endpoints.contains(&pod.name)) {
            return None;
        }
        let addresses = on_network(pods.iter().flat_map(Difference::both)).map(|(address, _)| address).collect();
        let reclassed = self.patch_addresses(input, &pods, &addresses)?;

        let slices = differences(before.endpoint_slices.iter(), now.endpoint_slices.iter(), |slice| &slice.name);
        let services: BTreeSet<ObjectName> = slices.iter().flat_map(Difference::both).filter_map(service_of).collect();
        let has_services = !services.is_empty() || !reclassed.is_empty();
        let Whole { tables, targets, .. } = &mut self.whole;
        if has_services && !targets.update(input, tables, &services, &reclassed) {
            return None;
        }
        Some(Changed::Entries { addresses, services: has_services })
    }

    /// Gives addresses to the pods that have them now. Returns those that come to another class with it.
    fn patch_addresses(
        &mut self,
        input: &Input<'_>,
        pods: &[Difference<'_, Pod>],
        addresses: &BTreeSet<IpAddr>,
    ) -> Option<BTreeSet<IpAddr>> {
        let Whole { tables, classes, entangled, .. } = &mut self.whole;
        let changed: BTreeSet<&ObjectName> = pods.iter().flat_map(Difference::both).map(|pod| &pod.name).collect();
        let mut owners: BTreeMap<IpAddr, &Pod> = BTreeMap::new();
        for (address, pod) in on_network(pods.iter().filter_map(|pod| pod.after)) {
            if owners.insert(address, pod).is_some_and(|other| other.name != pod.name) {
                return None;
            }
        }
        let subjects = if owners.is_empty() { None } else { Some(Subjects::of(input)) };
        let mut matches = subjects.as_ref().map(|subjects| Matches::of(input.cluster, &subjects.rules));
        let mut reclassed = BTreeSet::new();
        for &address in addresses {
            let net = IpNet::from(address);
            let before = tables.addresses.get(&net);
            let is_of_changed = match before.map(|before| &before.identity) {
                None => true,
                Some(IdentityRef::Pod(name)) => changed.contains(name),
                Some(_) => false,
            };
            if entangled.contains(&address) || !is_of_changed {
                return None;
            }
            let class_before = before.map(|before| before.class);
            let after = match (owners.get(&address), &mut matches) {
                (Some(&pod), Some(matches)) => {
                    let profile = matches.profile(net, Some(pod)).into_owned();
                    let is_of_everybody = profile.0.is_empty() && profile.1.is_empty();
                    let class = if is_of_everybody { 0 } else { *classes.get(&profile)? };
                    Some(Address { class, identity: IdentityRef::Pod(pod.name.clone()) })
                }
                _ => None,
            };
            if after.as_ref().map(|after| after.class) != class_before {
                reclassed.insert(address);
            }
            match after {
                Some(after) => tables.addresses.insert(net, after),
                None => tables.addresses.remove(&net),
            };
        }
        Some(reclassed)
    }
}

impl Whole {
    /// Has classes keep the numbers that their members had, as far as that is possible: what is alike in the kernel's
    /// tables need not be written again.
    fn keep_numbers(&mut self, before: &Tables) {
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::from([(0, 0)]);
        let mut taken: BTreeSet<u32> = BTreeSet::from([0]);
        let mut keep = |now: u32, before: u32| {
            if before != 0 && !numbers.contains_key(&now) && taken.insert(before) {
                numbers.insert(now, before);
            }
        };
        let mut old = before.addresses.iter().peekable();
        for (net, address) in &self.tables.addresses {
            while old.next_if(|(before, _)| *before < net).is_some() {}
            if let Some((_, before)) = old.next_if(|(before, _)| *before == net) {
                keep(address.class, before.class);
            }
        }
        for (frontend, target) in &self.tables.services {
            if let Some(before) = before.services.get(frontend) {
                keep(target.class, before.class);
            }
        }
        let mut free = (1..).filter(|number| !taken.contains(number));
        let mut number = |class: &mut u32| {
            let next = || free.next().expect("there are fewer classes than addresses");
            *class = *numbers.entry(*class).or_insert_with(next);
        };
        self.tables.addresses.values_mut().for_each(|address| number(&mut address.class));
        self.tables.services.values_mut().for_each(|target| number(&mut target.class));
        self.tables.ports.iter_mut().for_each(|entry| number(&mut entry.class));
        self.classes.values_mut().for_each(number);
        self.tables.ports.sort_by_key(crate::tables::PortEntry::key);
    }
}

/// An object that came, went or changed.
struct Difference<'a, T> {
    before: Option<&'a T>,
    after: Option<&'a T>,
}

impl<'a, T> Difference<'a, T> {
    fn both(&self) -> impl Iterator<Item = &'a T> + use<'a, T> {
        self.before.into_iter().chain(self.after)
    }
}

/// What differs between two lists in the order of their names.
fn differences<'a, T: PartialEq, N: Ord + ?Sized + 'a>(
    before: impl Iterator<Item = &'a T>,
    after: impl Iterator<Item = &'a T>,
    name: impl Fn(&'a T) -> &'a N,
) -> Vec<Difference<'a, T>> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    let mut differences = Vec::new();
    loop {
        let (before, after) = match (before.peek(), after.peek()) {
            (None, None) => return differences,
            (Some(_), None) => (before.next(), None),
            (None, Some(_)) => (None, after.next()),
            (Some(&gone), Some(&came)) if std::ptr::eq(gone, came) => {
                before.next();
                after.next();
                continue;
            }
            (Some(&gone), Some(&came)) => {
                let first = name(gone).min(name(came));
                (before.next_if(|next| name(next) == first), after.next_if(|next| name(next) == first))
            }
        };
        if before != after {
            differences.push(Difference { before, after });
        }
    }
}

/// The addresses of pods that have some of their own.
fn on_network<'a>(pods: impl Iterator<Item = &'a Pod>) -> impl Iterator<Item = (IpAddr, &'a Pod)> {
    let pods = pods.filter(|pod| pod.is_on_pod_network());
    pods.flat_map(|pod| pod.addresses.iter().map(move |address| (*address, pod)))
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectName> {
    Some(ObjectName::new(&slice.name.namespace, slice.service.as_ref()?))
}
