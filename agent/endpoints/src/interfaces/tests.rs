use super::*;

/// The id by which the pod's namespace knows the agent's.
const HOST: Option<i32> = Some(0);

fn interface(kind: &str, lower: Option<u32>, lower_namespace: Option<i32>) -> Link {
    let kind = Some(kind.to_owned());
    Link { index: 2, name: "eth0".to_owned(), kind, loopback: false, lower, lower_namespace }
}

fn is_way_past(link: Link) -> bool {
    let sorted = sort_out(&[link], &[], HOST);
    assert!(sorted.veths.is_empty(), "{sorted:?}");
    !sorted.ways_past.is_empty()
}

#[test]
fn a_veth_to_the_host_has_its_own_addresses_only() {
    let address = |interface, ip: &str| Address { interface, ip: ip.parse().unwrap() };
    let addresses = [address(2, "fe80::1"), address(1, "127.0.0.1"), address(2, "10.0.0.2"), address(2, "10.0.0.2")];
    let sorted = sort_out(&[interface("veth", Some(7), HOST)], &addresses, HOST);
    let expected = vec!["10.0.0.2".parse().unwrap(), "fe80::1".parse().unwrap()];
    assert_eq!(sorted.veths, [PodVeth { host_interface: 7, addresses: expected }]);
    assert!(sorted.ways_past.is_empty());
}

#[test]
fn interfaces_without_a_host_side_are_ways_past_the_hooks() {
    for kind in ["ipvlan", "ipvtap", "macvlan", "macvtap", "netkit", "wireguard", "a kind of next year"] {
        assert!(is_way_past(interface(kind, None, None)), "{kind}");
    }
    let device = Link { kind: None, ..interface("", None, None) };
    assert!(is_way_past(device), "SR-IOV and other hardware have no kind");
}

#[test]
fn what_sends_through_a_device_of_the_host_is_a_way_past_the_hooks() {
    assert!(is_way_past(interface("vlan", Some(2), HOST)));
    assert!(is_way_past(interface("ipip", Some(2), Some(4))));
}

#[test]
fn a_veth_to_somewhere_else_is_a_way_past_also_when_the_host_has_no_id_here() {
    assert!(is_way_past(interface("veth", Some(7), Some(3))));
    assert!(!sort_out(&[interface("veth", Some(7), Some(0))], &[], None).ways_past.is_empty());
}

#[test]
fn what_stays_inside_the_pod_needs_no_hook() {
    let loopback = Link { loopback: true, kind: None, ..interface("", None, None) };
    assert!(!is_way_past(loopback));
    assert!(!is_way_past(interface("veth", Some(3), None)), "both sides inside");
    for kind in ["dummy", "bridge", "sit", "tun", "vlan"] {
        assert!(!is_way_past(interface(kind, None, None)), "{kind}");
    }
}
