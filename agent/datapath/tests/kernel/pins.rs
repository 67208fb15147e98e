//! What outlives the agent, and what a person is told.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use aya::programs::links::{FdLink, PinnedLink};
use podwitness_datapath::{Chain, Datapath, Error, Interface, Options, chain, detach};
use podwitness_wire::{Counter, names};

use crate::{
    fixture::{Kernel, OPENED, folder, is_gone, options},
    frames::{IN, OUT, SYN},
    isolation::{isolated, run},
    world::{World, families},
};

/// The host side of a new veth pair.
pub(crate) fn veth(name: &str) -> Interface {
    run(&format!("ip link add {name} type veth peer name {name}-pod"));
    run(&format!("ip link set {name} up"));
    Interface { index: index(name), name: name.to_owned() }
}

pub(crate) fn index(name: &str) -> u32 {
    let output = Command::new("ip").args(["-o", "link", "show", "dev", name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(':').next().unwrap().parse().unwrap()
}

/// The names and ids of the programs on the two hooks.
fn on(name: &str) -> [Vec<(String, u32)>; 2] {
    let Chain { from_pod, to_pod } = chain(folder().as_ref(), index(name)).unwrap();
    [from_pod, to_pod].map(|links| links.into_iter().map(|link| (link.name, link.program.unwrap())).collect())
}

fn names_on(name: &str) -> [Vec<String>; 2] {
    on(name).map(|links| links.into_iter().map(|(name, _)| name).collect())
}

/// The kernel takes a hook away in the background when its last pin is gone.
fn await_unhooked(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while names_on(name).iter().any(|programs| !programs.is_empty()) {
        assert!(Instant::now() < deadline, "{name} still has {:?}", names_on(name));
        thread::yield_now();
    }
}

fn hooked() -> [Vec<String>; 2] {
    [vec![names::PROGRAM_FROM_POD.to_owned()], vec![names::PROGRAM_TO_POD.to_owned()]]
}

fn link_id(index: u32, suffix: &str) -> u32 {
    let pinned = PinnedLink::from_pin(format!("{}/links/{index}-{suffix}", folder())).unwrap();
    FdLink::from(pinned).info().unwrap().id()
}

#[test]
fn a_second_agent_on_the_same_pins_is_refused_with_the_way_out() {
    isolated(|| {
        let first = Datapath::open(&options()).unwrap();
        let error = Datapath::open(&options()).err().unwrap();
        assert!(matches!(error, Error::InUse { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "another agent holds the pins under /run/bpf/podwitness: stop it first, or set `bpffs` to another folder"
        );
        assert!(matches!(detach(folder().as_ref()), Err(Error::InUse { .. })));
        let elsewhere = Options { bpffs: "/run/bpf/other".into(), ..options() };
        Datapath::open(&elsewhere).unwrap();
        drop(first);
        Datapath::open(&options()).unwrap();
    });
}

#[test]
fn a_folder_that_is_on_no_bpf_file_system_is_named() {
    isolated(|| {
        for missing in ["/run/podwitness", "/run/not/there/yet"] {
            let error = Datapath::open(&Options { bpffs: missing.into(), ..options() }).err().unwrap();
            assert_eq!(
                error.to_string(),
                format!(
                    "{missing} is not on a BPF file system, so that hooks and maps could not outlive the agent: mount \
                     one there (`mount -t bpf bpf <folder>`) or set `bpffs` to a folder on one"
                )
            );
            assert!(is_gone(missing), "{missing} was made");
        }
    });
}

#[test]
fn the_next_agent_goes_on_where_the_last_one_stopped() {
    isolated(|| {
        let family = families()[0];
        let mut kernel = Kernel::of(&World::isolated());
        kernel.activate(&World::isolated());
        kernel.send(OUT, &family.https().tcp(OUT, SYN, 1)).passed(&OPENED);
        kernel.send(OUT, &family.to(family.peer, 8080).tcp(OUT, SYN, 1)).passed(&OPENED);
        kernel.send(OUT, &family.to(family.peer, 25).tcp(OUT, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
        let from = kernel.outlet.acknowledged();
        let mut first = Vec::new();
        let next = kernel.outlet.read_events(from, 1, &mut first);
        kernel.outlet.acknowledge_events(next);
        let facts = |kernel: &Kernel| {
            let mut connections = kernel.connections();
            connections.sort_by_key(|(key, _)| key.peer_port);
            let counters = kernel.outlet.counters().unwrap();
            (
                kernel.control.generation(),
                kernel.outlet.epoch(),
                kernel.outlet.ring_id(),
                kernel.outlet.acknowledged(),
                counters,
                connections,
            )
        };
        let before = facts(&kernel);
        assert_eq!((before.0, before.5.len()), (3, 2));
        drop(kernel);

        let mut kernel = Kernel::new();
        assert_eq!(facts(&kernel), before);
        let mut rest = Vec::new();
        kernel.outlet.read_events(next, 10, &mut rest);
        assert_eq!(rest.iter().map(|event| event.key.peer_port).collect::<Vec<_>>(), [8080]);
        let epoch = kernel.outlet.turn_epoch().unwrap();
        let (denials, _) = kernel.outlet.counted_through(epoch).unwrap();
        assert_eq!(denials.len(), 1);
        // Its tables are in force, before any are given.
        kernel.send(IN, &family.https().tcp(IN, SYN, 1)).passed(&[]);
        kernel.send(OUT, &family.to(family.peer, 26).tcp(OUT, SYN, 1)).dropped(&[Counter::DeniedAttempts]);
        assert_eq!(kernel.activate(&World::open()), 4);
    });
}

#[test]
fn hooks_are_on_both_directions_and_go_with_detach() {
    isolated(|| {
        let interface = veth("host0");
        let mut datapath = Datapath::open(&options()).unwrap();
        assert!(datapath.hooking.set(std::slice::from_ref(&interface)).unwrap().is_empty());
        assert_eq!(names_on("host0"), hooked());
        drop(datapath);
        assert_eq!(names_on("host0"), hooked(), "hooks outlive the agent");
        detach(folder().as_ref()).unwrap();
        await_unhooked("host0");
        assert!(is_gone(folder()));
        detach(folder().as_ref()).unwrap();
    });
}

#[test]
fn an_interface_that_is_not_wanted_any_more_is_let_go() {
    isolated(|| {
        let (first, second) = (veth("host0"), veth("host1"));
        let mut datapath = Datapath::open(&options()).unwrap();
        assert!(datapath.hooking.set(&[first.clone(), second.clone()]).unwrap().is_empty());
        assert!(datapath.hooking.set(std::slice::from_ref(&second)).unwrap().is_empty());
        await_unhooked("host0");
        assert_eq!(names_on("host1"), hooked());
        assert!(datapath.hooking.set(&[first, second]).unwrap().is_empty());
        assert_eq!(names_on("host0"), hooked());
    });
}

#[test]
fn an_interface_that_has_vanished_is_named_and_the_others_are_hooked() {
    isolated(|| {
        let (vanished, stays) = (veth("host0"), veth("host1"));
        run("ip link delete host0");
        let mut datapath = Datapath::open(&options()).unwrap();
        let faults = datapath.hooking.set(&[vanished.clone(), stays]).unwrap();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].interface, vanished);
        assert_eq!(faults[0].cause.to_string(), "cannot attach to the interface: No such device (os error 19)");
        assert_eq!(names_on("host1"), hooked());
    });
}

#[test]
fn a_new_agents_programs_take_over_the_links() {
    isolated(|| {
        let interface = veth("host0");
        let open = || {
            let mut datapath = Datapath::open(&options()).unwrap();
            assert!(datapath.hooking.set(std::slice::from_ref(&interface)).unwrap().is_empty());
            datapath
        };
        let state = || {
            let links = ["from", "to"].map(|suffix| link_id(interface.index, suffix));
            let programs = on("host0").map(|links| links[0].1);
            (links, programs)
        };
        drop(open());
        let (links, programs) = state();
        let datapath = open();
        let (links_after, programs_after) = state();
        assert_eq!(links_after, links, "there is no moment without a hook");
        assert!(programs_after.iter().all(|program| !programs.contains(program)), "{programs_after:?}");
        assert_eq!(names_on("host0"), hooked());
        drop(datapath);
    });
}

#[test]
fn a_pin_of_an_interface_that_is_gone_does_not_stand_in_the_way() {
    isolated(|| {
        let first = veth("host0");
        drop({
            let mut datapath = Datapath::open(&options()).unwrap();
            assert!(datapath.hooking.set(std::slice::from_ref(&first)).unwrap().is_empty());
            datapath
        });
        run("ip link delete host0");
        // Another interface with the index of the one that is gone.
        run(&format!("ip link add host1 index {} type veth peer name host1-pod", first.index));
        let second = Interface { index: index("host1"), name: "host1".to_owned() };
        assert_eq!(second.index, first.index);
        let mut datapath = Datapath::open(&options()).unwrap();
        assert!(datapath.hooking.set(&[second]).unwrap().is_empty());
        assert_eq!(names_on("host1"), hooked());
        let pins: Vec<PathBuf> =
            fs::read_dir(format!("{}/links", folder())).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(pins.len(), 2, "{pins:?}");
    });
}
