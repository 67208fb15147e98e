//! Discovery and what is around the pods: the folder, and the node's own interfaces.

use std::fs;
use std::time::Duration;

use crate::isolation::{NETNS, Watched, assign, isolated, pod, run, veth};
use podwitness_endpoints::host_addresses;

#[test]
fn a_missing_folder_is_said_and_used_when_it_is_made() {
    isolated(|| {
        let mut watched = Watched::start_in("/run/containers/netns");
        let fault = &watched.last.faults[0];
        assert_eq!(fault.path.to_str(), Some("/run/containers/netns"));
        assert!(fault.message.contains("not there") && fault.message.contains("endpoints.netns"), "{fault:?}");

        fs::create_dir_all("/run/containers/netns").unwrap();
        watched.until("the folder is used", |snapshot| snapshot.faults.is_empty());
        fs::File::create_new("/run/containers/netns/a").unwrap();
        run("unshare --net=/run/containers/netns/a true");
        run("mount --rbind /run/containers/netns /run/netns");
        veth("a", "eth0", "host-a");
        assign("a", "eth0", "10.0.0.2/32");
        watched.until_has("a", &["10.0.0.2"]);
    });
}

#[test]
fn a_folder_that_is_removed_and_made_again_is_used_again() {
    isolated(|| {
        let mut watched = Watched::start();
        fs::remove_dir(NETNS).unwrap();
        watched.until("it is said", |snapshot| !snapshot.faults.is_empty());
        pod("a", &["10.0.0.2/32"]);
        watched.until_has("a", &["10.0.0.2"]);
        watched.until("it is said no more", |snapshot| snapshot.faults.is_empty());
    });
}

#[test]
fn a_folder_that_is_moved_away_takes_its_pods_with_it() {
    isolated(|| {
        fs::create_dir("/run/elsewhere").unwrap();
        fs::File::create_new("/run/elsewhere/a").unwrap();
        let mut watched = Watched::start_in("/run/elsewhere");
        watched.until("the file without a namespace is told of", |snapshot| !snapshot.faults.is_empty());
        fs::rename("/run/elsewhere", "/run/gone").unwrap();
        watched.until("the folder is missing", |snapshot| snapshot.faults[0].message.contains("not there"));
        assert_eq!(watched.last.faults.len(), 1);
    });
}

#[test]
fn a_file_that_is_no_folder_is_said() {
    isolated(|| {
        fs::write("/run/file", "").unwrap();
        let watched = Watched::start_in("/run/file");
        assert!(watched.last.faults[0].message.contains("cannot list"), "{:?}", watched.last);
    });
}

#[test]
fn nothing_is_delivered_while_nothing_changes() {
    isolated(|| {
        pod("a", &["10.0.0.2/32"]);
        let mut watched = Watched::start();
        watched.until_has("a", &["10.0.0.2"]);
        // The kernel's own link-local addresses may still be coming.
        while watched.next_within(Duration::from_secs(2)).is_some() {}
        assert_eq!(watched.next_within(Duration::from_secs(2)), None);
        watched.stop();
    });
}

#[test]
fn the_nodes_addresses_are_those_of_its_interfaces_and_no_services() {
    isolated(|| {
        let mut watched = Watched::start();
        assert!(host_addresses().unwrap().is_empty());
        run("ip link add node0 type veth peer name node1");
        run("ip address add 192.0.2.1/24 dev node0");
        run("ip address add 2001:db8::1/64 dev node0 nodad");
        run("ip address add 198.51.100.1/32 dev lo");
        // kube-proxy's interface is a dummy; a veth of that name shows the same on kernels without dummies.
        run("ip link add kube-ipvs0 type veth peer name other");
        run("ip address add 10.96.0.1/32 dev kube-ipvs0");
        let expected: Vec<std::net::IpAddr> = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec();
        assert_eq!(host_addresses().unwrap(), expected);
        watched.until("they are delivered", |snapshot| snapshot.host_addresses == expected);
        run("ip address delete 192.0.2.1/24 dev node0");
        watched.until("one less", |snapshot| snapshot.host_addresses == expected[1..]);
    });
}
