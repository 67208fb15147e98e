//! Addresses that move: nothing of the pod that had one is given to the pod that has it.

use podwitness_datapath::Tables;
use podwitness_wire::{EventKind, Verdict};

use crate::{
    fixture::{Action, Kernel},
    frames::{ACK, IN, OUT, RST, SYN, TCP, error},
    isolation::isolated,
    world::{Family, PEER_CLASS, World, address, families},
};

const FIRST: u32 = 71;
const SECOND: u32 = 72;

/// The peers' addresses belong to this pod (0: to nobody who is known) of this class.
fn owned(world: &World, owner: u32, class: u32) -> Tables {
    let mut tables = world.tables();
    let peers = families().map(|family| address(family.peer));
    for (prefix, entry) in tables.addresses.iter_mut() {
        if peers.contains(&prefix.address) {
            (entry.owner, entry.identity, entry.class) = (owner, owner, class);
        }
    }
    tables
}

fn open(kernel: &mut Kernel, family: &Family) {
    kernel.send(OUT, &family.https().tcp(OUT, SYN, 1));
    kernel.send(IN, &family.https().tcp(IN, SYN | ACK, 1)).passed(&[]);
    assert_eq!(kernel.event().peer, FIRST);
}

#[test]
fn a_connection_ends_when_its_peers_address_is_given_to_another_pod() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for family in families() {
            kernel.control.activate(&owned(&World::isolated(), FIRST, PEER_CLASS)).unwrap();
            open(&mut kernel, &family);
            // The next one has the same labels: policy allows it the same, but it is not the same connection.
            kernel.control.activate(&owned(&World::isolated(), SECOND, PEER_CLASS)).unwrap();
            assert_eq!(kernel.send(OUT, &family.https().tcp(OUT, ACK, 2)).action, Action::Next);
            let events = kernel.events();
            let kinds: Vec<_> = events.iter().map(|event| (event.kind, event.peer)).collect();
            assert_eq!(kinds, [(EventKind::Close.number(), FIRST), (EventKind::Open.number(), SECOND)]);
            assert_eq!(events[1].tcp_flags, ACK, "nobody saw it begin");
        }
        kernel.assert_balance();
    });
}

#[test]
fn what_the_next_pod_may_not_is_denied_though_the_one_before_had_a_connection() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for family in families() {
            for direction in [OUT, IN] {
                kernel.control.activate(&owned(&World::isolated(), FIRST, PEER_CLASS)).unwrap();
                open(&mut kernel, &family);
                kernel.control.activate(&owned(&World::isolated(), SECOND, 0)).unwrap();
                assert_eq!(kernel.send(direction, &family.https().tcp(direction, ACK, 2)).action, Action::Drop);
                let event = kernel.event();
                assert_eq!((event.kind, event.verdict), (EventKind::Close.number(), Verdict::Allow.number()));
                let (key, _) = kernel.denial();
                assert_eq!(key.peer, SECOND);
                // It stays so.
                assert_eq!(kernel.send(direction, &family.https().tcp(direction, ACK, 3)).action, Action::Drop);
                kernel.drain();
            }
        }
        kernel.assert_balance();
    });
}

#[test]
fn a_gap_in_what_is_known_of_an_address_hides_no_change_of_its_pod() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for family in families() {
            kernel.control.activate(&owned(&World::isolated(), FIRST, PEER_CLASS)).unwrap();
            open(&mut kernel, &family);
            // Nobody is known for a moment, and a packet comes just then.
            kernel.control.activate(&owned(&World::isolated(), 0, PEER_CLASS)).unwrap();
            kernel.send(OUT, &family.https().tcp(OUT, ACK, 2)).passed(&[]);
            // The same pod again: the connection goes on.
            kernel.control.activate(&owned(&World::isolated(), FIRST, PEER_CLASS)).unwrap();
            kernel.send(OUT, &family.https().tcp(OUT, ACK, 3)).passed(&[]);
            assert_eq!(kernel.events(), []);
            kernel.control.activate(&owned(&World::isolated(), 0, PEER_CLASS)).unwrap();
            kernel.send(OUT, &family.https().tcp(OUT, ACK, 4)).passed(&[]);
            kernel.control.activate(&owned(&World::isolated(), SECOND, PEER_CLASS)).unwrap();
            assert_eq!(kernel.send(OUT, &family.https().tcp(OUT, ACK, 5)).action, Action::Next);
            assert_eq!(kernel.kinds(), [EventKind::Close, EventKind::Open]);
        }
        kernel.assert_balance();
    });
}

/// The next pod says first that something of the old connection went wrong.
#[test]
fn an_error_of_the_next_pod_does_not_hide_that_the_address_has_moved() {
    isolated(|| {
        let mut kernel = Kernel::new();
        for family in families() {
            let pair = family.https();
            kernel.control.activate(&owned(&World::isolated(), FIRST, PEER_CLASS)).unwrap();
            open(&mut kernel, &family);
            kernel.control.activate(&owned(&World::isolated(), SECOND, 0)).unwrap();
            let quoted = pair.packet(OUT, TCP, &pair.segment(OUT, ACK, 2));
            let error = error(family.peer, family.pod, &quoted);
            assert_eq!(kernel.send(IN, &error).action, Action::Drop);
            for flags in [ACK, RST, ACK] {
                assert_eq!(kernel.send(IN, &pair.tcp(IN, flags, 2)).action, Action::Drop, "{flags}");
                assert_eq!(kernel.send(OUT, &pair.tcp(OUT, flags, 2)).action, Action::Drop, "{flags}");
            }
            assert_eq!(kernel.kinds(), [EventKind::Close]);
            kernel.drain();
        }
        kernel.assert_balance();
    });
}
