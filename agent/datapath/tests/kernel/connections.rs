//! The life of a connection: replies, ends, time-outs, and a policy that changes.

use std::{thread, time::Duration};

use podwitness_wire::{Counter, EventKind, Reason, Verdict, bits};

use crate::{
    fixture::{HOUR_NS, Kernel, Moved, OPENED, timeouts},
    frames::{ACK, FIN, IN, OUT, Pair, RST, SYN},
    isolation::isolated,
    world::{EGRESS_ISOLATING, TO_PEER_HTTPS, World, families, reverse},
};
use podwitness_datapath::Sweep;

fn moved(counters: &[(Counter, u64)]) -> Moved {
    counters.iter().copied().collect()
}

/// The counters of `count` close records.
fn closed(count: u64) -> Moved {
    moved(&[
        (Counter::ConnectionsClosed, count),
        (Counter::RecordsOwed, count),
        (Counter::EventsOffered, count),
        (Counter::EventsAccepted, count),
    ])
}

fn nothing() -> Moved {
    Moved::new()
}

/// Opens a connection of an allowed pair, and forgets its event.
fn open(kernel: &mut Kernel, pair: &Pair) {
    kernel.send(OUT, &pair.tcp(OUT, SYN, 1)).passed(&OPENED);
    assert_eq!(kernel.kinds(), [EventKind::Open]);
}

#[test]
fn replies_belong_to_the_connection_and_the_close_has_both_totals() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let pair = family.https();
            let bytes = pair.tcp(OUT, SYN, 1).len() as u64 - 14;
            open(&mut kernel, &pair);
            kernel.send(IN, &pair.tcp(IN, SYN | ACK, 1)).passed(&[]);
            for _ in 0..3 {
                kernel.send(OUT, &pair.tcp(OUT, ACK, 2)).passed(&[]);
                kernel.send(IN, &pair.tcp(IN, ACK, 2)).passed(&[]);
            }
            kernel.send(OUT, &pair.tcp(OUT, FIN | ACK, 2)).passed(&[]);
            kernel.send(IN, &pair.tcp(IN, FIN | ACK, 2)).passed(&[]);
            kernel.send(OUT, &pair.tcp(OUT, ACK, 3)).passed(&[]);
            assert_eq!(kernel.events(), []);

            kernel.set_settings(|settings| settings.close_after = 0);
            assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
            let event = kernel.event();
            assert_eq!(event.kind, EventKind::Close.number());
            assert_eq!((event.packets_out, event.bytes_out), (6, 6 * bytes));
            assert_eq!((event.packets_in, event.bytes_in), (5, 5 * bytes));
            assert_eq!((event.verdict, event.rule_set), (Verdict::Allow.number(), TO_PEER_HTTPS));
            assert!(event.opened_ns < event.time_ns);
            kernel.set_settings(|settings| settings.close_after = HOUR_NS);
        }
        kernel.assert_balance();
    });
}

#[test]
fn only_the_end_of_both_sides_ends_a_connection() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        kernel.set_settings(|settings| settings.close_after = 0);
        for family in families() {
            let pair = family.https();
            open(&mut kernel, &pair);
            for direction in [OUT, IN] {
                assert_eq!(kernel.sweep(), (Sweep::Done, nothing()));
                kernel.send(direction, &pair.tcp(direction, FIN | ACK, 2)).passed(&[]);
            }
            assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
            assert_eq!(kernel.kinds(), [EventKind::Close]);
        }
    });
}

#[test]
fn a_closed_connection_waits_to_be_quiet() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let pair = families()[0].https();
        open(&mut kernel, &pair);
        kernel.send(IN, &pair.tcp(IN, RST, 1)).passed(&[]);
        assert_eq!(kernel.sweep(), (Sweep::Done, nothing()), "close_after is an hour");
        kernel.set_settings(|settings| settings.close_after = 0);
        assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
    });
}

