//! Services: policy is asked about what stands behind their addresses, and the backend's hook decides where the client's
//! cannot.
//!
//! The client and the backends on this node are behind one interface, as all packets under `BPF_PROG_TEST_RUN` are: what
//! tells their connections apart is their addresses.

use std::net::{IpAddr, SocketAddr};

use podwitness_datapath::{AddressPrefix, PolicyPrefix, Sweep, Tables};
use podwitness_sorted::SortedList;
use podwitness_wire::{
    AddressEntry, Counter, EventKind, Frontend, Frontends, NatResolution, OwnAddressKey, PolicyEntry, PolicyKeyData,
    Reason, ServiceEntry, TCP, TransportAddress, Verdict, policy_outcome, service_kind,
};

use crate::{
    fixture::{Action, Kernel, OPENED},
    frames::{ACK, IN, OUT, Pair, SYN},
    isolation::isolated,
    world::{
        EGRESS_ISOLATING, EGRESS_SUBJECT, Family, INGRESS_ISOLATING, INTERFACE, PEER_CLASS, TO_PEER_HTTPS, World,
        address, families,
    },
};

pub(crate) const SERVICE: u32 = 50;
pub(crate) const OWN_CLASS: u32 = 60;
/// The classes of the two backends on this node, where each is decided by its own.
const GOOD_CLASS: u32 = 61;
const BAD_CLASS: u32 = 62;
pub(crate) const GOOD_IDENTITY: u32 = 301;
const TO_GOOD: u32 = 41;
const PORT: u16 = 80;
pub(crate) const TARGET_PORT: u16 = 9090;

/// The Service's address, and two backends on this node.
pub(crate) struct Addresses {
    pub(crate) service: IpAddr,
    pub(crate) good: IpAddr,
    pub(crate) bad: IpAddr,
}

pub(crate) fn addresses(family: &Family) -> Addresses {
    let texts = if family.pod.is_ipv4() {
        ["10.96.0.1", "10.1.0.11", "10.1.0.12"]
    } else {
        ["fd96::1", "fd01::11", "fd01::12"]
    };
    let [service, good, bad] = texts.map(|text| text.parse().unwrap());
    Addresses { service, good, bad }
}

fn transport(ip: IpAddr, port: u16) -> TransportAddress {
    TransportAddress { address: address(ip), port, protocol: TCP, zero: 0 }
}

/// A world with a Service of this kind and class.
pub(crate) fn tables(world: &World, kind: u8, class: u32, outcome: Option<u32>) -> Tables {
    let mut tables = world.tables();
    let rule = |class, port, rule_set, outcome| {
        let data = PolicyKeyData::new(EGRESS_SUBJECT, class, TCP, port);
        (PolicyPrefix { data, bits: PolicyKeyData::BITS }, PolicyEntry { rule_set, outcome })
    };
    if world.has_rules {
        tables.policy.put(rule(GOOD_CLASS, TARGET_PORT, TO_GOOD, policy_outcome::ALLOWED));
        if let Some(outcome) = outcome {
            let rule_set = if outcome == policy_outcome::MIXED_DENIED { EGRESS_ISOLATING } else { TO_GOOD };
            tables.policy.put(rule(OWN_CLASS, PORT, rule_set, outcome));
        }
    }
    for family in families() {
        let Addresses { service, good, bad } = addresses(&family);
        let port = if kind == service_kind::OWN { PORT } else { 443 };
        tables.services.put((transport(service, PORT), ServiceEntry { service: SERVICE, class, port, kind, zero: 0 }));
        let mut frontends = Frontends { count: 1, ..Frontends::default() };
        frontends.list[0] = Frontend { address: address(service), port: PORT, zero: [0; 2] };
        for (ip, class, identity) in [(good, GOOD_CLASS, GOOD_IDENTITY), (bad, BAD_CLASS, 302)] {
            let entry = AddressEntry { class, identity, owner: identity, interface: INTERFACE, flags: 0 };
            tables.addresses.put((AddressPrefix { address: address(ip), bits: 128 }, entry));
            tables.own_addresses.put((OwnAddressKey { interface: INTERFACE, address: address(ip) }, 0));
            tables.frontends.put((transport(ip, TARGET_PORT), frontends));
        }
        // The client's address, as that of an endpoint here.
        for (prefix, entry) in tables.addresses.iter_mut() {
            if prefix.address == address(family.pod) {
                entry.interface = INTERFACE;
            }
        }
    }
    tables
}

