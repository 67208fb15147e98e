//! Gives the compiled tables the numbers that the kernel works with.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net};
use podwitness_datapath::{AddressPrefix, PolicyPrefix, Tables as KernelTables};
use podwitness_policy::{
    Cluster, EndpointTable, IdentityRef, ObjectName, Pod, PortEntry, PortOutcome, Protocol, RuleSet, ServiceKind,
    ServiceTarget, Side, Tables,
};
use podwitness_spool as spool;
use podwitness_wire::{
    Address, AddressEntry, EndpointEntry, Frontend, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress, address_flags, endpoint_flags, ipv4_mapped, policy_outcome, service_kind,
};

use crate::definitions::{Definitions, Present};

/// The compiled tables in the kernel's numbers, and what they say of the present.
pub(crate) struct Numbered {
    /// What the kernel gets.
    pub(crate) tables: KernelTables,
    /// Who is where.
    pub(crate) present: Present,
}

/// Numbers the tables. New identities and rule sets are defined on the way; they are durable when the definitions are
/// next committed, which must be before the tables are put in force.
pub(crate) fn number(
    tables: &Tables,
    cluster: &Cluster,
    node: &str,
    audits: bool,
    definitions: &Definitions,
) -> Numbered {
    let mut numbering = Numbering::new(cluster, node, definitions);
    let mut kernel = KernelTables::default();
    let mut present = Present::default();

    let endpoints = tables.endpoints.iter().flat_map(|(&interface, endpoint)| {
        endpoint.addresses.iter().map(move |&address| (IpNet::from(address), interface))
    });
    let interfaces: HashMap<IpNet, u32> = endpoints.collect();
    for (net, address) in tables.addresses.iter().filter(|(net, _)| !is_ipv4_mapped_net(net)) {
        let known = numbering.known(&address.identity);
        if known.owner != 0 {
            present.by_address.insert(net.addr(), known.identity);
        } else if known.flags & address_flags::NODE != 0 {
            present.nodes.insert(net.addr(), known.identity);
        } else if known.flags & address_flags::POD_RANGE != 0 {
            present.pod_ranges.push(*net);
        }
        let interface = interfaces.get(net).copied().unwrap_or(0);
        kernel.addresses.push((prefix(net), AddressEntry { class: address.class, interface, ..known }));
    }
    // Both families stand in one trie, in which `::/0` covers the IPv4-mapped addresses too: without an entry of their own
    // for all of them, IPv4 addresses would be of the class of an IPv6 block.
    let everything = IpNet::from(Ipv4Net::default());
    if !tables.addresses.contains_key(&everything) {
        kernel.addresses.push((prefix(&everything), AddressEntry::default()));
    }
    for (&interface, endpoint) in &tables.endpoints {
        let entry = numbering.endpoint(endpoint, audits);
        if endpoint.pod.is_some() {
            present.by_interface.insert(interface, entry.identity);
        }
        kernel.endpoints.push((interface, entry));
        let own = endpoint.addresses.iter();
        kernel.own_addresses.extend(own.map(|&own| OwnAddressKey { interface, address: address(own) }));
    }
    kernel.policy = tables.ports.iter().map(|entry| numbering.policy(entry)).collect();
    kernel.services = services(tables, definitions);
    for (backend, behind) in &tables.backends {
        let mut frontends = Frontends::default();
        for (place, frontend) in frontends.list.iter_mut().zip(behind) {
            *place = Frontend { address: address(frontend.address), port: frontend.port, zero: [0; 2] };
            frontends.count += 1;
        }
        kernel.frontends.push((transport_address(backend.address, backend.port, backend.protocol), frontends));
    }
    // In order, a change of them costs less.
    kernel.addresses.sort_unstable_by_key(|(prefix, _)| *prefix);
    kernel.policy.sort_unstable_by_key(|(prefix, _)| *prefix);
    kernel.own_addresses.sort_unstable();
    kernel.frontends.sort_unstable_by_key(|(backend, _)| *backend);
    Numbered { tables: kernel, present }
}

/// The pod identity that is at an address now, if there is one.
pub(crate) type AddressNow = (IpAddr, Option<u32>);