#[test]
fn after_its_close_a_connection_is_remembered_until_the_time_out() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        kernel.set_settings(|settings| settings.close_after = 0);
        for family in families() {
            let pair = family.https();
            open(&mut kernel, &pair);
            for direction in [OUT, IN] {
                kernel.send(direction, &pair.tcp(direction, FIN | ACK, 2)).passed(&[]);
            }
            assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
            assert_eq!(kernel.kinds(), [EventKind::Close]);
            for direction in [OUT, IN] {
                kernel.send(direction, &pair.tcp(direction, ACK, 9)).passed(&[Counter::AfterClose]);
                kernel.send(direction, &pair.tcp(direction, RST, 9)).passed(&[Counter::AfterClose]);
            }
            assert_eq!(kernel.sweep(), (Sweep::Done, nothing()));
            kernel.set_settings(|settings| settings.timeouts.tcp_time_wait = 0);
            assert_eq!(kernel.sweep(), (Sweep::Done, moved(&[(Counter::ConnectionsDeleted, 1)])));
            assert_eq!(kernel.connections(), []);
            kernel.set_settings(|settings| settings.timeouts.tcp_time_wait = HOUR_NS);
        }
        assert_eq!(kernel.events(), []);
        kernel.assert_balance();
    });
}

/// A reset that its receiver did not believe hides nothing of what comes after it.
#[test]
fn whoever_goes_on_after_a_reset_and_its_close_is_recorded_again() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        kernel.set_settings(|settings| settings.close_after = 0);
        for family in families() {
            let pair = family.https();
            open(&mut kernel, &pair);
            kernel.send(OUT, &pair.tcp(OUT, RST, 1)).passed(&[]);
            assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
            assert_eq!(kernel.kinds(), [EventKind::Close]);
            kernel.send(OUT, &pair.tcp(OUT, RST, 9)).passed(&[Counter::AfterClose]);
            kernel.send(OUT, &pair.tcp(OUT, ACK, 9)).passed(&OPENED);
            kernel.send(IN, &pair.tcp(IN, ACK, 9)).passed(&[]);
            assert_eq!(kernel.kinds(), [EventKind::Open]);
            assert_eq!(kernel.sweep(), (Sweep::Done, nothing()), "the reset of the one before does not end it");
        }
        kernel.assert_balance();
    });
}

#[test]
fn a_syn_after_the_end_opens_another_connection() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for (family, is_swept) in families().into_iter().zip([true, false]) {
            let pair = family.https();
            open(&mut kernel, &pair);
            kernel.send(OUT, &pair.tcp(OUT, FIN, 2)).passed(&[]);
            kernel.send(IN, &pair.tcp(IN, FIN, 2)).passed(&[]);
            if is_swept {
                kernel.set_settings(|settings| settings.close_after = 0);
                assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
                kernel.send(OUT, &pair.tcp(OUT, SYN, 7)).passed(&OPENED);
            } else {
                // The close is told by the packet that needs the entry.
                let sent = kernel.send(OUT, &pair.tcp(OUT, SYN, 7));
                assert!(sent.has_moved(Counter::ConnectionsClosed) && sent.has_moved(Counter::ConnectionsOpened));
            }
            let events = kernel.events();
            let kinds: Vec<u8> = events.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, [EventKind::Close.number(), EventKind::Open.number()]);
            assert!(events[0].opened_ns < events[1].opened_ns);
            assert_eq!((events[0].packets_out, events[0].packets_in), (2, 1));
            assert_eq!((events[1].packets_out, events[1].packets_in), (1, 0));
            let connections = kernel.connections();
            let (_, connection) = connections.iter().find(|(key, _)| *key == events[1].key).unwrap();
            assert_eq!(connection.bits, 0, "nothing is left of the connection before");
            // What has ended is told by a SYN alone: the next packets belong to the new one.
            kernel.send(IN, &pair.tcp(IN, SYN | ACK, 7)).passed(&[]);
            kernel.set_settings(|settings| settings.close_after = HOUR_NS);
        }
        kernel.assert_balance();
    });
}