/// The client's packets to the Service.
pub(crate) fn to_service(family: &Family) -> Pair {
    family.to(addresses(family).service, PORT)
}

/// The same, translated to a backend, as the backend's hook sees it.
fn at_backend(family: &Family, backend: IpAddr) -> Pair {
    Pair { pod: SocketAddr::new(backend, TARGET_PORT), peer: to_service(family).pod }
}

pub(crate) fn activate(kernel: &mut Kernel, tables: &Tables) {
    kernel.control.activate(tables).unwrap();
}

#[test]
fn backends_that_are_alike_are_decided_as_a_peer_of_their_class() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for (class, allowed) in [(PEER_CLASS, true), (BAD_CLASS, false)] {
            activate(&mut kernel, &tables(&World::isolated(), service_kind::ALIKE, class, None));
            for family in families() {
                let pair = to_service(&family);
                let sent = kernel.send(OUT, &pair.tcp(OUT, SYN, class));
                if allowed {
                    sent.passed(&OPENED);
                    let event = kernel.event();
                    assert_eq!((event.service, event.rule_set), (SERVICE, TO_PEER_HTTPS));
                    assert_eq!(event.resolution, NatResolution::AllBackends.number());
                    assert_eq!((event.key.peer_port, event.peer), (PORT, 0));
                    kernel.send(IN, &pair.tcp(IN, SYN | ACK, 1)).passed(&[]);
                } else {
                    let pair = Pair { pod: SocketAddr::new(pair.pod.ip(), 41_000), ..pair };
                    assert_eq!(kernel.send(OUT, &pair.tcp(OUT, SYN, 1)).action, Action::Drop);
                }
            }
        }
        let (denials, _) = kernel.drain();
        for (key, _) in denials {
            assert_eq!((key.service, key.reason, key.rule_set), (SERVICE, Reason::NoRule.number(), EGRESS_ISOLATING));
        }
    });
}

#[test]
fn a_service_without_backends_is_denied_where_the_pod_is_isolated_and_passes_where_it_is_not() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for family in families() {
            activate(&mut kernel, &tables(&World::isolated(), service_kind::EMPTY, 0, None));
            kernel.send(OUT, &to_service(&family).tcp(OUT, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
            let (key, _) = kernel.denial();
            assert_eq!((key.service, key.resolution), (SERVICE, NatResolution::None.number()));
            activate(&mut kernel, &tables(&World::open(), service_kind::EMPTY, 0, None));
            kernel.send(OUT, &to_service(&family).tcp(OUT, SYN, 2)).passed(&OPENED);
            assert_eq!(kernel.event().reason, Reason::NotIsolated.number());
        }
    });
}

#[test]
fn what_is_said_of_everybody_is_not_said_of_a_service_with_a_class_of_its_own() {
    isolated(|| {
        let mut kernel = Kernel::new();
        let mut tables = tables(&World::isolated(), service_kind::OWN, OWN_CLASS, None);
        // Everybody may be reached at the number that happens to be the Service's.
        let data = PolicyKeyData::new(EGRESS_SUBJECT, 0, TCP, PORT);
        tables.policy.put((PolicyPrefix { data, bits: PolicyKeyData::BITS }, PolicyEntry { rule_set: 99, outcome: 0 }));
        activate(&mut kernel, &tables);
        for family in families() {
            kernel.send(OUT, &family.to(family.outside, PORT).tcp(OUT, SYN, 1)).passed(&OPENED);
            kernel.send(OUT, &to_service(&family).tcp(OUT, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
        }
    });
}

#[test]
fn backends_on_the_node_itself_are_always_allowed() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &tables(&World::closed(), service_kind::NODE, 0, None));
        for family in families() {
            kernel.send(OUT, &to_service(&family).tcp(OUT, SYN, 1)).passed(&OPENED);
            assert_eq!(kernel.event().reason, Reason::Node.number());
        }
    });
}

