//! An agent finds the maps and hooks of layout 1, which the project's first programs (`layouts/1.o`) have left, and
//! replaces them under traffic.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ArrayOfMaps, HashMap, MapData},
    programs::{
        LinkOrder, SchedClassifier, TcAttachType,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
};
use podwitness_datapath::{Datapath, Error, Interface, Options, Outlet, detach};
use podwitness_wire::{Counter, EndpointEntry, Event, EventKind, OwnAddressKey, Settings, State, names};

use crate::{
    fixture::{HOUR_NS, folder, is_gone, options, timeouts},
    frames::{IN, OUT},
    isolation::isolated,
    wire::{HOST, POD, Wire, quiet_veth},
    world::{World, families},
};

const OBJECT: &[u8] = include_bytes!("../layouts/1.o");
/// The pinned maps of layout 1.
const MAPS: [&str; 13] = [
    names::STATE,
    names::SETTINGS,
    names::ADDRESSES,
    names::ENDPOINTS,
    names::OWN_ADDRESSES,
    names::POLICY,
    names::CONNECTIONS,
    names::DENIALS,
    names::LOSSES,
    names::FRAGMENTS,
    names::EVENTS,
    names::COUNTERS,
    names::GRACE,
];
const DEADLINE: Duration = Duration::from_secs(60);
/// The generation that the first agent had put in force.
const GENERATION: u64 = 41;
const EPOCH: u64 = 7;

/// What the first agent did: programs over pinned maps, one generation of tables, links.
fn first_agent(host: &Interface, is_open: bool) {
    fs::create_dir_all(format!("{}/maps", folder())).unwrap();
    fs::create_dir_all(format!("{}/links", folder())).unwrap();
    let mut loader = EbpfLoader::new();
    for name in MAPS {
        loader.map_pin_path(name, PathBuf::from(format!("{}/maps/{name}", folder())));
    }
    let mut first: Ebpf = loader.load(OBJECT).unwrap();
    let mut settings: Array<_, Settings> = first.map_mut(names::SETTINGS).unwrap().try_into().unwrap();
    let values = Settings { timeouts: timeouts(HOUR_NS), close_after: HOUR_NS, progress: HOUR_NS };
    settings.set(0, values, 0).unwrap();

    let world = World { interface: host.index, ..if is_open { World::open() } else { World::closed() } };
    let tables = world.tables();
    let mut endpoints = HashMap::<MapData, u32, EndpointEntry>::create(8, 0).unwrap();
    for (interface, entry) in tables.endpoints.iter() {
        endpoints.insert(interface, entry, 0).unwrap();
    }
    let mut outer: ArrayOfMaps<_, HashMap<MapData, u32, EndpointEntry>> =
        first.map_mut(names::ENDPOINTS).unwrap().try_into().unwrap();
    outer.set(1, &endpoints, 0).unwrap();
    let mut own = HashMap::<MapData, OwnAddressKey, u32>::create(8, 0).unwrap();
    for (key, _) in tables.own_addresses.iter() {
        own.insert(key, 0, 0).unwrap();
    }
    let mut outer: ArrayOfMaps<_, HashMap<MapData, OwnAddressKey, u32>> =
        first.map_mut(names::OWN_ADDRESSES).unwrap().try_into().unwrap();
    outer.set(1, &own, 0).unwrap();
    let mut state: Array<_, State> = first.map_mut(names::STATE).unwrap().try_into().unwrap();
    state.set(0, State { generation: GENERATION, epoch: EPOCH, flags: 0 }, 0).unwrap();

    for (name, hook, suffix) in
        [(names::PROGRAM_FROM_POD, TcAttachType::Ingress, "from"), (names::PROGRAM_TO_POD, TcAttachType::Egress, "to")]
    {
        let program: &mut SchedClassifier = first.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
        let id = program.attach_with_options(HOST, hook, TcAttachOptions::TcxOrder(LinkOrder::first())).unwrap();
        let link: SchedClassifierLink = program.take_link(id).unwrap();
        let link: aya::programs::links::FdLink = link.try_into().unwrap();
        link.pin(format!("{}/links/{}-{suffix}", folder(), host.index)).unwrap();
    }
}

