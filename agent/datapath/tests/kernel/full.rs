//! Maps that are full: what is decided, what is recorded and what is counted. The ring, the connections and the
//! denials have their own tests.

use podwitness_datapath::{KeptSize, Options};
use podwitness_wire::{Counter, Loss, LossKey, Reason, names};

use crate::{
    fixture::{Kernel, options},
    frames::{OUT, SYN},
    isolation::isolated,
    world::{World, families},
};

#[test]
fn a_loss_that_finds_no_room_is_counted_without_its_endpoint() {
    isolated(|| {
        let mut kernel = Kernel::with(&Options { denials: 1, ..options() });
        kernel.activate(&World::closed());
        let family = families()[0];
        kernel.fill(names::LOSSES, |number| {
            (LossKey { interface: 1000 + number, ..LossKey::default() }, Loss::default())
        });
        let lost = (1..500).find(|port| {
            let sent = kernel.send(OUT, &family.to(family.outside, *port).tcp(OUT, SYN, 1));
            sent.has_moved(Counter::RecordsLost)
        });
        lost.expect("the table of denials is full at some time");
        let counters = kernel.outlet.counters().unwrap();
        assert_eq!((counters.get(Counter::RecordsLost), counters.get(Counter::LossesUnattributed)), (1, 1));
        kernel.assert_balance();
    });
}

#[test]
fn a_table_of_fragments_that_is_full_forgets_the_oldest() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let family = families()[0];
        let pair = family.to(family.peer, 53);
        let first = |identification| pair.fragment(OUT, identification, 0, true);
        for identification in 1..=20_000 {
            kernel.send(OUT, &first(identification));
        }
        // The newest are there, the oldest are not.
        kernel.send(OUT, &pair.fragment(OUT, 20_000, 2, false)).passed(&[]);
        kernel.send(OUT, &pair.fragment(OUT, 1, 2, false)).dropped(&[Counter::DeniedAttempts]);
        let (key, _) = kernel.denial();
        assert_eq!(key.reason, Reason::FragmentWithoutFirst.number());
        kernel.assert_balance();
    });
}

#[test]
fn a_map_that_keeps_its_size_is_named_with_both_sizes() {
    isolated(|| {
        let open = |options: &Options| podwitness_datapath::Datapath::open(options).unwrap().kept_sizes;
        assert_eq!(open(&options()), []);
        let kept = open(&Options { connections: 2048, ring_bytes: 1 << 17, ..options() });
        assert_eq!(
            kept,
            [
                KeptSize { map: names::CONNECTIONS, wanted: 2048, kept: 1024 },
                KeptSize { map: names::EVENTS, wanted: 1 << 17, kept: 1 << 16 },
            ]
        );
    });
}
