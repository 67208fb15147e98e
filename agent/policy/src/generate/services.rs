//! Random Services about the pods of a cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use super::Random;
use crate::model::{Cluster, EndpointSlice, ObjectName, Protocol, Service, ServicePort, SliceEndpoint, SlicePort};
use crate::tables::MOST_FRONTENDS;

/// What random Services are made of.
pub(super) struct Words<'a> {
    /// The node whose tables are compiled, with its addresses.
    pub(super) node: &'a str,
    pub(super) node_addresses: &'a [IpAddr],
}

impl Words<'_> {
    /// Adds Services and their slices to a cluster that has pods.
    pub(super) fn add_services(&self, random: &mut Random, cluster: &mut Cluster) {
        for number in 0..random.below(6) {
            let service = self.service(random, cluster, number);
            self.add(random, cluster, service);
        }
        if random.percent(3) {
            add_crowd(random, cluster);
        }
    }

    fn add(&self, random: &mut Random, cluster: &mut Cluster, service: Service) {
        let mut endpoints: Option<Vec<SliceEndpoint>> = None;
        for number in 0..=random.below(3) {
            let mut slice = self.slice(random, cluster, &service, number);
            // Backends that differ in nothing but their port.
            match &endpoints {
                Some(same) if random.percent(35) => slice.endpoints.clone_from(same),
                _ => endpoints = Some(slice.endpoints.clone()),
            }
            cluster.endpoint_slices.insert(slice);
        }
        cluster.services.insert(service);
    }

    fn service(&self, random: &mut Random, cluster: &Cluster, number: usize) -> Service {
        let cluster_addresses = match random.below(10) {
            0 => Vec::new(),
            1..=2 => vec![cluster_address(true, number)],
            3 => vec![cluster_address(false, number)],
            _ => vec![cluster_address(true, number), cluster_address(false, number)],
        };
        let is_headless = cluster_addresses.is_empty();
        let mut external_addresses = Vec::new();
        if !is_headless && random.percent(40) {
            let some = ["198.51.100.1", "203.0.113.77", "2001:db8::77"].map(|text| text.parse().expect("an address"));
            external_addresses.push(*random.pick(&some));
            external_addresses.extend(random.percent(20).then(|| *random.pick(self.node_addresses)));
        }
        let namespaces: BTreeSet<&str> = cluster.pods.iter().map(|pod| pod.name.namespace()).collect();
        let namespaces: Vec<&str> = namespaces.into_iter().collect();
        let name = ObjectName::new(*random.pick(&namespaces), format!("service-{number}"));
        Service {
            uid: format!("uid-{name}").as_str().into(),
            name,
            cluster_addresses,
            external_addresses,
            ports: service_ports(random, is_headless).into(),
            internal_traffic_local: random.percent(20),
        }
    }

    fn slice(&self, random: &mut Random, cluster: &Cluster, service: &Service, number: usize) -> EndpointSlice {
        let ipv4 = random.percent(60);
        let ports = service.ports.iter().filter(|_| random.percent(90)).cloned().collect::<Vec<_>>();
        let ports = ports.into_iter().map(|port| SlicePort {
            name: if random.percent(4) { "other".to_owned() } else { port.name },
            protocol: if random.percent(4) { Protocol::Sctp } else { port.protocol },
            port: number_of(*random.pick(&[80, 80, 81, 5432])),
        });
        let ports = ports.collect();
        let only_local = random.percent(30);
        let endpoints =
            (0..=random.below(3)).filter_map(|_| self.endpoint(random, cluster, ipv4, only_local)).collect();
        EndpointSlice {
            name: ObjectName::new(service.name.namespace(), format!("{}-{number}", service.name.name())),
            service: (!random.percent(3)).then(|| service.name.name().into()),
            ports,
            endpoints,
        }
    }

    fn endpoint(&self, random: &mut Random, cluster: &Cluster, ipv4: bool, only_local: bool) -> Option<SliceEndpoint> {
        let (address, node) = if random.percent(12) && !only_local {
            let external = ["203.0.113.77", "203.0.113.78", "2001:db8::77", "2001:db8::78"];
            let external = external.map(|text| text.parse::<IpAddr>().expect("an address"));
            let external: Vec<IpAddr> = external.into_iter().filter(|address| address.is_ipv4() == ipv4).collect();
            (*random.pick(&external), None)
        } else if random.percent(15) {
            let own: Vec<IpAddr> = self.node_addresses.iter().copied().filter(|own| own.is_ipv4() == ipv4).collect();
            (*random.pick(&own), Some(self.node.into()))
        } else {
            let pods = cluster.pods.iter().filter(|pod| !only_local || pod.node.as_deref() == Some(self.node));
            let claims = pods.flat_map(|pod| pod.addresses.iter().map(|address| (address, pod.node.clone())));
            let claims: Vec<_> = claims.filter(|(address, _)| address.is_ipv4() == ipv4).collect();
            if claims.is_empty() {
                return None;
            }
            random.pick(&claims).clone()
        };
        let ready = random.percent(75);
        let (serving, terminating) = (ready || random.percent(60), !ready && random.percent(60));
        Some(SliceEndpoint { address, ready, serving, terminating, node })
    }
}

/// So many Services with the same backends that a backend cannot know its frontends.
fn add_crowd(random: &mut Random, cluster: &mut Cluster) {
    let Some(first) = cluster.services.iter().next().cloned() else { return };
    let slices: Vec<EndpointSlice> = cluster.endpoint_slices.iter().cloned().collect();
    for number in 0..MOST_FRONTENDS + random.below(2) {
        let name = ObjectName::new(first.name.namespace(), format!("{}-again-{number}", first.name.name()));
        let mut slices = slices.clone();
        slices.retain(|slice| {
            slice.name.namespace() == first.name.namespace() && slice.service.as_deref() == Some(first.name.name())
        });
        for slice in &mut slices {
            slice.service = Some(name.name().into());
            slice.name = ObjectName::new(slice.name.namespace(), format!("{}-again-{number}", slice.name.name()));
            cluster.endpoint_slices.insert(slice.clone());
        }
        let cluster_addresses = first.cluster_addresses.iter().map(|own| cluster_address(own.is_ipv4(), 20 + number));
        let again = Service { cluster_addresses: cluster_addresses.collect(), name: name.clone(), ..first.clone() };
        cluster.services.insert(again);
    }
}

fn service_ports(random: &mut Random, is_headless: bool) -> Vec<ServicePort> {
    let mut ports: Vec<ServicePort> = Vec::new();
    for name in ["http", "sql", "dns"].into_iter().take(1 + random.below(3)) {
        let protocol = *random.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp]);
        let port = number_of(*random.pick(&[80, 443, 5432]));
        let node_port = (!is_headless && random.percent(35)).then(|| number_of(*random.pick(&[30080, 30081])));
        let is_taken = |other: &ServicePort| {
            other.protocol == protocol && (other.port == port || (node_port.is_some() && other.node_port == node_port))
        };
        if !ports.iter().any(is_taken) {
            ports.push(ServicePort { name: name.to_owned(), protocol, port, node_port });
        }
    }
    if let [only] = ports.as_mut_slice()
        && random.percent(50)
    {
        only.name.clear();
    }
    ports
}

fn cluster_address(ipv4: bool, number: usize) -> IpAddr {
    let host = u8::try_from(number + 1).expect("there are few services");
    if ipv4 {
        Ipv4Addr::new(10, 96, 0, host).into()
    } else {
        Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, host.into()).into()
    }
}

fn number_of(port: u16) -> NonZeroU16 {
    NonZeroU16::new(port).expect("none of them is 0")
}