#[test]
fn mixed_backends_that_nobody_can_tell_apart_are_denied_and_the_record_says_mixed() {
    isolated(|| {
        let mut kernel = Kernel::new();
        let denied = Some(policy_outcome::MIXED_DENIED);
        activate(&mut kernel, &tables(&World::isolated(), service_kind::OWN, OWN_CLASS, denied));
        for family in families() {
            kernel.send(OUT, &to_service(&family).tcp(OUT, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
            let (key, _) = kernel.denial();
            assert_eq!((key.resolution, key.rule_set), (NatResolution::Mixed.number(), EGRESS_ISOLATING));
            assert_eq!(key.reason, Reason::NoRule.number());
        }
    });
}

pub(crate) fn deferring(world: &World) -> Tables {
    tables(world, service_kind::OWN, OWN_CLASS, Some(policy_outcome::DEFERRED))
}

const DEFERRED: [Counter; 1] = [Counter::ConnectionsDeferred];

#[test]
fn a_deferred_connection_is_opened_at_the_hook_of_the_backend_that_is_allowed() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &deferring(&World::open_to_ingress()));
        for family in families() {
            let client = to_service(&family);
            let backend = at_backend(&family, addresses(&family).good);
            kernel.send(OUT, &client.tcp(OUT, SYN, 1)).passed(&DEFERRED);
            assert_eq!(kernel.events(), [], "nothing is known yet");
            // Nothing is let back before.
            kernel.send(IN, &client.tcp(IN, SYN | ACK, 1)).dropped(&[Counter::DeferredReplies]);
            assert_eq!(kernel.sweep(), (Sweep::Done, [].into()));

            assert_eq!(kernel.send(IN, &backend.tcp(IN, SYN, 1)).action, Action::Next);
            let events = kernel.events();
            assert_eq!(events.len(), 2, "{events:#?}");
            let [of_client, of_backend] = [events[0], events[1]];
            assert_eq!((of_client.kind, of_client.verdict), (EventKind::Open.number(), Verdict::Allow.number()));
            assert_eq!((of_client.service, of_client.rule_set), (SERVICE, TO_GOOD));
            assert_eq!(of_client.resolution, NatResolution::Exact.number());
            assert_eq!((of_client.backend, of_client.backend_port), (backend_address(&backend), TARGET_PORT));
            assert_eq!((of_client.peer, of_client.key.peer), (GOOD_IDENTITY, address(addresses(&family).service)));
            assert_eq!((of_backend.service, of_backend.key.pod), (0, backend_address(&backend)));
            kernel.send(IN, &client.tcp(IN, SYN | ACK, 1)).passed(&[]);
            kernel.send(OUT, &client.tcp(OUT, ACK, 2)).passed(&[]);
        }
        kernel.assert_balance();
    });
}

fn backend_address(pair: &Pair) -> podwitness_wire::Address {
    address(pair.pod.ip())
}

#[test]
fn a_deferred_connection_is_denied_at_the_hook_of_the_backend_that_is_not() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &deferring(&World::open_to_ingress()));
        for family in families() {
            let client = to_service(&family);
            let backend = at_backend(&family, addresses(&family).bad);
            kernel.send(OUT, &client.tcp(OUT, SYN, 1)).passed(&DEFERRED);
            kernel.send(IN, &backend.tcp(IN, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
            // Its repetition is no other attempt, and nothing comes back.
            kernel.send(OUT, &client.tcp(OUT, SYN, 1)).passed(&[]);
            kernel.send(IN, &backend.tcp(IN, SYN, 1)).dropped(&[]);
            kernel.send(IN, &client.tcp(IN, SYN | ACK, 1)).dropped(&[Counter::DeferredReplies]);
            let (key, denial) = kernel.denial();
            assert_eq!((key.pod, key.peer_address), (address(client.pod.ip()), address(client.peer.ip())));
            assert_eq!((key.reason, key.rule_set), (Reason::NoRule.number(), EGRESS_ISOLATING));
            assert_eq!((key.service, key.resolution), (SERVICE, NatResolution::Exact.number()));
            assert_eq!((key.backend, key.backend_port), (backend_address(&backend), TARGET_PORT));
            assert_eq!((key.port, denial.first_port, denial.attempts), (PORT, client.pod.port(), 1));
            assert_eq!(kernel.events(), []);
        }
        // It was counted, and needs no record of its own when it ends.
        kernel.set_settings(|settings| settings.timeouts.tcp_syn = 0);
        let (_, moved) = kernel.sweep();
        assert_eq!(moved.get(&Counter::DeferredForgotten), Some(&2));
        assert_eq!(kernel.events(), []);
        assert_eq!(kernel.connections(), []);
        kernel.assert_balance();
    });
}

