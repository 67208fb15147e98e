//! What is decided on a first packet, what is recorded of it, and which counters move.

use std::net::IpAddr;

use podwitness_wire::{
    ConnectionKey, Counter, Direction, Event, EventKind, Reason, Verdict, address_flags, endpoint_flags,
};

use crate::{
    fixture::{Kernel, OPENED},
    frames::{ACK, GRE, IN, OUT, Pair, RST, SYN, TCP},
    isolation::isolated,
    world::{
        EGRESS_ISOLATING, FROM_PEER_HTTP, Family, INGRESS_ISOLATING, INTERFACE, PEER_IDENTITY, POD_IDENTITY,
        TO_ANYBODY_RANGE, TO_BLOCK, TO_PEER_ANY_UDP, TO_PEER_HTTPS, TO_PEER_SCTP, World, address, families,
    },
};

const DENIED: [Counter; 1] = [Counter::DeniedAttempts];

fn tcp_key(pair: &Pair) -> ConnectionKey {
    ConnectionKey {
        interface: INTERFACE,
        pod_port: pair.pod.port(),
        peer_port: pair.peer.port(),
        pod: address(pair.pod.ip()),
        peer: address(pair.peer.ip()),
        protocol: TCP,
        zero: [0; 3],
    }
}

/// The open event of a SYN of `pair`, but for its times.
fn open_event(pair: &Pair, direction: Direction, bytes: u64) -> Event {
    let (out, into) = if direction == OUT { (1, 0) } else { (0, 1) };
    Event {
        generation: 1,
        packets_out: out,
        bytes_out: out * bytes,
        packets_in: into,
        bytes_in: into * bytes,
        key: tcp_key(pair),
        endpoint: POD_IDENTITY,
        peer: PEER_IDENTITY,
        kind: EventKind::Open.number(),
        verdict: Verdict::Allow.number(),
        direction: direction.number(),
        tcp_flags: SYN,
        ..Event::default()
    }
}

#[track_caller]
fn assert_event(actual: Event, expected: Event) {
    assert!(actual.opened_ns != 0 && actual.time_ns == actual.opened_ns, "{actual:?}");
    assert_eq!(Event { time_ns: 0, opened_ns: 0, ..actual }, expected);
}

fn packet_bytes(frame: &[u8]) -> u64 {
    frame.len() as u64 - 14
}

/// A frame without the end of its transport header.
fn cut(frame: &[u8]) -> Vec<u8> {
    frame[..frame.len() - 10].to_vec()
}

#[test]
fn what_a_rule_allows_opens_a_connection_and_says_which_rules() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            for (pair, direction, rule_set) in
                [(family.https(), OUT, TO_PEER_HTTPS), (family.from(family.peer, 80), IN, FROM_PEER_HTTP)]
            {
                let frame = pair.tcp(direction, SYN, 1);
                kernel.send(direction, &frame).passed(&OPENED);
                let expected = Event {
                    rule_set,
                    reason: Reason::Rule.number(),
                    ..open_event(&pair, direction, packet_bytes(&frame))
                };
                assert_event(kernel.event(), expected);
            }
        }
        kernel.assert_balance();
    });
}

#[test]
fn what_no_rule_allows_is_dropped_and_counted_under_the_isolating_policies() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let egress = family.to(family.peer, 444);
            let ingress = family.from(family.peer, 443);
            for (pair, direction, isolating) in [(egress, OUT, EGRESS_ISOLATING), (ingress, IN, INGRESS_ISOLATING)] {
                let frame = pair.tcp(direction, SYN, 1);
                kernel.send(direction, &frame).dropped(&DENIED);
                assert_eq!(kernel.events(), []);
                let (key, denial) = kernel.denial();
                assert_eq!((key.rule_set, key.reason), (isolating, Reason::NoRule.number()));
                assert_eq!((key.verdict, key.direction), (Verdict::Deny.number(), direction.number()));
                assert_eq!((key.endpoint, key.peer, key.generation), (POD_IDENTITY, PEER_IDENTITY, 1));
                assert_eq!((key.pod, key.peer_address), (address(family.pod), address(family.peer)));
                assert_eq!((key.protocol, key.interface), (TCP, INTERFACE));
                let port = if direction == OUT { 444 } else { 443 };
                let source_port = if direction == OUT { 40_000 } else { 50_000 };
                assert_eq!((key.port, denial.first_port, denial.last_port), (port, source_port, source_port));
                assert_eq!((denial.attempts, denial.packets, denial.bytes), (1, 1, packet_bytes(&frame)));
                assert_eq!((denial.tcp_flags, denial.several_ports), (u32::from(SYN), 0));
                assert!(denial.first_ns != 0 && denial.first_ns == denial.last_ns);
            }
        }
        assert_eq!(kernel.connections(), []);
        kernel.assert_balance();
    });
}

