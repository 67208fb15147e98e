//! A ring that is full: what is owed stays owed, and what is lost is counted.

use std::{collections::BTreeMap, env};

use podwitness_datapath::{Options, Sweep};
use podwitness_wire::{Counter, EventKind, Verdict};

use crate::{
    fixture::{Action, Kernel, options, timeouts},
    frames::{ACK, FIN, IN, OUT, RST, SYN},
    isolation::isolated,
    world::{TO_ANYBODY_RANGE, World, families},
};

/// Bytes of an event in the ring, with the header before it.
const EVENT_BYTES: u64 = size_of::<podwitness_wire::Event>() as u64 + 8;
/// How many events one page holds.
const ROOM: u64 = 4096 / EVENT_BYTES;

fn tiny() -> Kernel {
    let mut kernel = Kernel::with(&Options { ring_bytes: 4096, ..options() });
    kernel.activate(&World::open());
    kernel
}

#[test]
fn what_the_ring_refuses_is_offered_again_and_each_open_arrives_once() {
    isolated(|| {
        let mut kernel = tiny();
        let family = families()[0];
        for port in 1..=100 {
            kernel.send(OUT, &family.to(family.peer, port).tcp(OUT, SYN, 1));
        }
        let counters = kernel.outlet.counters().unwrap();
        assert_eq!(counters.get(Counter::EventsAccepted), ROOM);
        assert_eq!(counters.get(Counter::EventsRefused), 100 - ROOM);
        assert_eq!(counters.get(Counter::RecordsLost), 0);
        kernel.assert_balance();
        assert_eq!(kernel.sweep().0, Sweep::RingFull, "nobody has read");

        let mut opens: BTreeMap<u16, u32> = BTreeMap::new();
        let mut rounds = 0;
        loop {
            for event in kernel.events() {
                assert_eq!(event.kind, EventKind::Open.number());
                *opens.entry(event.key.peer_port).or_default() += 1;
            }
            kernel.assert_balance();
            if opens.len() == 100 {
                break;
            }
            rounds += 1;
            assert!(rounds < 10, "{opens:?}");
            kernel.sweep();
            kernel.assert_balance();
        }
        assert!(opens.values().all(|count| *count == 1), "{opens:?}");
        assert_eq!(kernel.sweep(), (Sweep::Done, BTreeMap::new()));
    });
}

#[test]
fn a_close_waits_for_room_in_the_ring() {
    isolated(|| {
        let mut kernel = tiny();
        let family = families()[0];
        for port in 1..=u16::try_from(ROOM).unwrap() {
            kernel.send(OUT, &family.to(family.peer, port).tcp(OUT, SYN, 1));
        }
        kernel.set_settings(|settings| settings.timeouts = timeouts(0));
        for _ in 0..3 {
            assert_eq!(kernel.sweep().0, Sweep::RingFull);
            kernel.assert_balance();
        }
        assert_eq!(kernel.kinds(), vec![EventKind::Open; usize::try_from(ROOM).unwrap()]);
        assert_eq!(kernel.sweep().0, Sweep::Done);
        assert_eq!(kernel.kinds(), vec![EventKind::Close; usize::try_from(ROOM).unwrap()]);
        kernel.sweep();
        assert_eq!(kernel.connections(), []);
        kernel.assert_balance();
    });
}

#[test]
fn reading_gives_nothing_back_until_it_is_acknowledged() {
    isolated(|| {
        let mut kernel = tiny();
        let family = families()[0];
        let from = kernel.outlet.acknowledged();
        for port in 1..=3 {
            kernel.send(OUT, &family.to(family.peer, port).tcp(OUT, SYN, 1));
        }
        let (mut first, mut again) = (Vec::new(), Vec::new());
        let next = kernel.outlet.read_events(from, 2, &mut first);
        kernel.outlet.read_events(from, 2, &mut again);
        assert_eq!((first.len(), &first), (2, &again));
        assert_eq!(next, from + 2 * EVENT_BYTES);
        assert_eq!((kernel.outlet.acknowledged(), kernel.outlet.waiting_bytes(next)), (from, EVENT_BYTES));
        kernel.outlet.acknowledge_events(next);
        assert_eq!(kernel.outlet.acknowledged(), next);
        let mut rest = Vec::new();
        kernel.outlet.read_events(next, 10, &mut rest);
        assert_eq!(rest.iter().map(|event| event.key.peer_port).collect::<Vec<_>>(), [3]);
    });
}

