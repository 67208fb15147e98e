//! Denied attempts: counted, and drained by epoch.

use podwitness_datapath::Options;
use podwitness_wire::{Counter, Reason};

use crate::{
    fixture::{Kernel, options},
    frames::{IN, OUT, Pair, SYN},
    isolation::isolated,
    world::{Family, POD_IDENTITY, World, families},
};

const DENIED: [Counter; 1] = [Counter::DeniedAttempts];

fn from_port(family: &Family, port: u16) -> Pair {
    let mut pair = family.to(family.outside, 25);
    pair.pod.set_port(port);
    pair
}

#[test]
fn a_segment_that_is_repeated_is_one_attempt() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let frame = from_port(&family, 40_000).tcp(OUT, SYN, 7);
            kernel.send(OUT, &frame).dropped(&DENIED);
            for _ in 0..4 {
                kernel.send(OUT, &frame).dropped(&[]);
            }
            let (_, denial) = kernel.denial();
            assert_eq!((denial.attempts, denial.packets), (1, 5));
            assert_eq!(denial.bytes, 5 * (frame.len() as u64 - 14));
            assert!(denial.first_ns < denial.last_ns);
            assert_eq!((denial.first_port, denial.last_port, denial.several_ports), (40_000, 40_000, 0));
        }
        kernel.assert_balance();
    });
}

#[test]
fn another_sequence_number_or_port_is_another_attempt() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            for (port, sequence) in [(40_000, 7), (40_000, 8), (40_001, 8), (40_002, 8)] {
                kernel.send(OUT, &from_port(&family, port).tcp(OUT, SYN, sequence)).dropped(&DENIED);
            }
            let (key, denial) = kernel.denial();
            assert_eq!((denial.attempts, denial.packets), (4, 4));
            assert_eq!((denial.first_port, denial.last_port, denial.several_ports), (40_000, 40_002, 1));
            assert_eq!(key.port, 25);
        }
    });
}

#[test]
fn without_sequence_numbers_each_packet_is_an_attempt() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let frame = family.to(family.outside, 25).udp(OUT);
            for _ in 0..3 {
                kernel.send(OUT, &frame).dropped(&DENIED);
            }
            let (_, denial) = kernel.denial();
            assert_eq!((denial.attempts, denial.packets), (3, 3));
        }
    });
}

#[test]
fn attempts_that_differ_in_more_than_the_source_port_are_counted_apart() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        let family = families()[0];
        kernel.send(OUT, &family.to(family.outside, 25).tcp(OUT, SYN, 1)).dropped(&DENIED);
        kernel.send(OUT, &family.to(family.outside, 26).tcp(OUT, SYN, 1)).dropped(&DENIED);
        kernel.send(OUT, &family.to(family.peer, 25).tcp(OUT, SYN, 1)).dropped(&DENIED);
        kernel.send(OUT, &family.to(family.outside, 25).udp(OUT)).dropped(&DENIED);
        kernel.send(IN, &family.from(family.outside, 25).tcp(IN, SYN, 1)).dropped(&DENIED);
        kernel.activate(&World::closed());
        kernel.send(OUT, &family.to(family.outside, 25).tcp(OUT, SYN, 1)).dropped(&DENIED);
        let (denials, _) = kernel.drain();
        assert_eq!(denials.len(), 6, "{denials:#?}");
        kernel.assert_balance();
    });
}

#[test]
fn an_epoch_is_drained_once() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        let family = families()[0];
        let frame = |port| family.to(family.outside, port).tcp(OUT, SYN, 1);
        kernel.send(OUT, &frame(25)).dropped(&DENIED);
        let first = kernel.outlet.turn_epoch().unwrap();
        let (denials, losses) = kernel.outlet.counted_through(first).unwrap();
        assert_eq!((denials.len(), losses.len()), (1, 0));
        assert_eq!(u64::from(denials[0].0.epoch), first);
        assert_eq!(kernel.outlet.epoch(), first + 1);
        // Not acknowledged: it is told again, with what came since.
        kernel.send(OUT, &frame(25)).dropped(&DENIED);
        let second = kernel.outlet.turn_epoch().unwrap();
        let (again, _) = kernel.outlet.counted_through(second).unwrap();
        assert_eq!((again.len(), second), (2, first + 1));
        assert!(again.contains(&denials[0]));
        // Acknowledging the first leaves the second.
        kernel.outlet.remove_counted(first).unwrap();
        kernel.send(OUT, &frame(26)).dropped(&DENIED);
        let third = kernel.outlet.turn_epoch().unwrap();
        let (left, _) = kernel.outlet.counted_through(third).unwrap();
        assert_eq!(left.iter().map(|(key, _)| key.port).collect::<std::collections::BTreeSet<_>>(), [25, 26].into());
        assert!(left.iter().all(|(key, _)| u64::from(key.epoch) > first));
        assert_eq!(left.len(), 2);
        kernel.drain();
        assert_eq!(kernel.drain(), (vec![], vec![]));
    });
}

#[test]
fn what_the_full_table_has_no_room_for_is_a_counted_loss() {
    isolated(|| {
        let mut kernel = Kernel::with(&Options { denials: 4, ..options() });
        kernel.activate(&World::closed());
        let family = families()[0];
        for port in 1..=4 {
            kernel.send(OUT, &family.to(family.outside, port).tcp(OUT, SYN, 1)).dropped(&DENIED);
        }
        for port in 5..=7 {
            kernel.send(OUT, &family.to(family.outside, port).tcp(OUT, SYN, 1)).dropped(&[Counter::RecordsLost]);
        }
        kernel.assert_balance();
        let (denials, losses) = kernel.drain();
        assert_eq!((denials.len(), losses.len()), (4, 1));
        let (key, loss) = losses[0];
        assert_eq!((key.reason, key.endpoint), (u32::from(Reason::DenialTableFull.number()), POD_IDENTITY));
        assert_eq!(loss.count, 3);
        assert!(loss.first_ns < loss.last_ns);
        // There is room again.
        kernel.send(OUT, &family.to(family.outside, 8).tcp(OUT, SYN, 1)).dropped(&DENIED);
        kernel.assert_balance();
    });
}

#[test]
fn an_echos_identifier_is_no_port() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        for family in families() {
            for identifier in [7, 8] {
                kernel.send(OUT, &family.to(family.outside, 0).echo(OUT, identifier)).dropped(&DENIED);
            }
            let (key, denial) = kernel.denial();
            assert_eq!((key.port, denial.attempts), (0, 2));
        }
    });
}
