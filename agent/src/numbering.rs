//! Gives the compiled tables the numbers that the kernel works with.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net};
use podwitness_datapath::{AddressPrefix, PolicyPrefix, Tables as KernelTables};
use podwitness_policy::{
    Changed, Cluster, EndpointTable, IdentityRef, ObjectName, Pod, PortEntry, PortOutcome, Protocol, RuleSet,
    ServiceKind, ServiceTarget, Side, Tables,
};
use podwitness_sorted::{Edit, SortedList};
use podwitness_spool as spool;
use podwitness_wire::{
    Address, AddressEntry, EndpointEntry, Frontend, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress, address_flags, endpoint_flags, ipv4_mapped, policy_outcome, service_kind,
};

use crate::definitions::Definitions;

/// Brings tables in the kernel's numbers up to what compiled tables say now, where these have changed since the numbers
/// were given; the first time everything has. Returns whether anything is different.
///
/// New identities and rule sets are defined on the way; they are written when the definitions are, which must be before the
/// tables are put in force.
pub(crate) fn number(
    kernel: &mut KernelTables,
    tables: &Tables,
    changed: &Changed,
    of: Of<'_>,
    definitions: &Definitions,
) -> bool {
    let mut numbering = Numbering::new(of, definitions);
    let mut is_different = numbering.addresses(kernel, tables, &changed.addresses);
    let mut renew = |is_stale: bool, renewed: &mut dyn FnMut(&mut KernelTables) -> bool| {
        if is_stale {
            is_different |= renewed(kernel);
        }
    };
    renew(changed.endpoints, &mut |kernel| {
        let endpoints = tables.endpoints.iter();
        let own = endpoints.clone().flat_map(|(&interface, endpoint)| {
            endpoint.addresses.iter().map(move |&own| (OwnAddressKey { interface, address: address(own) }, 0))
        });
        let is_other_own = replace(&mut kernel.own_addresses, own);
        let endpoints = endpoints.map(|(&interface, endpoint)| (interface, numbering.endpoint(endpoint)));
        replace(&mut kernel.endpoints, endpoints) || is_other_own
    });
    renew(changed.ports, &mut |kernel| {
        replace(&mut kernel.policy, tables.ports.iter().map(|entry| numbering.policy(entry)))
    });
    renew(changed.services, &mut |kernel| replace(&mut kernel.services, services(tables, definitions)));
    renew(changed.backends, &mut |kernel| replace(&mut kernel.frontends, frontends(tables)));
    is_different
}

/// What tables are about.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    /// The cluster.
    pub(crate) cluster: &'a Cluster,
    /// This node's name.
    pub(crate) node: &'a str,
    /// Whether the node's witness mode is `audit`.
    pub(crate) audits: bool,
}

/// Puts entries, each key once, in the place of others; returns whether anything is different.
fn replace<K: Copy + Ord, V: Copy + PartialEq>(
    place: &mut SortedList<(K, V)>,
    with: impl Iterator<Item = (K, V)>,
) -> bool {
    let mut entries: Vec<(K, V)> = with.collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    place.become_these(entries)
}

fn frontends(tables: &Tables) -> impl Iterator<Item = (TransportAddress, Frontends)> {
    let of_backend = |behind: &[podwitness_policy::Frontend]| {
        let mut frontends = Frontends::default();
        for (place, frontend) in frontends.list.iter_mut().zip(behind) {
            *place = Frontend { address: address(frontend.address), port: frontend.port, zero: [0; 2] };
            frontends.count += 1;
        }
        frontends
    };
    tables.backends.iter().map(move |(backend, behind)| {
        (transport_address(backend.address, backend.port, backend.protocol), of_backend(behind))
    })
}

fn services(tables: &Tables, definitions: &Definitions) -> impl Iterator<Item = (TransportAddress, ServiceEntry)> {
    let entry = move |target: &ServiceTarget| {
        let kind = match target.kind {
            ServiceKind::Empty => service_kind::EMPTY,
            ServiceKind::Alike => service_kind::ALIKE,
            ServiceKind::Own => service_kind::OWN,
            ServiceKind::Node => service_kind::NODE,
        };
        let service = definitions.number_service(&target.service);
        ServiceEntry { service, class: target.class, port: target.port, kind, zero: 0 }
    };
    tables.services.iter().map(move |(frontend, target)| {
        (transport_address(frontend.address, frontend.port, frontend.protocol), entry(target))
    })
}

struct Numbering<'a> {
    of: Of<'a>,
    definitions: &'a Definitions,
    /// Numbers given in this round: pods and rule sets stand in many entries.
    pods: HashMap<&'a ObjectName, NumberedPod>,
    rule_sets: HashMap<RuleSet, u32>,
}

impl<'a> Numbering<'a> {
    fn new(of: Of<'a>, definitions: &'a Definitions) -> Self {
        Self { of, definitions, pods: HashMap::new(), rule_sets: HashMap::new() }
    }