/// Numbers anew what may have changed in tables that were numbered before: the entries of single addresses and, if it is said so,
/// those of Services. Returns whether anything has changed, and who is at the addresses now.
pub(crate) fn renumber(
    kernel: &mut KernelTables,
    tables: &Tables,
    (addresses, has_services): (&BTreeSet<IpAddr>, bool),
    cluster: &Cluster,
    node: &str,
    definitions: &Definitions,
) -> (bool, Vec<AddressNow>) {
    let mut numbering = Numbering::new(cluster, node, definitions);
    let (mut has_changed, mut now) = (false, Vec::new());
    for &host in addresses.iter().filter(|host| !is_ipv4_mapped_net(&IpNet::from(**host))) {
        let net = IpNet::from(host);
        let entry = tables.addresses.get(&net).map(|of| {
            let has = |endpoint: &EndpointTable| endpoint.addresses.contains(&host);
            let interface = tables.endpoints.iter().find(|(_, endpoint)| has(endpoint)).map_or(0, |(index, _)| *index);
            AddressEntry { class: of.class, interface, ..numbering.known(&of.identity) }
        });
        let place = kernel.addresses.binary_search_by_key(&prefix(&net), |(prefix, _)| *prefix);
        let before = place.ok().map(|there| kernel.addresses[there].1);
        if before == entry {
            continue;
        }
        has_changed = true;
        now.push((host, entry.filter(|entry| entry.owner != 0).map(|entry| entry.identity)));
        match (place, entry) {
            (Ok(there), Some(entry)) => kernel.addresses[there].1 = entry,
            (Ok(there), None) => drop(kernel.addresses.remove(there)),
            (Err(next), Some(entry)) => kernel.addresses.insert(next, (prefix(&net), entry)),
            (Err(_), None) => {}
        }
    }
    if has_services {
        let services = services(tables, definitions);
        has_changed |= kernel.services != services;
        kernel.services = services;
    }
    (has_changed, now)
}

fn services(tables: &Tables, definitions: &Definitions) -> Vec<(TransportAddress, ServiceEntry)> {
    let entry = |target: &ServiceTarget| {
        let kind = match target.kind {
            ServiceKind::Empty => service_kind::EMPTY,
            ServiceKind::Alike => service_kind::ALIKE,
            ServiceKind::Own => service_kind::OWN,
            ServiceKind::Node => service_kind::NODE,
        };
        let service = definitions.number_service(&target.service);
        ServiceEntry { service, class: target.class, port: target.port, kind, zero: 0 }
    };
    let mut services: Vec<_> = tables
        .services
        .iter()
        .map(|(frontend, target)| {
            (transport_address(frontend.address, frontend.port, frontend.protocol), entry(target))
        })
        .collect();
    services.sort_unstable_by_key(|(frontend, _)| *frontend);
    services
}

struct Numbering<'a> {
    cluster: &'a Cluster,
    node: &'a str,
    definitions: &'a Definitions,
    /// Numbers given in this round: pods and rule sets stand in many entries.
    pods: HashMap<&'a ObjectName, u32>,
    rule_sets: HashMap<RuleSet, u32>,
}

impl<'a> Numbering<'a> {
    fn new(cluster: &'a Cluster, node: &'a str, definitions: &'a Definitions) -> Self {
        Self { cluster, node, definitions, pods: HashMap::new(), rule_sets: HashMap::new() }
    }

    /// What is known of an address, without its class and interface.
    fn known(&mut self, identity: &'a IdentityRef) -> AddressEntry {
        let (identity, flags, owner) = match identity {
            IdentityRef::Pod(name) => (self.pod(name), 0, self.owner(name)),
            IdentityRef::Node(name) => (self.host(name), address_flags::NODE, 0),
            IdentityRef::LocalNode => (self.host(self.node), address_flags::NODE | address_flags::LOCAL_NODE, 0),
            IdentityRef::PodRange => (0, address_flags::POD_RANGE, 0),
            IdentityRef::External => (0, 0, 0),
        };
        AddressEntry { identity, flags, owner, ..AddressEntry::default() }
    }

    fn endpoint(&mut self, endpoint: &'a EndpointTable, node_audits: bool) -> EndpointEntry {
        let identity = endpoint.pod.as_ref().map_or(0, |pod| self.pod(pod));
        let mut entry = EndpointEntry { identity, ..EndpointEntry::default() };
        if endpoint.pod.is_some() {
            entry.flags |= endpoint_flags::KNOWN;
        }
        if endpoint.audits.unwrap_or(node_audits) {
            entry.flags |= endpoint_flags::AUDIT;
        }
        if let Side::Isolated { subject, isolating } = &endpoint.ingress {
            entry.flags |= endpoint_flags::ISOLATED_INGRESS;
            entry.ingress_subject = *subject;
            entry.ingress_isolating = self.rule_set(isolating);
        }
        if let Side::Isolated { subject, isolating } = &endpoint.egress {
            entry.flags |= endpoint_flags::ISOLATED_EGRESS;
            entry.egress_subject = *subject;
            entry.egress_isolating = self.rule_set(isolating);
        }
        entry
    }

