//! Later fragments follow the verdict of their first.

use podwitness_wire::{Counter, Reason};

use crate::{
    fixture::{Kernel, OPENED},
    frames::{IN, OUT},
    isolation::isolated,
    world::{World, families},
};

const DENIED: [Counter; 1] = [Counter::DeniedAttempts];

#[test]
fn later_fragments_follow_their_first() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let allowed = family.to(family.peer, 53);
            kernel.send(OUT, &allowed.fragment(OUT, 1, 0, true)).passed(&OPENED);
            kernel.send(OUT, &allowed.fragment(OUT, 1, 2, true)).passed(&[]);
            kernel.send(OUT, &allowed.fragment(OUT, 1, 4, false)).passed(&[]);
            assert_eq!(kernel.event().key.peer_port, 53);
            // Those of the reply too.
            kernel.send(IN, &allowed.fragment(IN, 1, 0, true)).passed(&[]);
            kernel.send(IN, &allowed.fragment(IN, 1, 2, false)).passed(&[]);
            let connections = kernel.connections();
            let (_, connection) =
                connections.iter().find(|(key, _)| key.pod == crate::world::address(family.pod)).unwrap();
            assert_eq!((connection.packets_out, connection.packets_in), (3, 2));

            let denied = family.to(family.outside, 53);
            kernel.send(OUT, &denied.fragment(OUT, 2, 0, true)).dropped(&DENIED);
            // One datagram, one attempt.
            kernel.send(OUT, &denied.fragment(OUT, 2, 2, false)).dropped(&[]);
            let (key, denial) = kernel.denial();
            assert_eq!((key.reason, key.port, denial.packets), (Reason::NoRule.number(), 53, 2));
        }
        kernel.assert_balance();
    });
}

#[test]
fn a_later_fragment_without_its_first_is_denied_where_the_pod_is_isolated() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let allowed = family.to(family.peer, 53);
            kernel.send(OUT, &allowed.fragment(OUT, 1, 0, true)).passed(&OPENED);
            // Of another datagram, and of one that went the other way.
            for (direction, identification) in [(OUT, 2), (IN, 1)] {
                kernel.send(direction, &allowed.fragment(direction, identification, 2, false)).dropped(&DENIED);
                let (key, _) = kernel.denial();
                assert_eq!((key.reason, key.port), (Reason::FragmentWithoutFirst.number(), 0));
                assert_eq!(key.peer_address, crate::world::address(family.peer));
            }
        }
    });
}

#[test]
fn a_later_fragment_without_its_first_passes_counted_where_the_pod_is_not_isolated() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::open());
        for family in families() {
            for direction in [OUT, IN] {
                let fragment = family.to(family.peer, 53).fragment(direction, 1, 2, false);
                kernel.send(direction, &fragment).passed(&[Counter::NotIsolatedUnparsed]);
            }
        }
        assert_eq!(kernel.connections(), []);
    });
}