#[test]
fn udp_and_other_protocols_end_by_their_time_out() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let pair = family.to(family.in_block, 53);
            let frames = [
                (pair.udp(OUT), pair.udp(IN)),
                (pair.echo(OUT, 7), pair.echo(IN, 7)),
                (pair.frame(OUT, 47, &[0; 8]), pair.frame(IN, 47, &[0; 8])),
            ];
            for (out, into) in frames {
                kernel.send(OUT, &out).passed(&OPENED);
                kernel.send(IN, &into).passed(&[]);
                assert_eq!(kernel.sweep(), (Sweep::Done, nothing()));
                kernel.set_settings(|settings| settings.timeouts = timeouts(0));
                assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
                assert_eq!(kernel.kinds(), [EventKind::Open, EventKind::Close]);
                // Where no end can be seen, any packet begins another one.
                kernel.send(OUT, &out).passed(&OPENED);
                assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
                assert_eq!(kernel.sweep(), (Sweep::Done, moved(&[(Counter::ConnectionsDeleted, 1)])));
                assert_eq!((kernel.connections(), kernel.kinds()), (vec![], vec![EventKind::Open, EventKind::Close]));
                kernel.set_settings(|settings| settings.timeouts = timeouts(HOUR_NS));
            }
        }
        kernel.assert_balance();
    });
}

/// Each state of a connection has a time-out of its own: with all others an hour, that one alone ends it.
#[test]
fn each_state_has_its_time_out() {
    isolated(|| {
        type Set = fn(&mut podwitness_wire::ConnectionTimeouts);
        type Step = fn(&mut Kernel, &Pair);
        fn send(kernel: &mut Kernel, pair: &Pair, packets: &[(podwitness_wire::Direction, u8)]) {
            for (direction, flags) in packets {
                kernel.send(*direction, &pair.tcp(*direction, *flags, 1));
            }
        }
        /// Older than the kernel's own connection tracking takes for a request with its answer.
        const OLD: Duration = Duration::from_millis(2100);
        let states: [(&str, Step, Set); 10] = [
            ("syn", |k, p| send(k, p, &[(OUT, SYN)]), |t| t.tcp_syn = 0),
            ("established", |k, p| send(k, p, &[(OUT, SYN), (IN, SYN | ACK)]), |t| t.tcp_established = 0),
            ("fin", |k, p| send(k, p, &[(OUT, SYN), (IN, FIN)]), |t| t.tcp_fin = 0),
            ("time wait", |k, p| send(k, p, &[(OUT, SYN), (IN, FIN), (OUT, FIN)]), |t| t.tcp_time_wait = 0),
            ("reset", |k, p| send(k, p, &[(OUT, SYN), (IN, RST)]), |t| t.tcp_close = 0),
            ("udp", |k, p| drop(k.send(OUT, &p.udp(OUT))), |t| t.udp = 0),
            (
                "udp request with its answer",
                |k, p| {
                    k.send(OUT, &p.udp(OUT));
                    k.send(IN, &p.udp(IN));
                },
                |t| t.udp = 0,
            ),
            (
                "udp stream",
                |k, p| {
                    k.send(OUT, &p.udp(OUT));
                    thread::sleep(OLD);
                    k.send(IN, &p.udp(IN));
                },
                |t| t.udp_stream = 0,
            ),
            ("icmp", |k, p| drop(k.send(OUT, &p.echo(OUT, 7))), |t| t.icmp = 0),
            ("generic", |k, p| drop(k.send(OUT, &p.frame(OUT, 47, &[0; 8]))), |t| t.generic = 0),
        ];
        let mut kernel = Kernel::of(&World::open());
        for (name, step, set) in states {
            for family in families() {
                step(&mut kernel, &family.https());
                kernel.events();
                kernel.moved();
                assert_eq!(kernel.sweep(), (Sweep::Done, nothing()), "{name}");
                kernel.set_settings(|settings| set(&mut settings.timeouts));
                assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)), "{name}");
                assert_eq!(kernel.sweep(), (Sweep::Done, moved(&[(Counter::ConnectionsDeleted, 1)])), "{name}");
                kernel.events();
                kernel.set_settings(|settings| settings.timeouts = timeouts(HOUR_NS));
            }
        }
        kernel.assert_balance();
    });
}