    fn policy(&mut self, entry: &PortEntry) -> (PolicyPrefix, PolicyEntry) {
        let (protocol, bits) = match entry.protocol {
            None => (0, PolicyKeyData::ANY_PROTOCOL_BITS),
            Some(protocol) => (protocol, PolicyKeyData::ANY_PORT_BITS + u32::from(entry.port_bits)),
        };
        let data = PolicyKeyData::new(entry.subject, entry.class, protocol, entry.port);
        let outcome = match entry.outcome {
            PortOutcome::Allowed => policy_outcome::ALLOWED,
            PortOutcome::Deferred => policy_outcome::DEFERRED,
            PortOutcome::MixedDenied => policy_outcome::MIXED_DENIED,
        };
        (PolicyPrefix { data, bits }, PolicyEntry { rule_set: self.rule_set(&entry.rule_set), outcome })
    }

    fn host(&self, node: &str) -> u32 {
        self.definitions.number_identity(spool::Identity { node: node.to_owned(), ..spool::Identity::default() })
    }

    fn pod(&mut self, name: &'a ObjectName) -> u32 {
        if let Some(&number) = self.pods.get(name) {
            return number;
        }
        let number = self.cluster.pods.get(name).map_or(0, |pod| self.definitions.number_identity(incarnation(pod)));
        self.pods.insert(name, number);
        number
    }

    /// The number of a pod whatever its labels: that of a definition in which they do not stand.
    fn owner(&self, name: &ObjectName) -> u32 {
        self.cluster.pods.get(name).map_or(0, |pod| {
            self.definitions.number_identity(spool::Identity {
                namespace: pod.name.namespace.clone(),
                pod: pod.name.name.clone(),
                pod_uid: pod.uid.clone(),
                node: pod.node.clone().unwrap_or_default(),
                ..spool::Identity::default()
            })
        })
    }

    fn rule_set(&mut self, rules: &RuleSet) -> u32 {
        if let Some(&number) = self.rule_sets.get(rules) {
            return number;
        }
        let policies = rules.iter().map(|rule| spool::PolicyRule {
            namespace: rule.policy.namespace.clone(),
            name: rule.policy.name.clone(),
            uid: rule.uid.clone(),
            rule: rule.rule.map(|index| i32::try_from(index).unwrap_or(i32::MAX)),
        });
        let number = self.definitions.number_rule_set(spool::RuleSet { id: 0, policies: policies.collect() });
        self.rule_sets.insert(rules.clone(), number);
        number
    }
}

/// This pod, with these labels: what evidence says of it.
fn incarnation(pod: &Pod) -> spool::Identity {
    spool::Identity {
        id: 0,
        namespace: pod.name.namespace.clone(),
        pod: pod.name.name.clone(),
        pod_uid: pod.uid.clone(),
        service_account: pod.service_account.clone(),
        workload_kind: pod.workload_kind.clone().unwrap_or_default(),
        workload: pod.workload.clone().unwrap_or_default(),
        node: pod.node.clone().unwrap_or_default(),
        // A map of strings with its keys in order.
        labels: serde_json::to_string(&*pod.labels).expect("strings can be written as JSON"),
    }
}

/// Bits before an IPv4 address in its IPv4-mapped form.
const MAPPED_BITS: u8 = 96;

fn prefix(net: &IpNet) -> AddressPrefix {
    let bits = match net {
        IpNet::V4(net) => u32::from(MAPPED_BITS + net.prefix_len()),
        IpNet::V6(net) => u32::from(net.prefix_len()),
    };
    AddressPrefix { address: address(net.network()), bits }
}

/// Whether it is an IPv6 network of nothing but IPv4-mapped addresses. No packet can have one of these (the parser takes
/// them for malformed), and in the kernel's table they stand for IPv4.
fn is_ipv4_mapped_net(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.prefix_len() >= MAPPED_BITS && net.network().to_ipv4_mapped().is_some())
}

fn transport_address(ip: IpAddr, port: u16, protocol: Protocol) -> TransportAddress {
    TransportAddress { address: address(ip), port, protocol: protocol.number(), zero: 0 }
}

fn address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => ipv4_mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests;
