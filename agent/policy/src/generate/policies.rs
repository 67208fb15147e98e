//! Random policies about a cluster that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Random, manifest};
use crate::model::{
    Cluster, IpBlock, LabelSelector, NetworkPolicy, ObjectName, Objects, Operator, Peer, Peers, PortMatch, PortRange,
    Ports, Protocol, Requirement, Rule,
};

/// So many random policies in the namespaces of the cluster's pods, made of the labels, addresses and port names found in the
/// cluster and around the given port numbers. The text of each is its manifest.
///
/// The cluster must have a pod, and there must be a port number.
pub fn policies(random: &mut Random, cluster: &Cluster, number: usize, ports: &[u16]) -> Objects<NetworkPolicy> {
    let words = Words::of(cluster, ports);
    (0..number).map(|number| words.policy(random, number)).collect()
}

/// What policies are made of.
struct Words {
    namespaces: Vec<String>,
    pod_labels: Vec<(String, String)>,
    namespace_labels: Vec<(String, String)>,
    addresses: Vec<IpAddr>,
    port_names: Vec<String>,
    ports: Vec<u16>,
}

impl Words {
    fn of(cluster: &Cluster, ports: &[u16]) -> Self {
        let pairs = |labels: BTreeSet<(&str, &str)>| -> Vec<(String, String)> {
            let mut pairs: Vec<_> = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            pairs.push(("absent".to_owned(), "nobody".to_owned()));
            pairs
        };
        let pods = || cluster.pods.iter();
        let namespaces: BTreeSet<_> = pods().map(|pod| pod.name.namespace().to_owned()).collect();
        let mut addresses: Vec<IpAddr> = pods().flat_map(|pod| pod.addresses.iter()).collect();
        addresses.extend(cluster.nodes.iter().flat_map(|node| node.addresses.clone()));
        addresses.push(IpAddr::from([203, 0, 113, 77]));
        addresses.push(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77]));
        let mut port_names: BTreeSet<_> =
            pods().flat_map(|pod| pod.template.ports.iter()).map(|port| port.name.clone()).collect();
        port_names.insert("absent".to_owned());
        let labels_of_namespaces = cluster.namespaces.iter().flat_map(|namespace| namespace.labels.iter());
        Self {
            namespaces: namespaces.into_iter().collect(),
            pod_labels: pairs(pods().flat_map(|pod| pod.template.labels.iter()).collect()),
            namespace_labels: pairs(labels_of_namespaces.collect()),
            addresses,
            port_names: port_names.into_iter().collect(),
            ports: ports.to_vec(),
        }
    }

    fn policy(&self, random: &mut Random, number: usize) -> NetworkPolicy {
        let name = ObjectName::new(random.pick(&self.namespaces), format!("policy-{number}"));
        let directions = random.below(3);
        let mut policy = NetworkPolicy {
            uid: format!("uid-{name}").as_str().into(),
            name,
            generation: 1,
            resource_version: (1000 + number).to_string(),
            pod_selector: selector(random, &self.pod_labels, 60),
            ingress: (directions != 1).then(|| self.rules(random)),
            egress: (directions != 0).then(|| self.rules(random)),
            text: "".into(),
            faults: Vec::new(),
        };
        policy.text = manifest(&policy).to_string().as_str().into();
        policy
    }

    fn rules(&self, random: &mut Random) -> Arc<[Rule]> {
        (0..random.below(4)).map(|_| self.rule(random)).collect()
    }

    fn rule(&self, random: &mut Random) -> Rule {
        if random.percent(4) {
            return Rule::Unusable;
        }
        let peers = if random.percent(20) {
            Peers::Everybody
        } else {
            Peers::Listed((0..=random.below(3)).map(|_| self.peer(random)).collect())
        };
        let ports = if random.percent(30) {
            Ports::Every
        } else {
            Ports::Listed((0..=random.below(3)).map(|_| self.port(random)).collect())
        };
        Rule::Usable { peers, ports }
    }

    fn peer(&self, random: &mut Random) -> Peer {
        match random.below(4) {
            0 => Peer::Pods { namespaces: None, pods: selector(random, &self.pod_labels, 30) },
            1 => Peer::Pods {
                namespaces: Some(selector(random, &self.namespace_labels, 20)),
                pods: LabelSelector::everything(),
            },
            2 => Peer::Pods {
                namespaces: Some(selector(random, &self.namespace_labels, 40)),
                pods: selector(random, &self.pod_labels, 30),
            },
            _ => Peer::Block(self.block(random)),
        }
    }

    fn block(&self, random: &mut Random) -> IpBlock {
        let address = *random.pick(&self.addresses);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let lengths = [0, bits / 4, bits / 2, bits - 9, bits - 8, bits - 5, bits - 3, bits - 1, bits];
        let cidr = network(address, *random.pick(&lengths));
        let mut except = Vec::new();
        for _ in 0..random.below(3) {
            let inside: Vec<IpAddr> = self.addresses.iter().copied().filter(|address| cidr.contains(address)).collect();
            let longer = [cidr.prefix_len() + 1, bits - 6, bits - 4, bits - 2, bits];
            let length = *random.pick(&longer);
            if length > cidr.prefix_len() && length <= bits {
                except.push(network(*random.pick(&inside), length));
            }
        }
        IpBlock::new(cidr, except).expect("each exception is a longer prefix of an address within")
    }

    fn port(&self, random: &mut Random) -> PortMatch {
        // SCTP seldom, so that the rules meet each other's ports.
        let protocol =
            *random.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Udp, Protocol::Sctp]);
        match random.below(8) {
            0 => PortMatch::Protocol(protocol),
            1..=3 => PortMatch::Named(protocol, random.pick(&self.port_names).clone()),
            4..=5 => PortMatch::Range(protocol, PortRange::single(self.number(random))),
            6 => {
                let (one, other) = (self.number(random), self.number(random));
                PortMatch::Range(protocol, PortRange::new(one.min(other), one.max(other)).expect("they are in order"))
            }
            _ => {
                let end = NonZeroU16::new(*random.pick(&[1, 1023, 1024, u16::MAX])).expect("none of them is 0");
                let number = self.number(random);
                PortMatch::Range(protocol, PortRange::new(number.min(end), number.max(end)).expect("they are in order"))
            }
        }
    }

    /// A port number at one of those given, or beside it.
    fn number(&self, random: &mut Random) -> NonZeroU16 {
        let near = random.pick(&self.ports).saturating_add(u16::try_from(random.below(4)).expect("below four"));
        NonZeroU16::new(near.saturating_sub(1)).unwrap_or(NonZeroU16::MIN)
    }
}

fn network(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).expect("the length is one of the family's").trunc()
}

/// A selector over these labels, in so many cases of a hundred the empty one.
fn selector(random: &mut Random, labels: &[(String, String)], percent_empty: usize) -> LabelSelector {
    if random.percent(percent_empty) {
        return LabelSelector::everything();
    }
    if random.percent(50) {
        let chosen: BTreeMap<String, String> = (0..=random.below(2)).map(|_| random.pick(labels).clone()).collect();
        return LabelSelector::labels(chosen);
    }
    let requirements = (0..=random.below(2)).map(|_| {
        let (key, value) = random.pick(labels).clone();
        let values = [value, random.pick(labels).1.clone()].into_iter().collect();
        let operator = match random.below(4) {
            0 => Operator::In(values),
            1 => Operator::NotIn(values),
            2 => Operator::Exists,
            _ => Operator::DoesNotExist,
        };
        Requirement { key, operator }
    });
    LabelSelector { requirements: requirements.collect() }
}
