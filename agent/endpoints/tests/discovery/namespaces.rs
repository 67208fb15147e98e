//! Discovery in real namespaces: how pods come, change and go.

use std::fs;
use std::time::{Duration, Instant};

use crate::isolation::{
    Watched, assign, assigned, empty_file, eventually, index, isolated, isolated_without_broadcast, pod, run, veth,
};

#[test]
fn a_pod_that_is_there_at_the_start_is_in_the_first_snapshot() {
    isolated(|| {
        pod("a", &["10.0.0.2/32"]);
        let watched = Watched::start();
        let [endpoint] = &watched.last.endpoints[..] else { panic!("{:?}", watched.last) };
        assert_eq!(endpoint.name, "a");
        assert_eq!(endpoint.interface_name, "host-a");
        assert_eq!(Some(endpoint.interface), index("host-a"));
        assert_eq!(assigned(endpoint), ["10.0.0.2"]);
        assert!(watched.last.faults.is_empty(), "{:?}", watched.last);
    });
}

/// The middle of several, because the machine may be busy with something else at any moment.
fn typical_delay() -> Duration {
    let mut watched = Watched::start();
    let mut delays: Vec<Duration> = (1..=9)
        .map(|number| {
            let name = format!("p{number}");
            pod(&name, &[]);
            watched.until("it is there without an address", |snapshot| {
                snapshot.endpoints.iter().any(|endpoint| endpoint.name == name)
            });
            let ip = format!("10.0.0.{number}");
            assign(&name, "eth0", &format!("{ip}/32"));
            let assigned = Instant::now();
            watched.until_has(&name, &[&ip]);
            assigned.elapsed()
        })
        .collect();
    delays.sort();
    delays[delays.len() / 2]
}

#[test]
fn an_endpoint_is_ready_within_50_ms_of_its_address() {
    isolated(|| {
        let delay = typical_delay();
        assert!(delay < Duration::from_millis(50), "{delay:?}");
    });
}

#[test]
fn an_endpoint_is_ready_within_50_ms_where_other_namespaces_cannot_be_listened_to() {
    isolated_without_broadcast(|| {
        let delay = typical_delay();
        assert!(delay < Duration::from_millis(50), "{delay:?}");
    });
}

#[test]
fn an_address_that_comes_late_is_found_and_the_endpoint_is_there_before_it() {
    isolated(|| {
        let mut watched = Watched::start();
        pod("a", &[]);
        let bare = watched.until_has("a", &[]);
        assert_eq!(bare.interface_name, "host-a");
        // So late that timers alone would be slow.
        while watched.next_within(Duration::from_millis(1500)).is_some() {}
        assign("a", "eth0", "fd00::2/128");
        let assigned = Instant::now();
        watched.until_has("a", &["fd00::2"]);
        assert!(assigned.elapsed() < Duration::from_millis(500), "{:?}", assigned.elapsed());
    });
}

#[test]
fn a_namespace_mounted_after_its_file_was_made_is_found() {
    isolated(|| {
        let mut watched = Watched::start();
        let file = empty_file("late");
        watched.until("the file without a namespace is told of", |snapshot| !snapshot.faults.is_empty());
        assert_eq!(watched.last.faults[0].path.to_str(), Some(&*file));
        run(&format!("unshare --net={file} true"));
        veth("late", "eth0", "host-late");
        assign("late", "eth0", "10.0.0.2/32");
        watched.until_has("late", &["10.0.0.2"]);
        watched.until("the fault is gone", |snapshot| snapshot.faults.is_empty());
    });
}

#[test]
fn namespaces_that_come_and_go_quickly_leave_nothing_behind() {
    isolated(|| {
        let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
        let mut watched = Watched::start();
        let before = open_files();
        for number in 1..=100 {
            let name = format!("p{number}");
            let ip = format!("10.0.0.{number}");
            pod(&name, &[&format!("{ip}/32")]);
            if number % 10 == 0 {
                watched.until_has(&name, &[&ip]);
            }
            run(&format!("ip netns delete {name}"));
        }
        pod("last", &["10.0.1.1/32"]);
        watched.until_has("last", &["10.0.1.1"]);
        watched.until("only the last is there", |snapshot| snapshot.endpoints.len() == 1);
        assert!(watched.last.faults.is_empty(), "{:?}", watched.last);
        eventually("no descriptor is left", || open_files() <= before);
    });
}

#[test]
fn a_removed_namespace_is_gone_at_once_and_is_not_kept_alive() {
    isolated(|| {
        let mut watched = Watched::start();
        for number in 1..=20 {
            let name = format!("p{number}");
            pod(&name, &["10.0.0.2/32"]);
            watched.until_has(&name, &["10.0.0.2"]);
            run(&format!("ip netns delete {name}"));
            let removed = Instant::now();
            watched.until("it is gone", |snapshot| snapshot.endpoints.is_empty());
            assert!(removed.elapsed() < Duration::from_secs(1), "{:?}", removed.elapsed());
            eventually("the veth went with its namespace", || index(&format!("host-{name}")).is_none());
        }
    });
}