/// What came out, as the witness brings it out.
#[derive(Default)]
struct BroughtOut {
    events: Vec<Event>,
    denied_packets: u64,
    handed_over: bool,
}

impl BroughtOut {
    fn bring_out(&mut self, outlet: &mut Outlet) {
        let position = outlet.acknowledged();
        let end = outlet.read_events(position, usize::MAX >> 1, &mut self.events);
        outlet.acknowledge_events(end);
        let epoch = outlet.turn_epoch().unwrap();
        let (denials, losses) = outlet.counted_through(epoch).unwrap();
        assert_eq!(losses, [], "nothing is lost");
        self.denied_packets += denials.iter().map(|(_, denial)| denial.packets).sum::<u64>();
        outlet.remove_counted(epoch).unwrap();
        self.handed_over |= outlet.hand_over().unwrap();
    }
}

/// Sends packets both ways, new connections among them, until it is told to stop. Each must meet the hook's verdict.
/// Returns how many were sent each way.
fn flood(is_open: bool, stop: &AtomicBool, sent: &AtomicU64) {
    let family = families()[0];
    let (from_pod, to_pod) = (Wire::new(POD), Wire::new(HOST));
    let mut port = 1000;
    while !stop.load(Ordering::Acquire) {
        port = if port == 30_000 { 1000 } else { port + u16::from(sent.load(Ordering::Relaxed).is_multiple_of(64)) };
        for port in [443, port] {
            assert!(from_pod.send(&family.to(family.peer, port).udp(OUT)));
            // On a veth, what its hook drops is told to the sender.
            assert_eq!(to_pod.send(&family.to(family.peer, port).udp(IN)), is_open);
            sent.fetch_add(1, Ordering::Release);
        }
        thread::yield_now();
    }
}

fn await_sent(sent: &AtomicU64, more: u64) {
    let until = sent.load(Ordering::Acquire) + more;
    let deadline = Instant::now() + DEADLINE;
    while sent.load(Ordering::Acquire) < until {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

fn upgrade_under_traffic(is_open: bool) -> (BroughtOut, u64, [u64; 3]) {
    let host = quiet_veth();
    first_agent(&host, is_open);
    let world = World { interface: host.index, ..if is_open { World::open() } else { World::closed() } };
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut out = BroughtOut::default();
    let large = Options { connections: 65_536, denials: 65_536, ring_bytes: 1 << 24, ..options() };
    let counters = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(is_open, &stop, &sent));
        await_sent(&sent, 500);
        // Killed before it has replaced anything, and after it has: the next one goes on.
        drop(Datapath::open(&large).unwrap());
        let mut datapath = Datapath::open(&large).unwrap();
        assert_eq!(datapath.control.generation(), GENERATION);
        let ring = datapath.outlet.ring_id();
        out.bring_out(&mut datapath.outlet);
        assert!(!out.handed_over, "the older programs are running");
        assert_eq!(datapath.control.activate(&world.tables()).unwrap(), GENERATION + 1);
        assert!(datapath.hooking.set(std::slice::from_ref(&host)).unwrap().is_empty());
        await_sent(&sent, 500);
        drop(datapath);
        let mut datapath = Datapath::open(&large).unwrap();
        assert_eq!(datapath.outlet.ring_id(), ring, "the older ring comes first");
        datapath.control.activate(&world.tables()).unwrap();
        assert!(datapath.hooking.set(std::slice::from_ref(&host)).unwrap().is_empty());
        let deadline = Instant::now() + DEADLINE;
        while !out.handed_over {
            assert!(Instant::now() < deadline);
            out.bring_out(&mut datapath.outlet);
        }
        assert_ne!(datapath.outlet.ring_id(), ring);
        assert!(datapath.outlet.epoch() > EPOCH);
        assert!(is_gone(format!("{}/maps", folder())));
        await_sent(&sent, 500);
        stop.store(true, Ordering::Release);
        flood.join().unwrap();
        let total = sent.load(Ordering::Acquire);
        let get = |datapath: &Datapath| {
            let counters = datapath.outlet.counters().unwrap();
            [Counter::PacketsOut, Counter::PacketsIn, Counter::PacketsDropped].map(|counter| counters.get(counter))
        };
        let deadline = Instant::now() + DEADLINE;
        while get(&datapath)[0] < total {
            assert!(Instant::now() < deadline, "{:?} of {total}", get(&datapath));
            thread::yield_now();
        }
        out.bring_out(&mut datapath.outlet);
        get(&datapath)
    });
    (out, sent.into_inner(), counters)
}

