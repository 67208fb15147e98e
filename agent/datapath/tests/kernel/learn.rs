//! What user space has learnt of a connection to a Service: its backend, which no hook on this node has seen.

use std::net::{IpAddr, SocketAddr};

use podwitness_datapath::Tables;
use podwitness_wire::{Event, EventKind, Learnt, NatResolution, Verdict, policy_outcome, service_kind};

use crate::{
    fixture::{Action, Kernel, OPENED},
    frames::{ACK, IN, OUT, Pair, RST, SYN},
    isolation::isolated,
    services::{GOOD_IDENTITY, OWN_CLASS, SERVICE, TARGET_PORT, activate, addresses, deferring, tables, to_service},
    world::{EGRESS_ISOLATING, Family, World, address, families},
};

const EXACT: u8 = NatResolution::Exact.number();
const ALL_BACKENDS: u8 = NatResolution::AllBackends.number();

/// All backends of the Service are allowed.
fn allowing(world: &World) -> Tables {
    tables(world, service_kind::OWN, OWN_CLASS, Some(policy_outcome::ALLOWED))
}

/// One backend is allowed, the other is not.
fn mixed(world: &World) -> Tables {
    tables(world, service_kind::OWN, OWN_CLASS, Some(policy_outcome::MIXED_DENIED))
}

/// A connection to the Service from this port.
fn from_port(family: &Family, port: u16) -> Pair {
    let pair = to_service(family);
    Pair { pod: SocketAddr::new(pair.pod.ip(), port), ..pair }
}

fn open(kernel: &mut Kernel, pair: &Pair) -> Event {
    kernel.send(OUT, &pair.tcp(OUT, SYN, 1)).passed(&OPENED);
    let event = kernel.event();
    assert_eq!((event.kind, event.resolution), (EventKind::Open.number(), ALL_BACKENDS));
    event
}

/// That the connection which was opened so goes to this backend.
fn learnt(opened: &Event, backend: IpAddr) -> Learnt {
    Learnt {
        key: opened.key,
        backend: address(backend),
        backend_port: TARGET_PORT,
        opened_ns: opened.opened_ns,
        ..Learnt::default()
    }
}

#[test]
fn when_the_policy_changes_a_connection_stays_or_ends_by_the_backend_that_was_learnt() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for family in families() {
            activate(&mut kernel, &allowing(&World::open()));
            let (to_good, to_bad) = (from_port(&family, 41_001), from_port(&family, 41_002));
            for (pair, backend) in [(&to_good, addresses(&family).good), (&to_bad, addresses(&family).bad)] {
                let opened = open(&mut kernel, pair);
                assert!(kernel.outlet.learn(&learnt(&opened, backend)).unwrap());
                kernel.send(OUT, &pair.tcp(OUT, ACK, 2)).passed(&[]);
            }
            activate(&mut kernel, &mixed(&World::open_to_ingress()));
            kernel.send(OUT, &to_good.tcp(OUT, ACK, 3)).passed(&[]);
            kernel.send(IN, &to_good.tcp(IN, ACK, 3)).passed(&[]);
            assert_eq!(kernel.events(), []);
            assert_eq!(kernel.send(OUT, &to_bad.tcp(OUT, ACK, 3)).action, Action::Drop);
            let event = kernel.event();
            assert_eq!((event.kind, event.verdict), (EventKind::Change.number(), Verdict::Deny.number()));
            assert_eq!((event.rule_set, event.service, event.resolution), (EGRESS_ISOLATING, SERVICE, EXACT));
            assert_eq!((event.backend, event.backend_port), (address(addresses(&family).bad), TARGET_PORT));
            assert_eq!(kernel.send(IN, &to_bad.tcp(IN, ACK, 3)).action, Action::Drop);
        }
        kernel.assert_balance();
    });
}

