//! Random changes of a cluster.

use std::sync::Arc;

use super::{Random, Scenario};
use crate::compile::Endpoint;
use crate::model::{AuditTrail, Cluster, ExternalAddresses, ObjectName, Phase, Pod, Rule, WitnessMode};

/// Changes something; what is likely in a cluster is likely here, and so is what is hard.
pub fn change(random: &mut Random, scenario: &mut Scenario, other: &Scenario) {
    let names: Vec<ObjectName> = scenario.cluster.pods.iter().map(|pod| pod.name.clone()).collect();
    let cluster = &mut scenario.cluster;
    match random.below(24) {
        // A pod comes, or another one in its place.
        0..=3 => {
            let others: Vec<&Pod> = other.cluster.pods.iter().collect();
            let mut pod = (*random.pick(&others)).clone();
            if random.percent(70) {
                pod.name = ObjectName::new(pod.name.namespace(), format!("new-{}", random.below(6)));
            }
            if random.percent(60) {
                let host = u8::try_from(100 + random.below(40)).unwrap();
                pod.addresses = vec![[10, 244, 1, host].into()].into();
                pod.node = Some("node-1".into());
            }
            cluster.pods.insert(pod);
        }
        4..=6 if !names.is_empty() => {
            cluster.pods.remove(random.pick(&names));
        }
        7..=9 if !names.is_empty() => {
            let pod = cluster.pods.get_mut(random.pick(&names)).unwrap();
            match random.below(6) {
                0 => pod.phase = *random.pick(&[Phase::Running, Phase::Succeeded, Phase::Pending]),
                1 => pod.is_being_deleted = !pod.is_being_deleted,
                2 => pod.addresses = pod.addresses.iter().take(1).collect(),
                3 => Arc::make_mut(&mut pod.template).ports = [].into(),
                4 => pod.host_network = !pod.host_network,
                _ => {
                    let app = *random.pick(&["api", "db", "web"]);
                    Arc::make_mut(&mut pod.template).labels.set("app", app);
                }
            }
        }
        10..=12 if !cluster.endpoint_slices.is_empty() => {
            let slices: Vec<_> = cluster.endpoint_slices.iter().map(|slice| slice.name.clone()).collect();
            let name = random.pick(&slices);
            let slice = cluster.endpoint_slices.get_mut(name).unwrap();
            match random.below(4) {
                0 => slice.endpoints.truncate(1),
                1 => slice.endpoints.iter_mut().for_each(|endpoint| endpoint.ready = !endpoint.ready),
                2 => {
                    let others = other.cluster.endpoint_slices.iter().flat_map(|slice| slice.endpoints.clone());
                    slice.endpoints.extend(others.take(1));
                }
                _ => {
                    cluster.endpoint_slices.remove(name);
                }
            }
        }
        13 | 14 => {
            let others: Vec<_> = other.cluster.policies.iter().collect();
            let policy = (*random.pick(&others)).clone();
            cluster.policies.insert(policy);
        }
        15..=18 if !cluster.policies.is_empty() => change_policy(random, cluster, other),
        19 => {
            cluster.services = other.cluster.services.clone();
            cluster.endpoint_slices = other.cluster.endpoint_slices.clone();
        }
        20 => {
            let others = other.cluster.services.iter().cloned();
            others.take(1).for_each(|service| cluster.services.insert(service));
        }
        21 if !cluster.namespaces.is_empty() => {
            let names: Vec<_> = cluster.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
            let name = random.pick(&names);
            match (other.cluster.namespaces.get(name), random.percent(20)) {
                (Some(other), false) => cluster.namespaces.insert(other.clone()),
                _ => {
                    cluster.namespaces.remove(name);
                }
            }
        }
        22 => change_endpoints(random, scenario, other),
        23 => match random.below(4) {
            0 => cluster.nodes = other.cluster.nodes.clone(),
            1 => scenario.node_addresses.clone_from(&other.node_addresses),
            _ => {
                let mode = *random.pick(&[None, Some(WitnessMode::Audit), Some(WitnessMode::Enforce)]);
                cluster.trails.insert(AuditTrail {
                    name: ObjectName::new(*random.pick(&["bank", "lab", "shop"]), "default"),
                    retention: None,
                    legal_hold: false,
                    mode,
                    external_addresses: ExternalAddresses::Full,
                });
            }
        },
        _ => {}
    }
}

/// Changes one policy in one respect, or takes it away.
fn change_policy(random: &mut Random, cluster: &mut Cluster, other: &Scenario) {
    let names: Vec<_> = cluster.policies.iter().map(|policy| policy.name.clone()).collect();
    let others: Vec<_> = other.cluster.policies.iter().collect();
    let (name, other) = (random.pick(&names), *random.pick(&others));
    let policy = cluster.policies.get_mut(name).expect("it is one of those");
    let rules = if random.percent(50) { &mut policy.ingress } else { &mut policy.egress };
    match random.below(8) {
        0 => drop(cluster.policies.remove(name)),
        1 => policy.text = format!("{} ", policy.text).as_str().into(),
        2 => policy.uid = format!("{}x", policy.uid).as_str().into(),
        3 => policy.pod_selector = other.pod_selector.clone(),
        4 => rules.clone_from(&other.ingress),
        5 => rules.iter_mut().for_each(|rules| *rules = rules.split_last().map_or(&[][..], |(_, rules)| rules).into()),
        6 => rules.iter_mut().for_each(|rules| {
            *rules = [Rule::Unusable].into_iter().chain(rules.iter().cloned()).collect();
        }),
        _ => {
            let other = other.ingress.iter().chain(&other.egress).flat_map(|rules| rules.iter()).next();
            let (Some(Rule::Usable { peers: from, ports: at }), Some(rules)) = (other, rules) else { return };
            if let Some(Rule::Usable { peers, ports }) = Arc::make_mut(rules).first_mut() {
                if random.percent(50) { peers.clone_from(from) } else { ports.clone_from(at) }
            }
        }
    }
}

/// Has an interface come, go, or change its pod or its addresses.
fn change_endpoints(random: &mut Random, scenario: &mut Scenario, other: &Scenario) {
    let Scenario { cluster, endpoints, .. } = scenario;
    if endpoints.is_empty() || random.percent(40) {
        let pods: Vec<_> = cluster.pods.iter().collect();
        let taken = |interface: &u32| endpoints.iter().any(|endpoint| endpoint.interface == *interface);
        if let (false, Some(interface)) = (pods.is_empty(), (95..=u32::MAX).find(|interface| !taken(interface))) {
            let pod = *random.pick(&pods);
            endpoints.push(Endpoint {
                interface,
                pod: Some(pod.name.clone()),
                addresses: pod.addresses.iter().collect(),
            });
        }
        return;
    }
    let place = random.below(endpoints.len());
    match random.below(4) {
        0 => drop(endpoints.remove(place)),
        1 => endpoints[place].pod = None,
        2 => drop(endpoints[place].addresses.pop()),
        _ => {
            let names: Vec<ObjectName> = other.cluster.pods.iter().map(|pod| pod.name.clone()).collect();
            endpoints[place].pod = Some(random.pick(&names).clone());
        }
    }
}
