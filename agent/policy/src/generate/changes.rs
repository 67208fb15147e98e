//! Random changes of a cluster.

use super::{Random, Scenario};
use crate::model::{Labels, Phase, Pod};

/// Changes something; what is likely in a cluster is likely here, and so is what is hard.
pub fn change(random: &mut Random, scenario: &mut Scenario, other: &Scenario) {
    let names: Vec<_> = scenario.cluster.pods.iter().map(|pod| pod.name.clone()).collect();
    let cluster = &mut scenario.cluster;
    match random.below(16) {
        // A pod comes, or another one in its place.
        0..=3 => {
            let others: Vec<&Pod> = other.cluster.pods.iter().collect();
            let mut pod = (*random.pick(&others)).clone();
            if random.percent(70) {
                pod.name.name = format!("new-{}", random.below(6));
            }
            if random.percent(60) {
                let host = u8::try_from(100 + random.below(40)).unwrap();
                pod.addresses = vec![[10, 244, 1, host].into()];
                pod.node = Some("node-1".to_owned());
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
                2 => pod.addresses.truncate(1),
                3 => pod.ports.clear(),
                4 => pod.host_network = !pod.host_network,
                _ => {
                    let mut labels = Labels::clone(&pod.labels);
                    labels.insert("app".to_owned(), (*random.pick(&["api", "db", "web"])).to_owned());
                    pod.labels = labels.into();
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
        13 => {
            let others: Vec<_> = other.cluster.policies.iter().collect();
            let policy = (*random.pick(&others)).clone();
            cluster.policies.insert(policy);
        }
        14 => {
            cluster.services = other.cluster.services.clone();
            cluster.endpoint_slices = other.cluster.endpoint_slices.clone();
        }
        15 => {
            scenario.endpoints.pop();
        }
        _ => {}
    }
}
