//! Ours and others' in one chain: who gets a packet, what becomes of it, and what the records say.

use std::{fs, slice};

use aya::programs::TcAttachType;
use podwitness_datapath::{Attachment, Datapath, Options, Owner, detach};
use podwitness_wire::{Counter, EventKind};

use crate::{
    fixture::{Kernel, folder, options},
    frames::{IN, SYN},
    hooks::{ATTACHMENTS, agent, by, is_tcx, links, owners},
    isolation::{isolated, run},
    others::{Does, Other, Place},
    pins::index,
    wire::{HOST, Wire, quiet_veth},
    world::{World, families},
};

/// Where somebody else attaches after us, and where so as to be asked before us. Of filters in one priority, the kernel
/// asks the one first that was added last.
fn places(attachment: Attachment) -> (Vec<Place>, Place) {
    if is_tcx(attachment) {
        (vec![Place::TcxLast, Place::Filter(1)], Place::TcxFirst)
    } else {
        (vec![Place::Filter(2)], Place::Filter(1))
    }
}

/// How many packets an interface has sent so far.
fn sent_by(interface: &str) -> u64 {
    let table = fs::read_to_string("/proc/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:"))).unwrap();
    // Eight columns of what was received, then the bytes that were sent.
    line.split_whitespace().nth(9).unwrap().parse().unwrap()
}

/// What became of a packet on its way into the pod.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    AtPod,
    AtOther,
    Nowhere,
}

fn send(frame: &[u8]) -> Arrival {
    let count = || (sent_by(HOST), sent_by("other0"));
    let before = count();
    Wire::new(HOST).send(frame);
    match (count().0 - before.0, count().1 - before.1) {
        (1, 0) => Arrival::AtPod,
        (0, 1) => Arrival::AtOther,
        (0, 0) => Arrival::Nowhere,
        more => panic!("one packet was sent, and {more:?} arrived"),
    }
}

#[test]
fn who_comes_first_decides_and_ours_come_first() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            let host = quiet_veth();
            run("ip link add other0 type veth peer name other0-pod");
            run("ip link set other0 up");
            run("ip link set other0-pod up");
            let other0 = index("other0");
            let mut kernel = Kernel::with(&by(attachment));
            kernel.activate(&World { interface: host.index, ..World::isolated() });
            assert!(kernel.hooking.set(slice::from_ref(&host)).unwrap().is_empty());
            let family = families()[0];
            let mut port = 50_000;
            let mut allowed = || {
                port += 1;
                let mut pair = family.from(family.peer, 80);
                pair.peer.set_port(port);
                pair.tcp(IN, SYN, 1)
            };
            let denied = family.from(family.peer, 81).tcp(IN, SYN, 1);
            let (after, before) = places(attachment);
            let cases = [
                (Does::Next, Arrival::AtPod),
                (Does::Pass, Arrival::AtPod),
                (Does::Drop, Arrival::Nowhere),
                (Does::Redirect(other0), Arrival::AtOther),
            ];
            for (does, arrival) in &cases {
                for place in &after {
                    let other = Other::attach(*does, HOST, TcAttachType::Egress, *place);
                    kernel.moved();
                    assert_eq!(send(&denied), Arrival::Nowhere, "{does:?} {place:?}");
                    assert!(kernel.moved().contains_key(&Counter::PacketsDropped));
                    // The record says what was decided here, whatever those behind it do.
                    assert_eq!(&send(&allowed()), arrival, "{does:?} {place:?}");
                    assert_eq!(kernel.kinds(), [EventKind::Open], "{does:?} {place:?}");
                    drop(other);
                }
                let other = Other::attach(*does, HOST, TcAttachType::Egress, before);
                let order: Vec<Owner> = links(HOST)[1].iter().map(|link| link.owner).collect();
                assert_eq!(order, [Owner::Other, Owner::ThisAgent]);
                kernel.moved();
                let is_asked = *does == Does::Next;
                let expected = if is_asked { &Arrival::Nowhere } else { arrival };
                assert_eq!(&send(&denied), expected, "{does:?} before ours");
                assert_eq!(kernel.moved().contains_key(&Counter::PacketsIn), is_asked, "{does:?}");
                assert_eq!(&send(&allowed()), arrival, "{does:?} before ours");
                assert_eq!(kernel.events().len(), usize::from(is_asked), "{does:?}");
                drop(other);
            }
            kernel.assert_balance();
            drop(kernel);
            detach(folder().as_ref()).unwrap();
            run(&format!("ip link delete {HOST}"));
            run("ip link delete other0");
        }
    });
}

#[test]
fn ours_come_before_those_that_are_there_and_keep_their_place() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            let host = quiet_veth();
            let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
            let (mut after, before) = places(attachment);
            after.insert(0, before);
            let others: Vec<Other> = after
                .iter()
                .flat_map(|place| hooks.map(|hook| Other::attach(Does::Pass, HOST, hook, *place)))
                .collect();
            let behind = vec![Owner::Other; after.len()];
            let first = |count: usize| [vec![Owner::Other; count], vec![Owner::ThisAgent], behind.clone()].concat();
            drop(agent(attachment, slice::from_ref(&host)));
            assert_eq!(owners(HOST), first(0));
            // Somebody who comes later and wants to be first is; it shows, and the next agent does not change it.
            if is_tcx(attachment) {
                let late = hooks.map(|hook| Other::attach(Does::Next, HOST, hook, Place::TcxFirst));
                assert_eq!(owners(HOST), first(1));
                drop(agent(attachment, slice::from_ref(&host)));
                assert_eq!(owners(HOST), first(1));
                drop(late);
            }
            drop(others);
            detach(folder().as_ref()).unwrap();
            run(&format!("ip link delete {HOST}"));
        }
    });
}

#[test]
fn two_agents_with_pins_of_their_own_let_pass_what_both_allow() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            let host = quiet_veth();
            let family = families()[0];
            let world = |has_rules| World { interface: host.index, has_rules, ..World::isolated() };
            let elsewhere = Options { bpffs: "/run/bpf/elsewhere".into(), ..by(attachment) };
            let mut agents = [by(attachment), elsewhere.clone()].map(|options| Datapath::open(&options).unwrap());
            for agent in &mut agents {
                agent.control.activate(&world(true).tables()).unwrap();
                assert!(agent.hooking.set(slice::from_ref(&host)).unwrap().is_empty());
            }
            let wire = Wire::new(HOST);
            let mut port = 50_000;
            let mut passes = || {
                port += 1;
                let mut pair = family.from(family.peer, 80);
                pair.peer.set_port(port);
                wire.send(&pair.tcp(IN, SYN, 1))
            };
            assert!(passes());
            for agent in &mut agents {
                agent.control.activate(&world(false).tables()).unwrap();
                assert!(!passes(), "one that denies is enough");
                agent.control.activate(&world(true).tables()).unwrap();
                assert!(passes());
            }
            drop(agents);
            detach(&elsewhere.bpffs).unwrap();
            detach(&options().bpffs).unwrap();
            run(&format!("ip link delete {HOST}"));
        }
    });
}
