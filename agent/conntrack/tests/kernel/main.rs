//! The kernel's own connection tracking, asked about real connections that nftables has translated.

mod isolation;
mod node;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use isolation::{isolated, isolated_without_net_admin, run};
use node::{BACKEND_PORT, CLIENT, FAMILIES, SCTP, SERVICE, TCP, UDP, at, call};
use podwitness_conntrack::{Error, Tracker, Tuple};

/// Rules as kube-proxy makes them: one backend or the other by chance, on another port than the Service's. What goes to port
/// 81 leaves with the node's own address as well; port 82 has one backend.
const RULES: &str = "
table inet services {
  chain ip_one { meta l4proto { tcp, udp, sctp } dnat ip to 10.0.2.2:8080; }
  chain ip_other { meta l4proto { tcp, udp, sctp } dnat ip to 10.0.3.2:8080; }
  chain ip6_one { meta l4proto { tcp, udp, sctp } dnat ip6 to [fd00:2::2]:8080; }
  chain ip6_other { meta l4proto { tcp, udp, sctp } dnat ip6 to [fd00:3::2]:8080; }
  chain arriving {
    type nat hook prerouting priority dstnat
    th dport 81 meta mark set 0x4000
    ip daddr 10.96.0.1 th dport { 80, 81 } numgen random mod 2 vmap { 0 : goto ip_one, 1 : goto ip_other }
    ip6 daddr fd00:96::1 th dport { 80, 81 } numgen random mod 2 vmap { 0 : goto ip6_one, 1 : goto ip6_other }
    ip daddr 10.96.0.1 th dport 82 goto ip_one
    ip6 daddr fd00:96::1 th dport 82 goto ip6_one
  }
  chain leaving {
    type nat hook postrouting priority srcnat
    meta mark 0x4000 masquerade
  }
}
";

/// So many that two backends chosen by chance are both called, but for once in 2^31.
const CALLS: usize = 32;

fn tuple(protocol: u8, source: SocketAddr, destination: SocketAddr) -> Tuple {
    Tuple { protocol, source, destination }
}

#[test]
fn each_connection_has_the_backend_that_answered_it_and_a_translated_source_changes_nothing() {
    isolated(|| {
        node::make(RULES);
        let mut tracker = Tracker::open().unwrap();
        for family in 0..FAMILIES {
            for (protocol, port) in [(TCP, 80), (TCP, 81), (UDP, 80), (UDP, 81)] {
                let service = at(SERVICE[family], port);
                let calls: Vec<_> = (0..CALLS).map(|_| call(protocol, service)).collect();
                let tuples: Vec<_> = calls.iter().map(|call| tuple(protocol, call.local, service)).collect();
                let expected: Vec<_> = calls.iter().map(|call| Some(call.backend)).collect();
                assert_eq!(tracker.backends(&tuples).unwrap(), expected);
                assert_eq!(expected.iter().collect::<BTreeSet<_>>().len(), 2, "both must have been called");
                let is_masked = calls.iter().all(|call| call.seen_from.to_string() != CLIENT[family]);
                assert_eq!(is_masked, port == 81, "{calls:?}");
            }
        }
    });
}

#[test]
fn sctp_is_followed_too() {
    isolated(|| {
        node::make(RULES);
        run("sysctl -qw net.netfilter.nf_conntrack_checksum=0");
        let mut tracker = Tracker::open().unwrap();
        for family in 0..FAMILIES {
            let service = at(SERVICE[family], 82);
            node::send_sctp(40_000, service);
            let backend = at(["10.0.2.2", "fd00:2::2"][family], BACKEND_PORT);
            let asked = tuple(SCTP, at(CLIENT[family], 40_000), service);
            let deadline = Instant::now() + Duration::from_secs(5);
            while tracker.backends(&[asked]).unwrap() != [Some(backend)] {
                assert!(Instant::now() < deadline, "the INIT was not tracked");
            }
        }
    });
}

#[test]
fn a_connection_that_is_not_tracked_or_not_translated_has_no_backend() {
    isolated(|| {
        node::make(RULES);
        let mut tracker = Tracker::open().unwrap();
        for family in 0..FAMILIES {
            let service = at(SERVICE[family], 82);
            let direct = at(["10.0.3.2", "fd00:3::2"][family], BACKEND_PORT);
            let (called, untranslated) = (call(TCP, service), call(TCP, direct));
            let client = at(CLIENT[family], 1);
            let asked = [
                tuple(TCP, client, service),
                tuple(UDP, called.local, service),
                tuple(TCP, called.local, direct),
                tuple(TCP, untranslated.local, direct),
                // The ways back of both.
                tuple(TCP, called.backend, called.local),
                tuple(TCP, direct, untranslated.local),
                // No such thing: it is not asked, and spoils nothing.
                tuple(TCP, at(CLIENT[1 - family], 1), service),
                tuple(TCP, called.local, service),
            ];
            let mut expected = [None; 8];
            expected[7] = Some(called.backend);
            assert_eq!(tracker.backends(&asked).unwrap(), expected);
        }
        assert_eq!(tracker.backends(&[]).unwrap(), []);
    });
}

#[test]
fn a_large_batch_is_answered_whole_and_in_its_order() {
    isolated(|| {
        node::make(RULES);
        let mut tracker = Tracker::open().unwrap();
        let service = at(SERVICE[0], 80);
        let calls: Vec<_> = (0..CALLS).map(|_| call(UDP, service)).collect();
        let nobody = tuple(UDP, at(CLIENT[0], 1), service);
        let mut asked = vec![nobody; 16_384];
        let mut expected = vec![None; asked.len()];
        for (place, call) in calls.iter().cycle().take(10_000).enumerate() {
            // 7 has no factor in common with the size.
            let place = place * 7 % asked.len();
            asked[place] = tuple(UDP, call.local, service);
            expected[place] = Some(call.backend);
        }
        assert_eq!(tracker.backends(&asked).unwrap(), expected);
    });
}

#[test]
fn without_any_rule_there_is_an_answer_and_it_is_none() {
    isolated(|| {
        let mut tracker = Tracker::open().unwrap();
        let asked = tuple(TCP, at(CLIENT[0], 1), at(SERVICE[0], 80));
        assert_eq!(tracker.backends(&[asked]).unwrap(), [None]);
    });
}

#[test]
fn who_may_not_ask_is_told_which_capability_is_missing() {
    isolated_without_net_admin(|| {
        let error = Tracker::open().err().unwrap();
        assert!(matches!(error, Error::Forbidden), "{error:?}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}

/// The kernel takes the entry of an ended connection away when the next one begins.
#[test]
fn of_two_connections_with_the_same_five_values_the_last_one_is_told() {
    isolated(|| {
        node::make(RULES);
        let mut tracker = Tracker::open().unwrap();
        let service = at(SERVICE[0], 80);
        let mut backends = BTreeSet::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        while backends.len() < 2 {
            assert!(Instant::now() < deadline, "the backend was never another: {backends:?}");
            let called = node::call_again(at(CLIENT[0], 45_000), service);
            assert_eq!(tracker.backends(&[tuple(TCP, called.local, service)]).unwrap(), [Some(called.backend)]);
            backends.insert(called.backend);
        }
    });
}