#[test]
fn a_pod_that_no_policy_selects_may_do_everything() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::open());
        for family in families() {
            for (pair, direction) in [(family.to(family.peer, 444), OUT), (family.from(family.peer, 443), IN)] {
                let frame = pair.tcp(direction, SYN, 1);
                kernel.send(direction, &frame).passed(&OPENED);
                let expected = Event {
                    reason: Reason::NotIsolated.number(),
                    ..open_event(&pair, direction, packet_bytes(&frame))
                };
                assert_event(kernel.event(), expected);
            }
        }
    });
}

#[test]
fn isolation_is_by_direction() {
    isolated(|| {
        let world =
            World { endpoint_flags: endpoint_flags::KNOWN | endpoint_flags::ISOLATED_INGRESS, ..World::closed() };
        let mut kernel = Kernel::of(&world);
        for family in families() {
            kernel.send(OUT, &family.https().tcp(OUT, SYN, 1)).passed(&OPENED);
            kernel.send(IN, &family.from(family.peer, 80).tcp(IN, SYN, 1)).dropped(&DENIED);
        }
    });
}

#[test]
fn the_own_node_is_always_allowed() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        for family in families() {
            for (pair, direction) in [(family.to(family.node, 444), OUT), (family.from(family.node, 443), IN)] {
                let frame = pair.tcp(direction, SYN, 1);
                kernel.send(direction, &frame).passed(&OPENED);
                let expected = Event {
                    reason: Reason::Node.number(),
                    peer: 0,
                    peer_flags: address_flags::LOCAL_NODE | address_flags::NODE,
                    ..open_event(&pair, direction, packet_bytes(&frame))
                };
                assert_event(kernel.event(), expected);
            }
        }
    });
}

#[test]
fn a_source_that_is_not_the_pods_own_is_spoofed_even_where_nothing_isolates_it() {
    isolated(|| {
        for world in [World::open(), World::isolated()] {
            let mut kernel = Kernel::of(&world);
            for family in families() {
                for peer in [family.peer, family.node] {
                    let spoofed = Family { pod: family.not_own, ..family }.to(peer, 443);
                    kernel.send(OUT, &spoofed.tcp(OUT, SYN, 1)).dropped(&DENIED);
                    let (key, _) = kernel.denial();
                    assert_eq!((key.reason, key.rule_set), (Reason::Spoofed.number(), 0));
                    assert_eq!(key.pod, address(family.not_own));
                }
            }
        }
    });
}

#[test]
fn an_unknown_endpoint_does_what_the_configuration_says() {
    isolated(|| {
        let absent = World { has_endpoint: false, ..World::closed() };
        let unknown = World { endpoint_flags: 0, ..World::closed() };
        let mut kernel = Kernel::new();
        for (world, identity) in [(absent, 0), (unknown, POD_IDENTITY)] {
            let generation = kernel.activate(&world);
            for (port, family) in (5000..).zip(families()) {
                kernel.control.set_deny_unknown_endpoints(false);
                let port = port + u16::try_from(generation * 10).unwrap();
                let pair = family.to(family.peer, port);
                let frame = pair.tcp(OUT, SYN, 1);
                kernel.send(OUT, &frame).passed(&OPENED);
                let expected = Event {
                    generation,
                    endpoint: identity,
                    reason: Reason::UnknownEndpoint.number(),
                    ..open_event(&pair, OUT, packet_bytes(&frame))
                };
                assert_event(kernel.event(), expected);

                kernel.control.set_deny_unknown_endpoints(true);
                kernel.send(IN, &family.from(family.peer, port).tcp(IN, SYN, 1)).dropped(&DENIED);
                let (key, _) = kernel.denial();
                assert_eq!((key.reason, key.endpoint), (Reason::UnknownEndpoint.number(), identity));
            }
        }
    });
}

#[test]
fn without_tables_everything_is_denied() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for family in families() {
            for (frame, direction) in [
                (family.https().tcp(OUT, SYN, 1), OUT),
                (family.from(family.peer, 80).tcp(IN, SYN, 1), IN),
                (cut(&family.https().tcp(OUT, SYN, 1)), OUT),
            ] {
                kernel.send(direction, &frame).dropped(&DENIED);
                let (key, _) = kernel.denial();
                assert_eq!((key.reason, key.generation), (Reason::NoTables.number(), 0));
            }
        }
    });
}

#[test]
fn audit_passes_and_records_what_enforcement_would_have_said() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated().audited());
        for family in families() {
            let allowed = family.https();
            kernel.send(OUT, &allowed.tcp(OUT, SYN, 1)).passed(&OPENED);
            let event = kernel.event();
            assert_eq!((event.verdict, event.rule_set), (Verdict::Allow.number(), TO_PEER_HTTPS));

            for (pair, direction, isolating) in [
                (family.to(family.peer, 444), OUT, EGRESS_ISOLATING),
                (family.from(family.peer, 443), IN, INGRESS_ISOLATING),
            ] {
                let frame = pair.tcp(direction, SYN, 1);
                kernel.send(direction, &frame).passed(&OPENED);
                let expected = Event {
                    verdict: Verdict::Audit.number(),
                    reason: Reason::NoRule.number(),
                    rule_set: isolating,
                    ..open_event(&pair, direction, packet_bytes(&frame))
                };
                assert_event(kernel.event(), expected);
            }
            let spoofed = Family { pod: family.not_own, ..family }.https();
            kernel.send(OUT, &spoofed.tcp(OUT, SYN, 1)).passed(&OPENED);
            let event = kernel.event();
            assert_eq!((event.verdict, event.reason), (Verdict::Audit.number(), Reason::Spoofed.number()));

            kernel.send(OUT, &cut(&allowed.tcp(OUT, SYN, 1))).passed(&DENIED);
            let (key, _) = kernel.denial();
            assert_eq!((key.verdict, key.reason), (Verdict::Audit.number(), Reason::Malformed.number()));
        }
        kernel.assert_balance();
    });
}