#[test]
fn a_backend_that_its_own_policy_closes_denies_what_the_client_may() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &deferring(&World::isolated()));
        for family in families() {
            let backend = at_backend(&family, addresses(&family).good);
            kernel.send(OUT, &to_service(&family).tcp(OUT, SYN, 1)).passed(&DEFERRED);
            assert_eq!(kernel.send(IN, &backend.tcp(IN, SYN, 1)).action, Action::Drop);
            assert_eq!(kernel.event().verdict, Verdict::Allow.number(), "the client's policy allows it");
            let (key, _) = kernel.denial();
            assert_eq!((key.pod, key.rule_set), (backend_address(&backend), INGRESS_ISOLATING));
        }
    });
}

#[test]
fn a_deferred_connection_that_no_backend_has_seen_ends_as_a_denial_that_says_so() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &deferring(&World::isolated()));
        let family = families()[0];
        kernel.send(OUT, &to_service(&family).tcp(OUT, SYN, 1)).passed(&DEFERRED);
        kernel.set_settings(|settings| settings.timeouts.tcp_syn = 0);
        assert_eq!(kernel.sweep().0, Sweep::Done);
        let event = kernel.event();
        assert_eq!((event.kind, event.verdict), (EventKind::Deny.number(), Verdict::Deny.number()));
        assert_eq!((event.reason, event.rule_set), (Reason::ServiceUnresolved.number(), EGRESS_ISOLATING));
        assert_eq!((event.service, event.resolution), (SERVICE, NatResolution::Mixed.number()));
        assert_eq!(kernel.connections(), []);
        kernel.assert_balance();
    });
}

#[test]
fn a_deferred_connection_follows_the_policy() {
    isolated(|| {
        let mut kernel = Kernel::new();
        let world = World::isolated();
        for family in families() {
            let client = to_service(&family);
            activate(&mut kernel, &deferring(&world));
            kernel.send(OUT, &client.tcp(OUT, SYN, 1)).passed(&DEFERRED);
            // Now every backend is allowed.
            let allowed = Some(policy_outcome::ALLOWED);
            activate(&mut kernel, &tables(&world, service_kind::OWN, OWN_CLASS, allowed));
            assert_eq!(kernel.send(OUT, &client.tcp(OUT, SYN, 1)).action, Action::Next);
            let event = kernel.event();
            assert_eq!((event.kind, event.resolution), (EventKind::Open.number(), NatResolution::AllBackends.number()));
            kernel.send(IN, &client.tcp(IN, SYN | ACK, 1)).passed(&[]);
            // And now none: a live connection, so it is a change.
            activate(&mut kernel, &tables(&world, service_kind::OWN, OWN_CLASS, None));
            assert_eq!(kernel.send(OUT, &client.tcp(OUT, ACK, 2)).action, Action::Drop);
            let event = kernel.event();
            assert_eq!((event.kind, event.verdict), (EventKind::Change.number(), Verdict::Deny.number()));
            assert_eq!((event.rule_set, event.previous_rule_set), (EGRESS_ISOLATING, TO_GOOD));
        }
        kernel.assert_balance();
    });
}

#[test]
fn audit_lets_a_mixed_service_through_and_says_what_enforcement_would_have_done() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &deferring(&World::open_to_ingress().audited()));
        for family in families() {
            let client = to_service(&family);
            let backend = at_backend(&family, addresses(&family).bad);
            kernel.send(OUT, &client.tcp(OUT, SYN, 1)).passed(&DEFERRED);
            kernel.send(IN, &client.tcp(IN, SYN | ACK, 1)).passed(&[]);
            assert_eq!(kernel.send(IN, &backend.tcp(IN, SYN, 1)).action, Action::Next);
            let events = kernel.events();
            assert_eq!(events.len(), 2, "{events:#?}");
            assert_eq!((events[0].verdict, events[0].rule_set), (Verdict::Audit.number(), EGRESS_ISOLATING));
            assert_eq!(events[0].resolution, NatResolution::Exact.number());
        }
        kernel.assert_balance();
    });
}