    /// Brings the entries of some networks up to date.
    fn addresses(&mut self, kernel: &mut KernelTables, tables: &'a Tables, changed: &BTreeSet<IpNet>) -> bool {
        let interfaces = tables.endpoints.iter().flat_map(|(&interface, endpoint)| {
            endpoint.addresses.iter().map(move |&address| (IpNet::from(address), interface))
        });
        let interfaces: HashMap<IpNet, u32> = interfaces.collect();
        // Both families stand in one trie, in which `::/0` covers the IPv4-mapped addresses too: without an entry of their own
        // for all of them, IPv4 addresses would be of the class of an IPv6 block.
        let everything = IpNet::from(Ipv4Net::default());
        let nets = changed.iter().copied().filter(|net| *net != everything).chain([everything]);
        let mut edits = Vec::new();
        for net in nets.filter(|net| !is_ipv4_mapped_net(net)) {
            let after = tables.addresses.get(&net).map(|address| {
                let interface = interfaces.get(&net).copied().unwrap_or(0);
                AddressEntry { class: address.class, interface, ..self.known(&address.identity) }
            });
            let after = if net == everything { Some(after.unwrap_or_default()) } else { after };
            let prefix = prefix(&net);
            if kernel.addresses.get(&prefix).map(|(_, entry)| *entry) != after {
                edits.push((prefix, after));
            }
        }
        edits.sort_unstable_by_key(|(prefix, _)| *prefix);
        kernel.addresses.edit(edits.iter().map(|(prefix, entry)| match entry {
            Some(entry) => Edit::Put((*prefix, *entry)),
            None => Edit::Take(prefix),
        }));
        !edits.is_empty()
    }

    /// What is known of an address, without its class and interface.
    fn known(&mut self, identity: &'a IdentityRef) -> AddressEntry {
        let (identity, flags, owner) = match identity {
            IdentityRef::Pod(name) => {
                let pod = self.pod(name);
                (pod.incarnation, 0, pod.owner)
            }
            IdentityRef::Node(name) => (self.host(name), address_flags::NODE, 0),
            IdentityRef::LocalNode => (self.host(self.of.node), address_flags::NODE | address_flags::LOCAL_NODE, 0),
            IdentityRef::PodRange => (0, address_flags::POD_RANGE, 0),
            IdentityRef::External => (0, 0, 0),
        };
        AddressEntry { identity, flags, owner, ..AddressEntry::default() }
    }

    fn endpoint(&mut self, endpoint: &'a EndpointTable) -> EndpointEntry {
        let identity = endpoint.pod.as_ref().map_or(0, |pod| self.pod(pod).incarnation);
        let mut entry = EndpointEntry { identity, ..EndpointEntry::default() };
        if endpoint.pod.is_some() {
            entry.flags |= endpoint_flags::KNOWN;
        }
        if endpoint.audits.unwrap_or(self.of.audits) {
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

    fn pod(&mut self, name: &'a ObjectName) -> NumberedPod {
        let Self { of, definitions, pods, .. } = self;
        *pods.entry(name).or_insert_with(|| {
            of.cluster.pods.get(name).map_or(NumberedPod::default(), |pod| NumberedPod {
                incarnation: definitions.number_identity(incarnation(pod)),
                owner: definitions.number_identity(owner(pod)),
            })
        })
    }

    fn rule_set(&mut self, rules: &RuleSet) -> u32 {
        if let Some(&number) = self.rule_sets.get(rules) {
            return number;
        }
        let policies = rules.iter().map(|rule| spool::PolicyRule {
            namespace: rule.policy.namespace().to_owned(),
            name: rule.policy.name().to_owned(),
            uid: rule.uid.to_string(),
            rule: rule.rule.map(|index| i32::try_from(index).unwrap_or(i32::MAX)),
        });
        let number = self.definitions.number_rule_set(spool::RuleSet { id: 0, policies: policies.collect() });
        self.rule_sets.insert(rules.clone(), number);
        number
    }
}

/// The numbers of a pod.
#[derive(Clone, Copy, Default)]
struct NumberedPod {
    /// With its labels as they are.
    incarnation: u32,
    /// Whatever its labels.
    owner: u32,
}

fn text(word: Option<&str>) -> String {
    word.unwrap_or_default().to_owned()
}

/// This pod whatever its labels: a definition in which they do not stand.
fn owner(pod: &Pod) -> spool::Identity {
    spool::Identity {
        namespace: pod.name.namespace().to_owned(),
        pod: pod.name.name().to_owned(),
        pod_uid: pod.uid.to_string(),
        node: text(pod.node.as_deref()),
        ..spool::Identity::default()
    }
}

/// This pod, with these labels: what evidence says of it.
fn incarnation(pod: &Pod) -> spool::Identity {
    spool::Identity {
        id: 0,
        namespace: pod.name.namespace().to_owned(),
        pod: pod.name.name().to_owned(),
        pod_uid: pod.uid.to_string(),
        service_account: pod.template.service_account.to_string(),
        workload_kind: text(pod.template.workload_kind.as_deref()),
        workload: text(pod.template.workload.as_deref()),
        node: text(pod.node.as_deref()),
        // A map of strings with its keys in order.
        labels: serde_json::to_string(&pod.template.labels.iter().collect::<BTreeMap<_, _>>())
            .expect("strings can be written as JSON"),
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
