//! Pods of the cluster against the interfaces of the node.

use podwitness_endpoints::{Endpoint, Fault, Snapshot, Unhooked};
use podwitness_manifests::{assemble, read_documents};
use podwitness_policy::Cluster;

use super::{folder, pods, unhooked};
use crate::doctor::check::State;

fn config() -> podwitness_config::Config {
    let text = "cluster: c\nsource: {directory: ./cluster}\nstore: {url: ./evidence}\nendpoints: {netns: /run/netns}\n";
    podwitness_config::Config::parse(text, "/etc/podwitness.yaml".as_ref(), &|_| None).unwrap()
}

fn cluster(manifests: &str) -> Cluster {
    let documents = read_documents(manifests, "test");
    assert!(documents.faults.is_empty(), "{:?}", documents.faults);
    let (cluster, faults) = assemble(documents.objects);
    assert!(faults.is_empty(), "{faults:?}");
    cluster
}

fn pod(name: &str, node: &str, address: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: {name}}}\nspec: {{nodeName: {node}{more}}}\n\
         status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}\n---\n"
    )
}

fn snapshot() -> Snapshot {
    let endpoint = Endpoint {
        name: "cni-1".to_owned(),
        interface: 7,
        interface_name: "veth7".to_owned(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
    };
    Snapshot { endpoints: vec![endpoint], ..Snapshot::default() }
}

#[test]
fn a_pod_of_this_node_without_an_interface_is_named() {
    let there = pod("there", "a", "10.0.0.1", "");
    let elsewhere = pod("elsewhere", "b", "10.0.0.2", "");
    let on_host = pod("proxy", "a", "192.0.2.1", ", hostNetwork: true");
    let lost = pod("lost", "a", "10.0.0.3", "");
    let all = cluster(&[there, elsewhere, on_host].concat());
    let [host, missing] = pods(Some(&all), "a", &snapshot()).try_into().unwrap();
    assert_eq!((host.state, missing.state), (State::Ok, State::Ok));
    assert!(host.found.contains("1 pod uses the node's network") && host.found.ends_with("shop/proxy"), "{host:?}");
    assert!(missing.found.starts_with("1 running pod of node a"), "{missing:?}");
    let [_, missing] = pods(Some(&cluster(&lost)), "a", &snapshot()).try_into().unwrap();
    assert_eq!((missing.state, missing.found.as_str()), (State::Failed, "no endpoint has the addresses of shop/lost"));
}

#[test]
fn without_the_cluster_it_is_not_known_which_pods_are_on_the_node_s_network() {
    let [check] = pods(None, "a", &snapshot()).try_into().unwrap();
    assert_eq!(check.state, State::Unknown);
    assert!(check.advice.unwrap().contains("spec.nodeName=a"));
}

#[test]
fn an_interface_that_cannot_be_hooked_has_its_reason() {
    let way = Unhooked {
        name: "cni-2".to_owned(),
        interface: "eth0".to_owned(),
        kind: "netkit".to_owned(),
        reason: "netkit interfaces are not hooked, only veth".to_owned(),
    };
    let [check] = unhooked(&Snapshot { unhooked: vec![way], ..Snapshot::default() }).try_into().unwrap();
    assert_eq!(check.state, State::Failed);
    assert_eq!(check.subject.as_deref(), Some("eth0 of kind netkit in cni-2"));
    assert!(check.found.starts_with("netkit interfaces are not hooked"), "{check:?}");
}

#[test]
fn a_fault_of_the_folder_is_told_apart_from_one_of_a_file_in_it() {
    let fault = |path: &str| Fault { path: path.into(), message: "it is broken".to_owned() };
    let with = |path: &str| Snapshot { faults: vec![fault(path)], ..Snapshot::default() };
    let whole = folder(&config(), &with("/run/netns"));
    assert_eq!((whole.len(), whole[0].state), (1, State::Failed));
    let part = folder(&config(), &with("/run/netns/cni-3"));
    assert_eq!(part.iter().map(|check| check.state).collect::<Vec<_>>(), [State::Ok, State::Failed]);
    assert_eq!(part[1].subject.as_deref(), Some("/run/netns/cni-3"));
}
