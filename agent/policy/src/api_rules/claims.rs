//! Who has an address that several pods claim.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::world::{SHOP_DB, World, address};
use crate::model::{Cluster, ObjectName, Pod, PodsOfNode, claims, newest};

const CLAIMED: &str = "10.244.1.77";

/// Pods that claim the same address, by name: whether each is being deleted, and when it was made.
fn claimed(claims: &[(&str, bool, Option<u32>)]) -> Cluster {
    let mut world = World::new([]);
    let pod = world.pod_mut("shop", "web").clone();
    for (name, is_being_deleted, created) in claims.iter().copied() {
        let (name, addresses) = (ObjectName::new("shop", name), vec![address(CLAIMED)].into());
        world.cluster.pods.insert(Pod {
            name,
            addresses,
            is_being_deleted,
            created: created.and_then(NonZeroU32::new),
            ..pod.clone()
        });
    }
    world.cluster
}

/// Who has the address, of which one place in the code decides.
fn owner(cluster: &Cluster) -> Option<&str> {
    let owner = cluster.pod_at(address(CLAIMED));
    let of_all = claims(&cluster.pods);
    assert_eq!(newest(of_all[&address(CLAIMED)].iter().copied()).map(Arc::as_ref), owner);
    owner.map(|pod| pod.name.name())
}

#[test]
fn the_one_that_was_made_later_has_it() {
    assert_eq!(owner(&claimed(&[("a", false, Some(2)), ("b", false, Some(3)), ("c", false, Some(1))])), Some("b"));
}

#[test]
fn one_that_is_being_deleted_has_it_only_where_no_other_claims_it() {
    assert_eq!(owner(&claimed(&[("a", true, Some(9)), ("b", false, Some(1))])), Some("b"));
    assert_eq!(owner(&claimed(&[("a", true, None), ("b", false, None)])), Some("b"));
    assert_eq!(owner(&claimed(&[("a", true, Some(9)), ("b", true, Some(1))])), Some("a"));
    assert_eq!(owner(&claimed(&[("a", true, None)])), Some("a"));
}

#[test]
fn it_is_nobodys_where_nothing_tells_them_apart() {
    assert_eq!(owner(&claimed(&[("a", false, Some(1)), ("b", false, Some(1))])), None);
    assert_eq!(owner(&claimed(&[("a", false, Some(1)), ("b", false, None)])), None);
    assert_eq!(owner(&claimed(&[("a", true, Some(3)), ("b", false, Some(1)), ("c", false, Some(1))])), None);
}

#[test]
fn pods_that_have_ended_claim_nothing() {
    let mut cluster = claimed(&[("a", false, Some(1)), ("b", false, Some(2))]);
    let newest = cluster.pods.get_mut(&ObjectName::new("shop", "b")).expect("it was put there");
    newest.phase = crate::Phase::Succeeded;
    assert_eq!(owner(&cluster), Some("a"));
}

#[test]
fn a_newer_claim_of_another_node_does_not_take_the_address_from_an_interface_here() {
    let mut cluster = claimed(&[("a", false, Some(1)), ("b", false, Some(2))]);
    cluster.pods.get_mut(&ObjectName::new("shop", "b")).expect("it was put there").node = Some("node-b".into());
    let on = |node, address| {
        let mut here = PodsOfNode::new(node);
        here.follow(&cluster).get(&address).copied().flatten().cloned()
    };
    let name = |node| on(node, self::address(CLAIMED)).map(|pod| pod.name.name().to_owned());
    assert_eq!((name("node-a"), name("node-b"), name("node-c")), (Some("a".to_owned()), Some("b".to_owned()), None));
    assert_eq!(owner(&cluster), Some("b"));
    assert_eq!(on("node-a", address(SHOP_DB)), None);
}

#[test]
fn pods_of_a_node_come_and_go_with_changes() {
    let mut cluster = claimed(&[("a", false, Some(1))]);
    let mut here = PodsOfNode::new("node-a");
    let name = ObjectName::new("shop", "a");
    let mut is_here = |cluster: &Cluster| here.follow(cluster).get(&address(CLAIMED)).is_some_and(Option::is_some);
    assert!(is_here(&cluster) && is_here(&cluster));
    cluster.pods.get_mut(&name).expect("it was put there").node = Some("node-b".into());
    assert!(!is_here(&cluster), "it went to another node");
    cluster.pods.get_mut(&name).expect("it was put there").node = Some("node-a".into());
    assert!(is_here(&cluster));
    cluster.pods.get_mut(&name).expect("it was put there").addresses = [address(SHOP_DB)].into_iter().collect();
    assert!(!is_here(&cluster), "it has another address");
    cluster.pods.get_mut(&name).expect("it was put there").addresses = [address(CLAIMED)].into_iter().collect();
    assert!(is_here(&cluster));
    cluster.pods.remove(&name);
    assert!(!is_here(&cluster), "it is gone");
}
