//! Agents come and go, and programs are replaced, under traffic: at no moment is an isolated pod open or an open one
//! shut, and every packet is seen exactly once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, PerCpuArray};
use podwitness_datapath::{Attachment, Datapath, Interface, detach};
use podwitness_wire::{Counter, names};

use crate::{
    fixture::{folder, maps},
    frames::{IN, OUT, SYN},
    hooks::{ATTACHMENTS, by, owners},
    isolation::{isolated, run},
    wire::{HOST, POD, Wire, quiet_veth},
    world::{World, families},
};

/// How many agents follow one another, and how often each attaches its programs.
const AGENTS: usize = 5;
const ATTACHMENTS_OF_EACH: usize = 10;
/// Packets that are sent before the counters are looked at: fewer than wait for a veth's other side at the most.
const BATCH: u64 = 64;
const DEADLINE: Duration = Duration::from_secs(30);

/// The counters, which outlive the agents.
struct PinnedCounters(PerCpuArray<MapData, u64>);

impl PinnedCounters {
    fn open() -> Self {
        let data = MapData::from_pin(maps(folder().as_ref()).join(names::COUNTERS)).unwrap();
        Self(Map::PerCpuArray(data).try_into().unwrap())
    }

    fn get(&self, counter: Counter) -> u64 {
        self.0.get(&u32::from(counter.number()), 0).unwrap().iter().sum()
    }
}

/// Sends packets both ways until it is told to stop, and returns how many. Each must meet the hook's verdict.
fn flood(is_open: bool, stop: &AtomicBool) -> u64 {
    let family = families()[0];
    let leaves = family.https().tcp(OUT, SYN, 1);
    let enters = family.from(family.peer, 80).tcp(IN, SYN, 1);
    let (from_pod, to_pod) = (Wire::new(POD), Wire::new(HOST));
    let counters = PinnedCounters::open();
    let mut sent = 0;
    while !stop.load(Ordering::Acquire) {
        for _ in 0..BATCH {
            assert!(from_pod.send(&leaves));
            // On a veth, what its hook drops is told to the sender.
            assert_eq!(to_pod.send(&enters), is_open, "after {sent} packets");
            sent += 1;
        }
        let deadline = Instant::now() + DEADLINE;
        while counters.get(Counter::PacketsOut) < sent {
            assert!(Instant::now() < deadline, "{} of {sent} packets were seen", counters.get(Counter::PacketsOut));
            thread::yield_now();
        }
    }
    sent
}

fn re_attach_under_traffic(attachment: Attachment, is_open: bool) {
    let host = quiet_veth();
    let world = if is_open { World::open() } else { World::closed() };
    let tables = World { interface: host.index, ..world }.tables();
    let mut datapath = Datapath::open(&by(attachment)).unwrap();
    datapath.control.activate(&tables).unwrap();
    assert!(datapath.hooking.set(std::slice::from_ref(&host)).unwrap().is_empty());
    let mut datapath = Some(datapath);
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(is_open, &stop));
        for _ in 0..AGENTS {
            // The next agent opens when the last one is gone.
            drop(datapath.take());
            let hooking = &mut datapath.insert(Datapath::open(&by(attachment)).unwrap()).hooking;
            for name in 0..ATTACHMENTS_OF_EACH {
                // What has another name is attached again: it may be another interface.
                let host = Interface { index: host.index, name: format!("name{name}") };
                assert!(hooking.set(&[host]).unwrap().is_empty());
            }
        }
        stop.store(true, Ordering::Release);
        flood.join().unwrap()
    });
    assert_eq!(owners(HOST).len(), 1);
    let counters = PinnedCounters::open();
    let seen = [Counter::PacketsOut, Counter::PacketsIn, Counter::PacketsDropped].map(|counter| counters.get(counter));
    let dropped = if is_open { 0 } else { 2 * sent };
    assert_eq!(seen, [sent, sent, dropped], "each packet is seen once");
    assert!(sent > 1000, "{sent} packets are no flood");
    drop(datapath);
    detach(folder().as_ref()).unwrap();
    run(&format!("ip link delete {HOST}"));
}

#[test]
fn nothing_passes_an_isolated_pod_while_programs_are_replaced() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            re_attach_under_traffic(attachment, false);
        }
    });
}

#[test]
fn everything_passes_an_open_pod_while_programs_are_replaced() {
    isolated(|| {
        for attachment in ATTACHMENTS {
            re_attach_under_traffic(attachment, true);
        }
    });
}