#[test]
fn a_connection_that_is_needed_again_loses_what_the_ring_has_no_room_for_and_says_so() {
    isolated(|| {
        let mut kernel = tiny();
        let family = families()[0];
        for port in 1..=100 {
            kernel.send(OUT, &family.to(family.peer, port).tcp(OUT, SYN, 1));
        }
        let pair = family.to(family.peer, 100);
        kernel.send(IN, &pair.tcp(IN, RST, 1));
        let sent = kernel.send(OUT, &pair.tcp(OUT, SYN, 9));
        assert!(sent.has_moved(Counter::RecordsLost));
        kernel.assert_balance();
        let (_, losses) = kernel.drain();
        // Its open and its close.
        assert_eq!(losses.iter().map(|(_, loss)| loss.count).sum::<u64>(), 2);
        kernel.assert_balance();
    });
}

#[test]
fn what_was_lost_when_an_entry_was_needed_is_not_told_later_too() {
    isolated(|| {
        let mut kernel = tiny();
        let family = families()[0];
        for port in 1..=100 {
            kernel.send(OUT, &family.to(family.peer, port).tcp(OUT, SYN, 1));
        }
        let pair = family.to(family.peer, 100);
        kernel.send(IN, &pair.tcp(IN, RST, 1));
        // Its next connection is denied, again and again.
        kernel.activate(&World::closed());
        for sequence in 9..12 {
            assert_eq!(kernel.send(OUT, &pair.tcp(OUT, SYN, sequence)).action, Action::Drop);
            kernel.assert_balance();
        }
    });
}

#[test]
fn an_open_that_is_told_late_says_what_was_decided_then() {
    isolated(|| {
        let mut kernel = tiny();
        let family = families()[0];
        let generation = kernel.activate(&World::isolated());
        let ports: Vec<u16> = (8080..8096).cycle().take(100).collect();
        for (source, port) in (1..).zip(&ports) {
            let mut pair = family.to(family.peer, *port);
            pair.pod.set_port(source);
            kernel.send(OUT, &pair.tcp(OUT, SYN, 1));
        }
        // Decided anew while the ring has no room for their open records.
        for world in [World { rule_set_offset: 1000, ..World::isolated() }, World::closed()] {
            kernel.activate(&world);
            for (source, port) in (1..).zip(&ports) {
                let mut pair = family.to(family.peer, *port);
                pair.pod.set_port(source);
                kernel.send(OUT, &pair.tcp(OUT, ACK, 2));
            }
        }
        let mut opens = 0;
        for _ in 0..20 {
            for event in kernel.events().iter().filter(|event| event.kind == EventKind::Open.number()) {
                opens += 1;
                let said = (event.generation, event.rule_set, event.verdict);
                assert_eq!(said, (generation, TO_ANYBODY_RANGE, Verdict::Allow.number()), "open record {opens}");
            }
            kernel.sweep();
            kernel.assert_balance();
        }
        // Each was told, or counted as lost.
        let (_, losses) = kernel.drain();
        let lost: u64 = losses.iter().map(|(_, loss)| loss.count).sum();
        assert!(opens == 100 || lost > 0, "{opens} opens, {lost} lost");
    });
}

/// Packets, changes of policy, sweeps, reads and drains in any order: the balance holds after each, and at the end
/// everything has arrived or is counted as lost.
#[test]
fn the_balance_holds_in_any_order_of_things() {
    isolated(|| {
        let seed = env::var("PODWITNESS_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("PODWITNESS_TEST_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut kernel = Kernel::with(&Options { ring_bytes: 4096, connections: 24, denials: 8, ..options() });
        kernel.activate(&World::isolated());
        kernel.set_settings(|settings| settings.close_after = 0);
        let family = families()[0];
        for step in 0..4000 {
            match random.u8(..100) {
                0..90 => {
                    let pair = family.to(family.peer, random.u16(8070..8110));
                    let direction = if random.bool() { OUT } else { IN };
                    let flags = *random.choice(&[SYN, SYN, ACK, FIN, RST]).unwrap();
                    kernel.send(direction, &pair.tcp(direction, flags, random.u32(..)));
                }
                90..94 => drop(kernel.sweep()),
                94 => drop(kernel.events()),
                95 => drop(kernel.drain()),
                96 => {
                    kernel.set_settings(|settings| settings.timeouts = timeouts(0));
                    kernel.sweep();
                    kernel.set_settings(|settings| settings.timeouts = timeouts(crate::fixture::HOUR_NS));
                }
                _ => {
                    let worlds = [World::isolated(), World::closed(), World::open(), World::closed().audited()];
                    kernel.activate(random.choice(&worlds).unwrap());
                }
            }
            if step % 20 == 0 {
                kernel.assert_balance();
            }
        }
        // Everything ends, and is read.
        kernel.set_settings(|settings| settings.timeouts = timeouts(0));
        let mut sweeps = 0;
        while !kernel.connections().is_empty() {
            sweeps += 1;
            assert!(sweeps < 20);
            kernel.sweep();
            kernel.events();
            kernel.assert_balance();
        }
        kernel.drain();
        kernel.assert_balance();
    });
}