/// Sends one first packet, and says which rule set allowed it.
fn rule_set_of(kernel: &mut Kernel, direction: Direction, frame: &[u8]) -> Option<u32> {
    let sent = kernel.send(direction, frame);
    if sent.has_moved(Counter::ConnectionsOpened) {
        sent.passed(&OPENED);
        return Some(kernel.event().rule_set);
    }
    sent.dropped(&DENIED);
    None
}

#[test]
fn the_peers_class_is_asked_first_and_then_what_holds_for_everybody() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let mut tcp = |peer, port| rule_set_of(&mut kernel, OUT, &family.to(peer, port).tcp(OUT, SYN, 1));
            assert_eq!(tcp(family.peer, 443), Some(TO_PEER_HTTPS));
            assert_eq!(tcp(family.outside, 443), None, "the rule is for the peer's class");
            for peer in [family.peer, family.outside, family.in_exception] {
                assert_eq!(tcp(peer, 8080), Some(TO_ANYBODY_RANGE), "{peer}");
            }
        }
    });
}

#[test]
fn a_range_of_ports_has_its_ends() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            for port in 8070..8110 {
                let expected = (8080..8096).contains(&port).then_some(TO_ANYBODY_RANGE);
                let frame = family.to(family.outside, port).tcp(OUT, SYN, 1);
                assert_eq!(rule_set_of(&mut kernel, OUT, &frame), expected, "port {port}");
                // The rule is one of TCP.
                let frame = family.to(family.outside, port).udp(OUT);
                assert_eq!(rule_set_of(&mut kernel, OUT, &frame), None, "UDP port {port}");
            }
        }
    });
}

#[test]
fn the_longest_prefix_of_an_address_counts() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let mut tcp = |peer: IpAddr| rule_set_of(&mut kernel, OUT, &family.to(peer, 25).tcp(OUT, SYN, 1));
            assert_eq!(tcp(family.in_block), Some(TO_BLOCK));
            assert_eq!(tcp(family.in_exception), None);
            assert_eq!(tcp(family.outside), None);
        }
    });
}

#[test]
fn rules_without_ports_hold_for_every_protocol() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let block = family.to(family.in_block, 25);
            let peer = family.to(family.peer, 25);
            for (frame, expected) in [
                (block.udp(OUT), Some(TO_BLOCK)),
                (block.sctp(OUT), Some(TO_BLOCK)),
                (block.echo(OUT, 77), Some(TO_BLOCK)),
                (block.frame(OUT, GRE, &[0; 8]), Some(TO_BLOCK)),
                (peer.udp(OUT), Some(TO_PEER_ANY_UDP)),
                (peer.sctp(OUT), None),
                (family.to(family.peer, 38412).sctp(OUT), Some(TO_PEER_SCTP)),
                (peer.echo(OUT, 77), None),
                // An identifier is no port, whatever rules say of the port of the same number.
                (peer.echo(OUT, 443), None),
                (peer.echo(OUT, 8080), None),
                (peer.frame(OUT, GRE, &[0; 8]), None),
            ] {
                assert_eq!(rule_set_of(&mut kernel, OUT, &frame), expected, "{frame:?}");
            }
        }
    });
}

#[test]
fn arp_passes_uncounted_as_a_connection() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        for direction in [OUT, IN] {
            // A probe: who has 10.1.0.1?
            let mut probe = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1];
            let arp = crate::frames::ethernet_of_type(0x0806, &probe);
            kernel.send(direction, &arp).passed(&[Counter::Neighbour]);
            // What no receiver understands is no message of the link.
            probe[1] = 0;
            let other = crate::frames::ethernet_of_type(0x0806, &probe);
            assert_eq!(kernel.send(direction, &other).action, crate::fixture::Action::Drop);
        }
        assert_eq!(kernel.connections(), []);
    });
}

#[test]
fn a_reset_or_an_answer_without_a_connection_is_told_apart() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            kernel.send(OUT, &family.https().tcp(OUT, RST, 1)).passed(&[Counter::StrayReset]);
            kernel.send(OUT, &family.to(family.peer, 444).tcp(OUT, RST, 1)).dropped(&DENIED);
            // In the midst of a connection that began before there was a hook.
            kernel.send(OUT, &family.https().tcp(OUT, ACK, 1)).passed(&OPENED);
        }
    });
}