#[test]
fn a_long_connection_is_reported_while_it_lives() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let pair = families()[0].https();
        open(&mut kernel, &pair);
        assert_eq!(kernel.sweep(), (Sweep::Done, nothing()));
        kernel.set_settings(|settings| settings.progress = 0);
        for packets in 2..5 {
            kernel.send(OUT, &pair.tcp(OUT, ACK, 2)).passed(&[]);
            assert_eq!(
                kernel.sweep(),
                (
                    Sweep::Done,
                    moved(&[(Counter::RecordsOwed, 1), (Counter::EventsOffered, 1), (Counter::EventsAccepted, 1)])
                )
            );
            let event = kernel.event();
            assert_eq!((event.kind, event.packets_out), (EventKind::Progress.number(), packets));
        }
        kernel.assert_balance();
    });
}

#[test]
fn the_connections_of_an_interface_that_is_gone_are_over() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        open(&mut kernel, &families()[0].https());
        kernel.activate(&World { has_endpoint: false, ..World::isolated() });
        assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
        assert_eq!(kernel.sweep(), (Sweep::Done, moved(&[(Counter::ConnectionsDeleted, 1)])));
        assert_eq!(kernel.kinds(), [EventKind::Close]);
        kernel.assert_balance();
    });
}

#[test]
fn a_policy_that_changes_the_verdict_makes_one_record_and_drops_what_comes_later() {
    isolated(|| {
        let changed =
            [Counter::ConnectionsChanged, Counter::RecordsOwed, Counter::EventsOffered, Counter::EventsAccepted];
        for family in families() {
            for first in [OUT, IN] {
                let mut kernel = Kernel::of(&World::isolated());
                let pair = family.https();
                open(&mut kernel, &pair);
                kernel.send(IN, &pair.tcp(IN, SYN | ACK, 1)).passed(&[]);

                let generation = kernel.activate(&World::closed());
                let expected: Vec<Counter> = changed.into_iter().chain([Counter::DeniedAfterChange]).collect();
                // Whichever side sends first: the connection is one of egress.
                kernel.send(first, &pair.tcp(first, ACK, 2)).dropped(&expected);
                let event = kernel.event();
                assert_eq!((event.kind, event.generation), (EventKind::Change.number(), generation));
                assert_eq!((event.verdict, event.previous_verdict), (Verdict::Deny.number(), Verdict::Allow.number()));
                assert_eq!((event.rule_set, event.previous_rule_set), (EGRESS_ISOLATING, TO_PEER_HTTPS));
                assert_eq!((event.reason, event.direction), (Reason::NoRule.number(), OUT.number()));
                assert!(event.time_ns > event.opened_ns);
                for direction in [first, reverse(first)] {
                    kernel.send(direction, &pair.tcp(direction, ACK, 3)).dropped(&[Counter::DeniedAfterChange]);
                }

                let generation = kernel.activate(&World::isolated());
                kernel.send(first, &pair.tcp(first, ACK, 4)).passed(&changed);
                let event = kernel.event();
                assert_eq!((event.kind, event.generation), (EventKind::Change.number(), generation));
                assert_eq!((event.verdict, event.previous_verdict), (Verdict::Allow.number(), Verdict::Deny.number()));
                assert_eq!((event.rule_set, event.previous_rule_set), (TO_PEER_HTTPS, EGRESS_ISOLATING));
                kernel.assert_balance();
                kernel.control.activate(&World::isolated().tables()).unwrap();
                let folder = crate::fixture::folder();
                drop(kernel);
                podwitness_datapath::detach(folder.as_ref()).unwrap();
            }
        }
    });
}

#[test]
fn a_policy_that_changes_nothing_makes_no_record_and_the_close_names_the_rules_in_force() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let pair = families()[0].https();
        open(&mut kernel, &pair);
        let generation = kernel.activate(&World { rule_set_offset: 1000, ..World::isolated() });
        kernel.send(OUT, &pair.tcp(OUT, ACK, 2)).passed(&[]);
        kernel.send(OUT, &pair.tcp(OUT, RST, 3)).passed(&[]);
        kernel.set_settings(|settings| settings.close_after = 0);
        assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
        let event = kernel.event();
        assert_eq!((event.kind, event.generation), (EventKind::Close.number(), generation));
        assert_eq!(event.rule_set, 1000 + TO_PEER_HTTPS);
    });
}