#[test]
fn a_name_that_is_used_again_is_the_new_namespace() {
    isolated(|| {
        let mut watched = Watched::start();
        pod("a", &["10.0.0.2/32"]);
        let old = watched.until_has("a", &["10.0.0.2"]);
        run("ip netns delete a");
        eventually("the old veth is gone", || index("host-a").is_none());
        pod("a", &["10.0.0.3/32"]);
        let new = watched.until_has("a", &["10.0.0.3"]);
        assert_ne!(old.interface, new.interface);
    });
}

#[test]
fn two_veths_are_two_endpoints_each_with_both_families() {
    isolated(|| {
        let mut watched = Watched::start();
        pod("a", &["10.0.0.2/32", "fd00::2/128"]);
        let first = watched.until_has("a", &["10.0.0.2", "fd00::2"]);
        assert!(first.addresses.iter().any(|ip| ip.to_string().starts_with("fe80:")), "link-local too: {first:?}");
        // The pod is complete by now: it is the host's event that says to look again.
        while watched.next_within(Duration::from_millis(1500)).is_some() {}
        let added = Instant::now();
        veth("a", "net1", "host-a1");
        assign("a", "net1", "192.0.2.2/32");
        assign("a", "net1", "2001:db8::2/128");
        let second = watched.until_has("a", &["192.0.2.2", "2001:db8::2"]);
        assert!(added.elapsed() < Duration::from_secs(1), "{:?}", added.elapsed());
        assert_eq!(second.interface_name, "host-a1");
        assert_eq!(watched.last.endpoints.len(), 2);

        run("ip link delete host-a1");
        watched.until("the second is gone", |snapshot| snapshot.endpoints.len() == 1);
        assert_eq!(watched.last.endpoints[0].interface, first.interface);
    });
}

#[test]
fn one_namespace_mounted_twice_is_one_endpoint() {
    isolated(|| {
        let mut watched = Watched::start();
        pod("a", &["10.0.0.2/32"]);
        let second = empty_file("b");
        run(&format!("mount --bind /run/netns/a {second}"));
        let endpoint = watched.until_has("a", &["10.0.0.2"]);
        assert_eq!(watched.last.endpoints.len(), 1);
        run("ip netns delete a");
        let same = watched.until_has("b", &["10.0.0.2"]);
        assert_eq!((same.interface, watched.last.endpoints.len()), (endpoint.interface, 1));
    });
}

#[test]
fn the_agents_own_namespace_is_no_pod() {
    isolated(|| {
        let file = empty_file("host");
        run(&format!("mount --bind /proc/self/ns/net {file}"));
        pod("a", &["10.0.0.2/32"]);
        let mut watched = Watched::start();
        watched.until_has("a", &["10.0.0.2"]);
        while let Some(snapshot) = watched.next_within(Duration::from_millis(1200)) {
            watched.last = snapshot;
        }
        assert_eq!(watched.last.endpoints.len(), 1, "{:?}", watched.last);
        assert!(watched.last.unhooked.is_empty() && watched.last.faults.is_empty(), "{:?}", watched.last);
    });
}

#[test]
fn a_veth_whose_other_side_is_in_another_pod_cannot_be_hooked() {
    isolated(|| {
        let mut watched = Watched::start();
        run("ip netns add a");
        run("ip netns add b");
        // In both namespaces the first free index is the same, and in this one too: an index alone must not do.
        run("ip link add decoy type veth peer name decoy1");
        run("ip -n a link add eth0 type veth peer name eth0 netns b");
        watched.until("both sides are told of", |snapshot| snapshot.unhooked.len() == 2);
        let unhooked = &watched.last.unhooked[0];
        assert_eq!((&*unhooked.name, &*unhooked.interface, &*unhooked.kind), ("a", "eth0", "veth"));
        assert!(unhooked.reason.contains("another namespace"), "{unhooked:?}");
        assert!(watched.last.endpoints.is_empty(), "{:?}", watched.last);
    });
}

#[test]
fn a_renamed_host_side_has_its_new_name() {
    isolated(|| {
        let mut watched = Watched::start();
        pod("a", &["10.0.0.2/32"]);
        let before = watched.until_has("a", &["10.0.0.2"]);
        run("ip link set host-a down");
        run("ip link set host-a name calixyz");
        watched.until("the name is the new one", |snapshot| {
            snapshot.endpoints.iter().any(|endpoint| endpoint.interface_name == "calixyz")
        });
        assert_eq!(watched.last.endpoints[0].interface, before.interface);
    });
}
