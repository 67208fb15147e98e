//! TCP as it is: connections that began before anybody looked, both sides opening at once, and an answer that tries to
//! become a way in.

use podwitness_wire::{Counter, Direction, EventKind, Reason, Verdict};

use crate::{
    fixture::{Action, Kernel, OPENED},
    frames::{ACK, FIN, IN, OUT, Pair, RST, SYN},
    isolation::isolated,
    world::{EGRESS_ISOLATING, FROM_PEER_HTTP, INGRESS_ISOLATING, TO_PEER_HTTPS, World, families},
};

#[test]
fn a_segment_of_a_connection_that_began_before_is_decided_as_its_ports_say_who_serves() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            // The pod's own connection to port 443, which its policy allows, whoever is heard first.
            for first in [OUT, IN] {
                let pair = family.https();
                let pair = Pair { pod: (pair.pod.ip(), 40_000 + u16::from(first.number())).into(), ..pair };
                kernel.send(first, &pair.tcp(first, ACK, 7)).passed(&OPENED);
                let event = kernel.event();
                assert_eq!((event.direction, event.rule_set), (Direction::Egress.number(), TO_PEER_HTTPS));
                assert_eq!(event.tcp_flags, ACK, "the record says that nobody saw it begin");
                kernel.send(crate::world::reverse(first), &pair.tcp(crate::world::reverse(first), ACK, 8)).passed(&[]);
            }
            // The peer's connection to the pod's port 80.
            for first in [OUT, IN] {
                let pair = family.from(family.peer, 80);
                let pair = Pair { peer: (pair.peer.ip(), 50_000 + u16::from(first.number())).into(), ..pair };
                kernel.send(first, &pair.tcp(first, ACK, 7)).passed(&OPENED);
                let event = kernel.event();
                assert_eq!((event.direction, event.rule_set), (Direction::Ingress.number(), FROM_PEER_HTTP));
            }
            // What policy does not allow is denied whichever side is heard first.
            for first in [OUT, IN] {
                let pair = family.from(family.outside, 80);
                kernel.send(first, &pair.tcp(first, ACK, 7)).dropped(&[Counter::DeniedAttempts]);
                let (key, denial) = kernel.denial();
                assert_eq!((key.direction, key.rule_set), (Direction::Ingress.number(), INGRESS_ISOLATING));
                assert_eq!((key.port, denial.first_port), (80, pair.peer.port()));
                assert_eq!(key.is_answer, u8::from(first == OUT));
            }
        }
        kernel.assert_balance();
    });
}

#[test]
fn an_answer_to_an_opening_that_nobody_saw_belongs_to_the_one_who_opened() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let pair = family.from(family.peer, 80);
            kernel.send(OUT, &pair.tcp(OUT, SYN | ACK, 7)).passed(&OPENED);
            let event = kernel.event();
            assert_eq!((event.direction, event.rule_set), (Direction::Ingress.number(), FROM_PEER_HTTP));
            let pair = family.from(family.outside, 80);
            kernel.send(OUT, &pair.tcp(OUT, SYN | ACK, 7)).dropped(&[Counter::DeniedAttempts]);
            kernel.drain();
        }
    });
}

/// What a pod may open is no way into it: an outsider who pretends to answer gets no connection of its own.
#[test]
fn a_pretended_answer_is_no_way_in() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let pair = family.https();
            // The pod may talk to the peer's port 443, and serves on its own port 40000.
            kernel.send(IN, &pair.tcp(IN, ACK, 1)).passed(&OPENED);
            assert_eq!(kernel.event().direction, Direction::Egress.number());
            kernel.send(IN, &pair.tcp(IN, SYN, 2)).dropped(&[Counter::DeniedAttempts]);
            let (key, _) = kernel.denial();
            assert_eq!((key.direction, key.port), (Direction::Ingress.number(), pair.pod.port()));
            assert_eq!((key.reason, key.rule_set), (Reason::NoRule.number(), INGRESS_ISOLATING));
        }
        kernel.assert_balance();
    });
}

#[test]
fn two_sides_that_open_at_once_make_one_connection() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let pair = family.https();
            kernel.send(OUT, &pair.tcp(OUT, SYN, 1)).passed(&OPENED);
            kernel.send(IN, &pair.tcp(IN, SYN, 1)).passed(&[]);
            kernel.send(OUT, &pair.tcp(OUT, SYN | ACK, 1)).passed(&[]);
            kernel.send(IN, &pair.tcp(IN, SYN | ACK, 1)).passed(&[]);
            assert_eq!(kernel.kinds(), [EventKind::Open]);
            // Once both have been heard, an opening from the other side is one of its own.
            kernel.send(IN, &pair.tcp(IN, SYN, 9)).dropped(&[Counter::DeniedAttempts]);
            kernel.drain();
            // It does no harm to the connection that is there.
            kernel.send(IN, &pair.tcp(IN, ACK, 2)).passed(&[]);
        }
        kernel.assert_balance();
    });
}

#[test]
fn an_opening_that_is_repeated_is_one_record_and_one_half_may_be_closed() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        for family in families() {
            let pair = family.https();
            kernel.send(OUT, &pair.tcp(OUT, SYN, 1)).passed(&OPENED);
            for _ in 0..3 {
                kernel.send(OUT, &pair.tcp(OUT, SYN, 1)).passed(&[]);
            }
            kernel.send(IN, &pair.tcp(IN, SYN | ACK, 1)).passed(&[]);
            // The pod has no more to send, and goes on receiving.
            kernel.send(OUT, &pair.tcp(OUT, FIN | ACK, 2)).passed(&[]);
            for sequence in 2..5 {
                kernel.send(IN, &pair.tcp(IN, ACK, sequence)).passed(&[]);
                kernel.send(OUT, &pair.tcp(OUT, ACK, 3)).passed(&[]);
            }
            assert_eq!(kernel.kinds(), [EventKind::Open]);
            kernel.send(IN, &pair.tcp(IN, RST, 5)).passed(&[]);
        }
        kernel.set_settings(|settings| settings.close_after = 0);
        kernel.sweep();
        assert_eq!(kernel.kinds(), [EventKind::Close, EventKind::Close]);
        kernel.assert_balance();
    });
}

#[test]
fn an_answer_of_a_forgotten_connection_meets_the_policy_of_its_direction() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::closed());
        for family in families() {
            let pair = family.https();
            for direction in [OUT, IN] {
                assert_eq!(kernel.send(direction, &pair.tcp(direction, ACK, 1)).action, Action::Drop);
                let (key, _) = kernel.denial();
                assert_eq!((key.direction, key.rule_set), (Direction::Egress.number(), EGRESS_ISOLATING));
                assert_eq!(key.verdict, Verdict::Deny.number());
            }
        }
    });
}