#[test]
fn the_state_bits_say_what_was_seen() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let pair = families()[0].https();
        open(&mut kernel, &pair);
        let seen = |kernel: &Kernel| kernel.connections()[0].1.bits;
        assert_eq!(seen(&kernel), 0);
        for (direction, flags, expected) in [
            (OUT, ACK, 0),
            (IN, ACK, bits::REPLIED),
            (IN, FIN, bits::REPLIED | bits::FIN_IN),
            (OUT, FIN, bits::REPLIED | bits::FIN_IN | bits::FIN_OUT),
            (OUT, RST, bits::REPLIED | bits::FIN_IN | bits::FIN_OUT | bits::RESET),
        ] {
            kernel.send(direction, &pair.tcp(direction, flags, 2)).passed(&[]);
            assert_eq!(seen(&kernel), expected);
        }
    });
}

#[test]
fn a_full_table_denies_and_says_so() {
    isolated(|| {
        let options = podwitness_datapath::Options { connections: 16, ..crate::fixture::options() };
        let mut kernel = Kernel::with(&options);
        kernel.activate(&World::open());
        let family = families()[0];
        for port in 1..=16 {
            kernel.send(OUT, &family.to(family.peer, port).tcp(OUT, SYN, 1)).passed(&OPENED);
        }
        kernel.send(OUT, &family.to(family.peer, 17).tcp(OUT, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
        let (key, _) = kernel.denial();
        assert_eq!((key.reason, key.verdict), (Reason::ConnectionTableFull.number(), Verdict::Deny.number()));
        assert_eq!(key.port, 17);
        // Those that are remembered go on.
        kernel.send(IN, &family.to(family.peer, 16).tcp(IN, SYN | ACK, 1)).passed(&[]);

        kernel.activate(&World::open().audited());
        kernel.send(OUT, &family.to(family.peer, 18).tcp(OUT, SYN, 1)).passed(&[Counter::DeniedAttempts]);
        let (key, _) = kernel.denial();
        assert_eq!((key.reason, key.verdict), (Reason::ConnectionTableFull.number(), Verdict::Audit.number()));

        kernel.activate(&World { has_endpoint: false, ..World::open() });
        kernel.send(OUT, &family.to(family.peer, 19).tcp(OUT, SYN, 1)).passed(&[Counter::DeniedAttempts]);
        kernel.assert_balance();
    });
}

#[test]
fn a_closed_connection_does_not_outlive_the_policy_that_allowed_it() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        kernel.set_settings(|settings| settings.close_after = 0);
        for family in families() {
            kernel.activate(&World::isolated());
            let pair = family.https();
            open(&mut kernel, &pair);
            kernel.send(OUT, &pair.tcp(OUT, FIN, 1)).passed(&[]);
            kernel.send(IN, &pair.tcp(IN, FIN, 1)).passed(&[]);
            assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
            kernel.activate(&World::closed());
            // Two ends that agree could go on with it for minutes, unrecorded.
            assert_eq!(kernel.send(OUT, &pair.tcp(OUT, ACK, 2)).action, crate::fixture::Action::Drop);
            assert_eq!(kernel.send(IN, &pair.tcp(IN, ACK, 2)).action, crate::fixture::Action::Drop);
            kernel.events();
        }
    });
}

#[test]
fn a_reset_after_the_time_out_opens_nothing() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let pair = family.https();
            open(&mut kernel, &pair);
            kernel.set_settings(|settings| settings.timeouts = timeouts(0));
            assert_eq!(kernel.sweep(), (Sweep::Done, closed(1)));
            let sent = kernel.send(OUT, &pair.tcp(OUT, RST, 2));
            assert!(!sent.has_moved(Counter::ConnectionsOpened), "{sent:?}");
            kernel.sweep();
            assert_eq!(kernel.connections(), []);
            kernel.set_settings(|settings| settings.timeouts = timeouts(HOUR_NS));
            kernel.events();
        }
    });
}
