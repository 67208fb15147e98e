//! The script was written by a person who read the policies; the evaluator has read them too.

use std::net::IpAddr;

use super::{OUTSIDERS, script};
use crate::demo::errands::{Errand, Party, every_port};
use crate::demo::examples::{ClusterPlan, built_in};

fn addresses(plan: &ClusterPlan, party: &Party) -> [IpAddr; 2] {
    let found: Vec<IpAddr> = match party {
        Party::Node => plan.node.addresses.clone(),
        Party::Outsider(name) => {
            let (_, v4, v6) = OUTSIDERS.into_iter().find(|(known, ..)| known == name).unwrap();
            [v4, v6].map(|text| text.parse().unwrap()).into()
        }
        Party::Pod(name) => {
            plan.pods().into_iter().find(|pod| pod.name.to_string() == *name).unwrap().addresses.iter().collect()
        }
    };
    found.try_into().unwrap()
}

#[test]
fn the_script_expects_what_the_evaluator_makes_of_the_policies() {
    let plan = ClusterPlan::read(&built_in()).unwrap();
    for errand in script() {
        let Errand { from, to, protocol, port, .. } = &errand;
        for (from, to) in addresses(&plan, from).into_iter().zip(addresses(&plan, to)) {
            let evaluated = plan.oracle().expect(from, to, *protocol, *port);
            assert_eq!(errand.expected(to), &evaluated, "{errand} over {from} -> {to}");
        }
    }
}

#[test]
fn the_examples_have_no_faults_and_enough_in_them() {
    let plan = ClusterPlan::read(&built_in()).unwrap();
    assert_eq!(plan.faults, Vec::<String>::new());
    assert!(plan.pods().iter().all(|pod| pod.addresses.len() == 2));
    assert!(plan.pods().len() >= 5 && plan.cluster.namespaces.len() >= 3);
}

#[test]
fn a_cluster_that_nobody_has_read_is_tried_at_every_named_port() {
    let plan = ClusterPlan::read(&built_in()).unwrap();
    let errands = every_port(&plan.pods(), &plan.oracle());
    let ports: usize = plan.pods().iter().map(|pod| pod.template.ports.len()).sum();
    assert_eq!(errands.len(), ports * (plan.pods().len() - 1));
    // What the script has of it is expected in the same way.
    for written in script() {
        if let Some(made) = errands.iter().find(|made| made.to_string() == written.to_string()) {
            assert_eq!((&made.over_v4, &made.over_v6), (&written.over_v4, &written.over_v6), "{written}");
        }
    }
}