#[test]
fn an_upgrade_from_layout_1_lets_nothing_through_to_an_isolated_pod() {
    isolated(|| {
        let (out, sent, counters) = upgrade_under_traffic(false);
        assert_eq!(counters, [sent, sent, 2 * sent], "each packet is seen once, and dropped");
        assert_eq!(out.events, [], "nothing was opened");
        assert_eq!(out.denied_packets, 2 * sent, "each is in the records of one life or of the other");
        detach(folder().as_ref()).unwrap();
        assert!(is_gone(folder()));
    });
}

#[test]
fn an_upgrade_from_layout_1_cuts_no_connection_of_an_open_pod_and_opens_none_twice() {
    isolated(|| {
        let (out, sent, counters) = upgrade_under_traffic(true);
        assert_eq!(counters, [sent, sent, 0], "each packet is seen once, and passes");
        assert_eq!(out.denied_packets, 0);
        let mut opens: BTreeMap<u16, u32> = BTreeMap::new();
        for event in &out.events {
            assert_eq!(event.kind, EventKind::Open.number());
            *opens.entry(event.key.peer_port).or_default() += 1;
        }
        assert_eq!(opens[&443], 1, "the connection from before the upgrade goes on");
        let ports: Vec<u16> = opens.keys().copied().filter(|port| *port != 443).collect();
        assert!(ports.len() > 10, "{ports:?}");
        assert!(ports.windows(2).all(|pair| pair[1] == pair[0] + 1), "each connection has its record: {ports:?}");
        // A connection may be opened within the few microseconds between its being carried over and its hook's
        // replacement.
        let twice = opens.values().filter(|count| **count > 1).count();
        assert!(twice <= 1, "{opens:?}");
    });
}

#[test]
fn the_maps_of_a_newer_version_are_left_alone_with_the_way_out() {
    isolated(|| {
        fs::create_dir_all(format!("{}/v3/maps", folder())).unwrap();
        let error = Datapath::open(&options()).err().unwrap();
        assert!(matches!(error, Error::NewerLayout { layout: 3, .. }), "{error:?}");
        assert!(error.to_string().contains("--detach"), "{error}");
        assert!(is_gone(format!("{}/v2", folder())), "nothing was made");
        detach(folder().as_ref()).unwrap();
        assert!(is_gone(folder()));
        drop(Datapath::open(&options()).unwrap());
    });
}

#[test]
fn maps_that_no_release_had_are_left_alone() {
    isolated(|| {
        drop(Datapath::open(&options()).unwrap());
        // A version between two releases had maps of this layout in the folder of the first.
        fs::rename(format!("{}/v2/maps", folder()), format!("{}/maps", folder())).unwrap();
        let error = Datapath::open(&options()).err().unwrap();
        assert!(matches!(error, Error::UnknownLayout { .. }), "{error:?}");
        assert!(!is_gone(format!("{}/maps/{}", folder(), names::CONNECTIONS)));
        detach(folder().as_ref()).unwrap();
        assert!(is_gone(folder()));
    });
}