/// kube-proxy may choose a backend that is none of the ready ones any more.
#[test]
fn a_connection_to_a_backend_that_is_denied_ends_with_the_packet_after_it_was_learnt() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &allowing(&World::open_to_ingress()));
        for family in families() {
            let pair = to_service(&family);
            let opened = open(&mut kernel, &pair);
            assert!(kernel.outlet.learn(&learnt(&opened, addresses(&family).bad)).unwrap());
            assert_eq!(kernel.send(IN, &pair.tcp(IN, SYN | ACK, 1)).action, Action::Drop);
            let event = kernel.event();
            assert_eq!((event.kind, event.verdict), (EventKind::Change.number(), Verdict::Deny.number()));
            assert_eq!((event.resolution, event.generation), (EXACT, opened.generation));
        }
        kernel.assert_balance();
    });
}

#[test]
fn the_close_names_the_backend_and_the_generation_that_decided_also_where_no_packet_came_since() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &allowing(&World::open_to_ingress()));
        for (family, packet_since) in families().into_iter().zip([false, true]) {
            let pair = to_service(&family);
            let opened = open(&mut kernel, &pair);
            assert!(kernel.outlet.learn(&learnt(&opened, addresses(&family).good)).unwrap());
            if packet_since {
                kernel.send(OUT, &pair.tcp(OUT, ACK, 2)).passed(&[]);
            }
            kernel.set_settings(|settings| settings.timeouts.tcp_syn = 0);
            kernel.sweep();
            let event = kernel.event();
            assert_eq!((event.kind, event.generation), (EventKind::Close.number(), opened.generation));
            assert_eq!((event.resolution, event.backend), (EXACT, address(addresses(&family).good)));
            assert_eq!(event.peer, if packet_since { GOOD_IDENTITY } else { 0 });
        }
        kernel.assert_balance();
    });
}

#[test]
fn only_the_connection_that_was_meant_learns() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &allowing(&World::open_to_ingress()));
        for family in families() {
            let pair = to_service(&family);
            let good = addresses(&family).good;
            let first = open(&mut kernel, &pair);
            let mut nobody = learnt(&first, good);
            nobody.key.pod_port += 1;
            assert!(!kernel.outlet.learn(&nobody).unwrap());
            // It ends, and another one of the same five values begins.
            kernel.send(IN, &pair.tcp(IN, RST, 1)).passed(&[]);
            assert_eq!(kernel.send(OUT, &pair.tcp(OUT, SYN, 9)).action, Action::Next);
            let events = kernel.events();
            let kinds: Vec<u8> = events.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, [EventKind::Close.number(), EventKind::Open.number()]);
            assert!(!kernel.outlet.learn(&learnt(&first, good)).unwrap());
            let (_, connection) = kernel.connections().into_iter().find(|(key, _)| *key == first.key).unwrap();
            assert_eq!((connection.resolution, connection.backend), (ALL_BACKENDS, [0; 16]));
            assert!(kernel.outlet.learn(&learnt(&events[1], good)).unwrap());
        }
        kernel.assert_balance();
    });
}

#[test]
fn a_backend_that_is_known_stays_and_a_deferred_connection_waits_for_its_hook() {
    isolated(|| {
        let mut kernel = Kernel::new();
        let family = families()[0];
        let (good, bad) = (addresses(&family).good, addresses(&family).bad);
        activate(&mut kernel, &allowing(&World::open_to_ingress()));
        let pair = from_port(&family, 41_001);
        let opened = open(&mut kernel, &pair);
        for backend in [good, bad] {
            assert!(kernel.outlet.learn(&learnt(&opened, backend)).unwrap());
            kernel.send(OUT, &pair.tcp(OUT, ACK, 2)).passed(&[]);
        }

        activate(&mut kernel, &deferring(&World::open_to_ingress()));
        let waiting = from_port(&family, 41_002);
        kernel.send(OUT, &waiting.tcp(OUT, SYN, 1)).passed(&[podwitness_wire::Counter::ConnectionsDeferred]);
        let of_waiting = |kernel: &Kernel| {
            kernel.connections().into_iter().find(|(key, _)| key.pod_port == 41_002).expect("it is remembered")
        };
        let (key, before) = of_waiting(&kernel);
        let told = Learnt { key, opened_ns: before.opened_ns, ..learnt(&opened, good) };
        assert!(kernel.outlet.learn(&told).unwrap());
        assert_eq!(of_waiting(&kernel).1, before);
    });
}
