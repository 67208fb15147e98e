//! How interfaces are hooked, by `tcx` links and by clsact filters: what outlives the agent, what the next one takes over,
//! and what is taken away.

use std::{
    slice, thread,
    time::{Duration, Instant},
};

use aya::programs::{SchedClassifier, TcAttachType};
use podwitness_datapath::{Attachment, Chain, Datapath, Interface, Link, Options, Owner, chain, detach};
use podwitness_wire::names;

use crate::{
    fixture::{folder, is_gone, options},
    isolation::{isolated, run},
    others::{self, Does, Other, Place},
    pins::{index, veth},
};

/// By what interfaces are hooked: links where this kernel has them, and filters on every kernel.
pub(crate) const ATTACHMENTS: [Attachment; 2] = [Attachment::Auto, Attachment::Clsact];

/// Whether the hooks of an attachment are links on this kernel.
pub(crate) fn is_tcx(attachment: Attachment) -> bool {
    attachment == Attachment::Auto && SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}

pub(crate) fn by(attachment: Attachment) -> Options {
    Options { attachment, ..options() }
}

/// A new agent that has hooked the interfaces.
pub(crate) fn agent(attachment: Attachment, interfaces: &[Interface]) -> Datapath {
    let mut datapath = Datapath::open(&by(attachment)).unwrap();
    let faults = datapath.hooking.set(interfaces).unwrap();
    assert!(faults.is_empty(), "{faults:?}");
    datapath
}

/// Waits until the chains are these: the kernel takes a link away in the background.
#[track_caller]
fn await_links(interface: &str, expected: &[Vec<Link>; 2]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while &links(interface) != expected {
        assert!(Instant::now() < deadline, "{:?}, not {expected:?}", links(interface));
        thread::yield_now();
    }
}

pub(crate) fn links(interface: &str) -> [Vec<Link>; 2] {
    let Chain { from_pod, to_pod } = chain(folder().as_ref(), index(interface)).unwrap();
    [from_pod, to_pod]
}

/// Whose programs are on both hooks, in order; both have the same.
#[track_caller]
pub(crate) fn owners(interface: &str) -> Vec<Owner> {
    let [from_pod, to_pod] = links(interface).map(|links| links.iter().map(|link| link.owner).collect::<Vec<_>>());
    assert_eq!(from_pod, to_pod);
    from_pod
}

fn priorities(interface: &str) -> [Vec<Option<u16>>; 2] {
    links(interface).map(|links| links.iter().map(|link| link.priority).collect())
}

#[test]
fn a_hook_is_of_the_kind_that_was_asked_for() {
    isolated(|| {
        for (attachment, name) in ATTACHMENTS.into_iter().zip(["host0", "host1"]) {
            let datapath = agent(attachment, &[veth(name)]);
            let priority = if is_tcx(attachment) { None } else { Some(1) };
            assert_eq!(priorities(name), [vec![priority], vec![priority]]);
            let names = links(name).map(|links| links[0].name.clone());
            assert_eq!(names, [names::PROGRAM_FROM_POD, names::PROGRAM_TO_POD]);
            assert_eq!(owners(name), [Owner::ThisAgent]);
            drop(datapath);
        }
    });
}

#[test]
fn filters_outlive_the_agent_and_go_with_detach() {
    isolated(|| {
        drop(agent(Attachment::Clsact, &[veth("host0")]));
        assert_eq!(owners("host0"), [Owner::ThisAgent], "hooks outlive the agent");
        detach(folder().as_ref()).unwrap();
        assert_eq!(links("host0"), [[], []]);
        assert!(is_gone(folder()));
    });
}

#[test]
fn the_next_agent_puts_its_programs_in_the_place_of_the_last_ones() {
    isolated(|| {
        for (attachment, name) in ATTACHMENTS.into_iter().zip(["host0", "host1"]) {
            let interface = veth(name);
            drop(agent(attachment, slice::from_ref(&interface)));
            let before = links(name);
            drop(agent(attachment, slice::from_ref(&interface)));
            let after = links(name);
            assert_eq!(owners(name), [Owner::ThisAgent]);
            assert_eq!(after.clone().map(|links| links[0].priority), before.clone().map(|links| links[0].priority));
            assert!(after.iter().zip(&before).all(|(after, before)| after[0].program != before[0].program));
        }
    });
}

#[test]
fn the_filters_of_an_interface_that_is_not_wanted_any_more_are_taken_away() {
    isolated(|| {
        let (first, second) = (veth("host0"), veth("host1"));
        let mut datapath = agent(Attachment::Clsact, &[first.clone(), second.clone()]);
        assert!(datapath.hooking.set(slice::from_ref(&second)).unwrap().is_empty());
        assert_eq!((links("host0"), owners("host1")), ([vec![], vec![]], vec![Owner::ThisAgent]));
        assert!(datapath.hooking.set(&[first, second.clone()]).unwrap().is_empty());
        drop(datapath);
        // The next agent finds those of the last one.
        drop(agent(Attachment::Clsact, &[second]));
        assert_eq!((links("host0"), owners("host1")), ([vec![], vec![]], vec![Owner::ThisAgent]));
    });
}

#[test]
fn an_interface_keeps_the_kind_of_hook_that_it_has() {
    isolated(|| {
        for (attachment, name) in ATTACHMENTS.into_iter().zip(["host0", "host1"]) {
            let interface = veth(name);
            drop(agent(attachment, slice::from_ref(&interface)));
            let kinds = priorities(name);
            for next in ATTACHMENTS {
                drop(agent(next, slice::from_ref(&interface)));
                assert_eq!(priorities(name), kinds, "neither a second hook nor another one");
                assert_eq!(owners(name), [Owner::ThisAgent]);
            }
            detach(folder().as_ref()).unwrap();
        }
    });
}

