//! The connections at which a mistake would show: at, just before and just behind each boundary.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use podwitness_wire::{ICMP, ICMPV6, SCTP, TCP, UDP};

use super::{Random, Scenario};
use crate::model::{Peer, Peers, PortMatch, Ports, Rule};

/// GRE, which stands for the protocols that policies cannot name.
const GRE: u8 = 47;

/// One connection to ask about, of any endpoint and in any direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// The other side.
    pub peer: IpAddr,
    /// The number in the IP header.
    pub protocol: u8,
    /// The destination port, where the protocol has ports.
    pub port: Option<u16>,
}

/// Every interesting peer with every interesting port of every protocol. `random` adds peers and ports that nothing hints at.
pub fn probes(random: &mut Random, scenario: &Scenario) -> Vec<Probe> {
    let ports = ports(random, scenario);
    let mut probes = Vec::new();
    for peer in peers(random, scenario) {
        let icmp = if peer.is_ipv4() { ICMP } else { ICMPV6 };
        probes.extend([icmp, GRE].map(|protocol| Probe { peer, protocol, port: None }));
        for protocol in [TCP, UDP, SCTP] {
            probes.extend(ports.iter().map(|port| Probe { peer, protocol, port: Some(*port) }));
        }
    }
    probes
}

/// Every frontend of a Service at the scenario's node, and its port with another protocol.
pub fn probes_of_services(scenario: &Scenario) -> Vec<Probe> {
    let mut probes = BTreeSet::new();
    for service in scenario.cluster.services.iter() {
        for port in service.ports.iter() {
            let own = service.cluster_addresses.iter().chain(&service.external_addresses);
            let own = own.map(|address| (*address, port.port));
            let of_node = scenario.node_addresses.iter().filter_map(|address| Some((*address, port.node_port?)));
            for (peer, number) in own.chain(of_node) {
                let protocols = [port.protocol.number(), SCTP];
                probes.extend(protocols.map(|protocol| Probe { peer, protocol, port: Some(number.get()) }));
            }
        }
    }
    probes.into_iter().collect()
}

fn rules(scenario: &Scenario) -> impl Iterator<Item = (&Peers, &Ports)> {
    scenario
        .cluster
        .policies
        .iter()
        .flat_map(|policy| policy.ingress.iter().chain(&policy.egress))
        .flat_map(|rules| rules.iter())
        .filter_map(|rule| match rule {
            Rule::Usable { peers, ports } => Some((peers, ports)),
            Rule::Unusable => None,
        })
}

fn peers(random: &mut Random, scenario: &Scenario) -> BTreeSet<IpAddr> {
    let cluster = &scenario.cluster;
    let mut peers: BTreeSet<IpAddr> = cluster.pods.iter().flat_map(|pod| pod.addresses.iter()).collect();
    peers.extend(cluster.nodes.iter().flat_map(|node| node.addresses.iter().copied()));
    peers.extend(&scenario.node_addresses);
    peers.extend(cluster.services.iter().flat_map(|service| &service.cluster_addresses));
    for cidr in cluster.nodes.iter().flat_map(|node| &node.pod_cidrs) {
        peers.extend(edges(*cidr));
    }
    for (listed, _) in rules(scenario) {
        let Peers::Listed(listed) = listed else { continue };
        for peer in listed {
            if let Peer::Block(block) = peer {
                peers.extend(block.except().iter().copied().chain([block.cidr()]).flat_map(edges));
            }
        }
    }
    let bits = random.bits();
    peers.insert(Ipv4Addr::from_bits(u32::try_from(bits >> 32).expect("32 bits are left")).into());
    peers.insert(Ipv6Addr::from_bits(u128::from(bits) << 60 | u128::from(bits)).into());
    peers
}

/// The first and the last address of a network, and their neighbours outside.
fn edges(net: IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.into_iter().map(|bits| Ipv4Addr::from_bits(bits).into()).collect()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.into_iter().map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
        }
    }
}

fn ports(random: &mut Random, scenario: &Scenario) -> BTreeSet<u16> {
    let mut boundaries = BTreeSet::from([1, u16::MAX]);
    for (_, ports) in rules(scenario) {
        let Ports::Listed(ports) = ports else { continue };
        for port in ports {
            if let PortMatch::Range(_, range) = port {
                boundaries.extend([range.first(), range.last()]);
            }
        }
    }
    boundaries
        .extend(scenario.cluster.pods.iter().flat_map(|pod| pod.template.ports.iter()).map(|port| port.port.get()));
    boundaries
        .extend(scenario.cluster.services.iter().flat_map(|service| service.ports.iter()).map(|port| port.port.get()));
    boundaries.insert(u16::try_from(random.below(1 << 16)).expect("below 65536"));
    let beside = |port: u16| [port.saturating_sub(1), port, port.saturating_add(1)];
    boundaries.into_iter().flat_map(beside).filter(|port| *port != 0).collect()
}