#[test]
fn a_live_connection_whose_backend_is_known_is_decided_by_it_when_the_policy_changes() {
    isolated(|| {
        let mut kernel = Kernel::new();
        let world = World::open_to_ingress();
        let allowed = Some(policy_outcome::ALLOWED);
        for family in families() {
            activate(&mut kernel, &tables(&world, service_kind::OWN, OWN_CLASS, allowed));
            let client = to_service(&family);
            kernel.send(OUT, &client.tcp(OUT, SYN, 1)).passed(&OPENED);
            assert_eq!(kernel.event().resolution, NatResolution::AllBackends.number());
            kernel.send(IN, &at_backend(&family, addresses(&family).good).tcp(IN, SYN, 1));
            kernel.events();
            // The Service is mixed now, and this connection goes to the backend that is allowed.
            activate(&mut kernel, &tables(&world, service_kind::OWN, OWN_CLASS, Some(policy_outcome::MIXED_DENIED)));
            kernel.send(OUT, &client.tcp(OUT, ACK, 2)).passed(&[]);
            // The Service is gone, the connection is not.
            let mut tables = tables(&world, service_kind::OWN, OWN_CLASS, allowed);
            tables.services = SortedList::default();
            tables.frontends = SortedList::default();
            activate(&mut kernel, &tables);
            kernel.send(OUT, &client.tcp(OUT, ACK, 3)).passed(&[]);
            assert_eq!(kernel.events(), []);
        }
        kernel.assert_balance();
    });
}

/// A client that talks to an allowed backend itself does not confirm by it what it has asked the Service.
#[test]
fn a_connection_to_a_backend_itself_opens_none_to_its_service() {
    isolated(|| {
        let mut kernel = Kernel::new();
        activate(&mut kernel, &deferring(&World::open_to_ingress()));
        for family in families() {
            let client = to_service(&family);
            let Addresses { good, bad, .. } = addresses(&family);
            kernel.send(OUT, &client.tcp(OUT, SYN, 1)).passed(&DEFERRED);
            // From the same port to the backend itself, which policy allows.
            let direct = family.to(good, TARGET_PORT);
            kernel.send(OUT, &direct.tcp(OUT, SYN, 1)).passed(&OPENED);
            kernel.send(IN, &at_backend(&family, good).tcp(IN, SYN, 1)).passed(&OPENED);
            assert!(kernel.events().iter().all(|event| event.service == 0));
            // What was asked of the Service has gone to the other one.
            assert_eq!(kernel.send(IN, &at_backend(&family, bad).tcp(IN, SYN, 1)).action, Action::Drop);
            kernel.send(IN, &client.tcp(IN, SYN | ACK, 1)).dropped(&[Counter::DeferredReplies]);
            kernel.drain();
        }
        kernel.assert_balance();
    });
}

/// The backend's hook asks the client's policy, whatever the tables of Services say of the backend.
#[test]
fn a_denied_backend_is_denied_though_no_connection_of_its_client_is_known() {
    isolated(|| {
        let mut kernel = Kernel::new();
        let mut tables = deferring(&World::open_to_ingress());
        tables.services = SortedList::default();
        tables.frontends = SortedList::default();
        activate(&mut kernel, &tables);
        for family in families() {
            let Addresses { good, bad, .. } = addresses(&family);
            kernel.send(IN, &at_backend(&family, good).tcp(IN, SYN, 1)).passed(&OPENED);
            kernel.send(IN, &at_backend(&family, bad).tcp(IN, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
            let (key, _) = kernel.denial();
            assert_eq!((key.pod, key.peer_address), (address(to_service(&family).pod.ip()), address(bad)));
            assert_eq!(key.rule_set, EGRESS_ISOLATING);
        }
    });
}