#[test]
fn an_interface_is_hooked_by_its_index_whatever_its_name_is_now() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            let (first, second) = (veth("host0"), veth("host1"));
            // Each has the other's name.
            for line in ["host0 name was0", "host1 name host0", "was0 name host1"] {
                run(&format!("ip link set dev {} down", line.split(' ').next().unwrap()));
                run(&format!("ip link set dev {line}"));
            }
            let datapath = agent(attachment, slice::from_ref(&first));
            assert_eq!((index("host1"), index("host0")), (first.index, second.index));
            assert_eq!((owners("host1"), links("host0")), (vec![Owner::ThisAgent], [vec![], vec![]]));
            drop(datapath);
            detach(folder().as_ref()).unwrap();
            run("ip link delete host0");
            run("ip link delete host1");
        }
    });
}

#[test]
fn hooks_that_somebody_took_away_are_put_back() {
    isolated(|| {
        let interface = veth("host0");
        let mut datapath = agent(Attachment::Clsact, slice::from_ref(&interface));
        run("tc qdisc delete dev host0 clsact");
        assert_eq!(links("host0"), [[], []]);
        assert!(datapath.hooking.set(slice::from_ref(&interface)).unwrap().is_empty());
        assert_eq!(owners("host0"), [Owner::ThisAgent]);

        // Another interface with the same name and index.
        run("ip link delete host0");
        run(&format!("ip link add host0 index {} type veth peer name host0-pod", interface.index));
        assert!(datapath.hooking.set(slice::from_ref(&interface)).unwrap().is_empty());
        assert_eq!(owners("host0"), [Owner::ThisAgent]);
    });
}

#[test]
fn an_interface_that_vanishes_leaves_nothing_in_the_way() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            let first = veth("host0");
            let mut datapath = agent(attachment, slice::from_ref(&first));
            run("ip link delete host0");
            let faults = datapath.hooking.set(slice::from_ref(&first)).unwrap();
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].cause.to_string(), "cannot attach to the interface: No such device (os error 19)");
            assert!(datapath.hooking.set(&[]).unwrap().is_empty());
            drop(datapath);
            detach(folder().as_ref()).unwrap();
        }
    });
}

#[test]
fn detach_and_letting_go_leave_what_others_have_there() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            let interface = veth("host0");
            let places: &[Place] = if is_tcx(attachment) {
                &[Place::TcxFirst, Place::TcxLast, Place::Filter(1), Place::Filter(7)]
            } else {
                &[Place::Filter(1), Place::Filter(7)]
            };
            let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
            let _others: Vec<Other> = places
                .iter()
                .flat_map(|place| hooks.map(|hook| Other::attach(Does::Next, "host0", hook, *place)))
                .collect();
            let before = links("host0");
            assert!(before.iter().flatten().all(|link| link.name == others::NAME && link.owner == Owner::Other));
            for lets_go in [true, false] {
                let mut datapath = agent(attachment, slice::from_ref(&interface));
                assert_eq!(links("host0").map(|links| links.len()), [places.len() + 1; 2]);
                assert_eq!(owners("host0")[0], Owner::ThisAgent, "ours come first");
                if lets_go {
                    assert!(datapath.hooking.set(&[]).unwrap().is_empty());
                    drop(datapath);
                } else {
                    drop(datapath);
                    detach(folder().as_ref()).unwrap();
                }
                await_links("host0", &before);
            }
            run("ip link delete host0");
        }
    });
}

#[test]
fn the_programs_of_an_agent_with_other_pins_are_named_as_such() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            let interface = veth("host0");
            let first = agent(attachment, slice::from_ref(&interface));
            let alone = links("host0");
            let elsewhere = Options { bpffs: "/run/bpf/elsewhere".into(), ..by(attachment) };
            let mut second = Datapath::open(&elsewhere).unwrap();
            assert!(second.hooking.set(slice::from_ref(&interface)).unwrap().is_empty());
            assert_eq!(owners("host0"), [Owner::AnotherAgent, Owner::ThisAgent]);
            drop(second);
            detach(&elsewhere.bpffs).unwrap();
            await_links("host0", &alone);
            drop(first);
            detach(folder().as_ref()).unwrap();
            run("ip link delete host0");
        }
    });
}

#[test]
fn a_filter_stands_in_the_first_priority_in_which_the_kernel_allows_it() {
    isolated(|| {
        let interface = veth("host0");
        run("tc qdisc add dev host0 clsact");
        // A priority holds filters of one kind and one protocol.
        for parent in ["ingress", "egress"] {
            run(&format!("tc filter add dev host0 {parent} prio 1 protocol all u32 match u32 0 0 flowid 1:1"));
        }
        let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
        let _others = hooks.map(|hook| Other::attach(Does::Next, "host0", hook, Place::Filter(2)));
        let _datapath = agent(Attachment::Clsact, &[interface]);
        for links in links("host0") {
            let first = links.iter().position(|link| link.owner == Owner::ThisAgent).unwrap();
            let (before, after) = links.split_at(first);
            assert!(before.iter().all(|link| link.priority == Some(1) && link.name == "u32"), "{before:?}");
            let after: Vec<_> = after.iter().map(|link| (link.priority, link.name.as_str())).collect();
            assert_eq!(after[1..], [(Some(2), others::NAME)]);
        }
    });
}
