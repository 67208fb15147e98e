//! A generation that is put in force by what differs of it: what is in the kernel's maps then, and what packets see
//! meanwhile.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread::{self, ScopedJoinHandle},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{ArrayOfMaps, HashMap, InnerMap, LpmTrie, MapData, lpm_trie::Key},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use podwitness_datapath::{AddressPrefix, PolicyPrefix, Tables};
use podwitness_wire::{
    Address, AddressEntry, EndpointEntry, EventKind, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress, Verdict, names,
};

use crate::{
    fixture::{Kernel, OPENED, folder, maps, options},
    frames::{ACK, OUT, SYN},
    isolation::isolated,
    world::{EGRESS_ISOLATING, PEER_IDENTITY, TO_PEER_HTTPS, World, address, families},
};

/// Another pod at the peer's addresses, which no rule allows.
const OTHER: AddressEntry = AddressEntry { class: 0, identity: PEER_IDENTITY + 1, flags: 0, owner: 0, interface: 0 };

/// The world's tables, in which the peers are changed so.
fn with_peers(change: impl Fn(&mut AddressEntry)) -> Tables {
    let mut tables = World::isolated().tables();
    let of_peers = tables.addresses.iter_mut().filter(|(_, entry)| entry.identity == PEER_IDENTITY);
    of_peers.for_each(|(_, entry)| change(entry));
    tables
}

fn without_peers() -> Tables {
    let tables = World::isolated().tables();
    let others = tables.addresses.iter().filter(|(_, entry)| entry.identity != PEER_IDENTITY);
    Tables { addresses: others.copied().collect(), ..tables }
}

#[test]
fn what_changes_elsewhere_keeps_the_slot_and_has_live_connections_decided_anew() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let mut generation = kernel.control.generation();
        for family in families() {
            let pair = family.https();
            kernel.send(OUT, &pair.tcp(OUT, SYN, 1)).passed(&OPENED);
            assert_eq!(kernel.event().generation, generation);
            for (tables, verdict, rule_set) in [
                (with_peers(|entry| *entry = OTHER), Verdict::Deny, EGRESS_ISOLATING),
                (with_peers(|_| {}), Verdict::Allow, TO_PEER_HTTPS),
                (without_peers(), Verdict::Deny, EGRESS_ISOLATING),
                (with_peers(|_| {}), Verdict::Allow, TO_PEER_HTTPS),
            ] {
                generation += 2;
                assert_eq!(kernel.control.activate(&tables).unwrap(), generation);
                assert_eq!(kernel.control.generation(), generation);
                kernel.send(OUT, &pair.tcp(OUT, ACK, 2));
                let event = kernel.event();
                assert_eq!((event.kind, event.generation), (EventKind::Change.number(), generation));
                assert_eq!((event.verdict, event.rule_set), (verdict.number(), rule_set));
            }
            kernel.assert_balance();
        }
    });
}

#[test]
fn what_changes_here_takes_the_other_slot() {
    isolated(|| {
        let mut kernel = Kernel::of(&World::isolated());
        let before = kernel.control.generation();
        let other_revision = |kernel: &Kernel, tables: &Tables| kernel.control.next(tables, false).generation();
        assert_eq!(other_revision(&kernel, &with_peers(|_| {})), before + 2, "nothing is changed in place");
        assert_eq!(other_revision(&kernel, &without_peers()), before + 1);
        for change in [
            |entry: &mut AddressEntry| entry.interface = 9,
            |entry: &mut AddressEntry| entry.flags |= podwitness_wire::address_flags::LOCAL_NODE,
        ] {
            let tables = with_peers(change);
            let next = kernel.control.activate(&tables).unwrap();
            assert_eq!(next % 2, (before + 1) % 2);
            assert_eq!(kernel.control.activate(&with_peers(|_| {})).unwrap(), next + 1, "nor is it taken back so");
        }
        let open = World::open().tables();
        let next = kernel.control.activate(&open).unwrap();
        assert_eq!(next % 2, (before + 1) % 2);
    });
}

/// What the maps of a generation hold.
#[derive(Debug, Default, PartialEq)]
struct Held {
    addresses: BTreeMap<AddressPrefix, AddressEntry>,
    policy: BTreeMap<PolicyPrefix, PolicyEntry>,
    endpoints: BTreeMap<u32, EndpointEntry>,
    own_addresses: BTreeMap<OwnAddressKey, u32>,
    services: BTreeMap<TransportAddress, ServiceEntry>,
}

impl Held {
    fn of(tables: &Tables) -> Self {
        Self {
            addresses: tables.addresses.iter().copied().collect(),
            policy: tables.policy.iter().copied().collect(),
            endpoints: tables.endpoints.iter().copied().collect(),
            own_addresses: tables.own_addresses.iter().copied().collect(),
            services: tables.services.iter().copied().collect(),
        }
    }

    fn in_force(generation: u64) -> Self {
        let slot = u32::from(generation % 2 == 1);
        let addresses: LpmTrie<MapData, Address, AddressEntry> = inner(names::ADDRESSES, slot);
        let policy: LpmTrie<MapData, PolicyKeyData, PolicyEntry> = inner(names::POLICY, slot);
        let prefix = |key: &Key<Address>| AddressPrefix { address: key.data(), bits: key.prefix_len() };
        let rule = |key: &Key<PolicyKeyData>| PolicyPrefix { data: key.data(), bits: key.prefix_len() };
        let addresses = addresses.iter().map(Result::unwrap).map(|(key, entry)| (prefix(&key), entry)).collect();
        let policy = policy.iter().map(Result::unwrap).map(|(key, entry)| (rule(&key), entry)).collect();
        Self {
            addresses,
            policy,
            endpoints: hash(names::ENDPOINTS, slot),
            own_addresses: hash(names::OWN_ADDRESSES, slot),
            services: hash(names::SERVICES, slot),
        }
    }
}

fn inner<M: InnerMap + aya::maps::FromMapData>(name: &str, slot: u32) -> M {
    let outer = MapData::from_pin(maps(Path::new(&folder())).join(name)).unwrap();
    let outer = ArrayOfMaps::<_, M>::try_from(aya::maps::Map::ArrayOfMaps(outer)).unwrap();
    outer.get(&slot, 0).unwrap()
}

fn hash<K: aya::Pod + Ord, V: aya::Pod>(name: &str, slot: u32) -> BTreeMap<K, V> {
    let map: HashMap<MapData, K, V> = inner(name, slot);
    map.iter().map(Result::unwrap).collect()
}

/// Tables of a few of many things.
fn random_tables(random: &mut fastrand::Rng) -> Tables {
    let mut tables = if random.bool() { World::isolated() } else { World::open() }.tables();
    let many = random.usize(0..400);
    for host in random.choose_multiple(0..600_u32, many) {
        let [.., high, low] = host.to_be_bytes();
        let address = address([10, 9, high, low].into());
        let interface = if random.u8(..) == 0 { 5 } else { 0 };
        let entry = AddressEntry { class: random.u32(0..3), identity: host, interface, ..OTHER };
        tables.addresses.put((AddressPrefix { address, bits: 128 }, entry));
    }
    for number in 0..random.u32(0..40) {
        let data = PolicyKeyData::new(7, random.u32(0..50) * 64 + number, 6, 443);
        tables.policy.put((PolicyPrefix { data, bits: 96 }, PolicyEntry { rule_set: number, outcome: 0 }));
        let frontend = TransportAddress { address: address([10, 8, 0, 1].into()), port: 1, protocol: 6, zero: 0 };
        let port = u16::try_from(number).unwrap() + random.u16(0..2) * 100;
        let entry = ServiceEntry { service: random.u32(0..3), ..ServiceEntry::default() };
        tables.services.put((TransportAddress { port, ..frontend }, entry));
    }
    tables
}

#[test]
fn the_maps_in_force_hold_what_was_put_in_force_whatever_came_before() {
    isolated(|| {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut kernel = Kernel::new();
        let mut tables = Tables::default();
        let mut in_place = 0;
        for step in 0..60 {
            // Mostly a few addresses come and go.
            if random.u8(..) < 100 {
                tables = random_tables(&mut random);
            }
            for _ in 0..random.usize(0..5) {
                if tables.addresses.is_empty() || random.bool() {
                    let [.., low] = random.u32(..).to_be_bytes();
                    let prefix = AddressPrefix { address: address([10, 7, 0, low].into()), bits: 128 };
                    tables.addresses.put((prefix, AddressEntry { identity: random.u32(..), ..OTHER }));
                } else {
                    let place = random.usize(..tables.addresses.len());
                    let (prefix, _) = *tables.addresses.iter().nth(place).unwrap();
                    tables.addresses.take(&prefix);
                }
            }
            let before = kernel.control.generation();
            let generation = kernel.control.activate(&tables).unwrap();
            in_place += u32::from(generation == before + 2);
            assert_eq!(Held::in_force(generation), Held::of(&tables), "seed {seed}, step {step}");
            if step == 40 {
                // Another agent does not know what is there.
                drop(kernel);
                kernel = Kernel::new();
            }
        }
        assert!(in_place > 10, "seed {seed}: {in_place} in place");
    });
}

#[test]
fn packets_meanwhile_see_one_of_the_two() {
    isolated(|| {
        let mut kernel = Kernel::with(&podwitness_datapath::Options {
            connections: 1 << 17,
            denials: 1 << 17,
            ring_bytes: 1 << 24,
            ..options()
        });
        let (allowed, denied) = (with_peers(|_| {}), with_peers(|entry| *entry = OTHER));
        kernel.control.activate(&allowed).unwrap();
        let (sent, mut changes) = (AtomicU64::new(0), 0);
        thread::scope(|scope| {
            let sent = &sent;
            let senders = [0, 1].map(|half| scope.spawn(move || send(sent, half)));
            while sent.load(Ordering::Relaxed) < PACKETS && !senders.iter().any(ScopedJoinHandle::is_finished) {
                kernel.control.activate(&denied).unwrap();
                kernel.control.activate(&allowed).unwrap();
                changes += 2;
            }
        });
        println!("{changes} changes");
        let (mut opened, mut refused) = (0, 0);
        let mut right = |peer, verdict, rule_set| match (peer, verdict, rule_set) {
            (PEER_IDENTITY, verdict, TO_PEER_HTTPS) if verdict == Verdict::Allow.number() => opened += 1,
            (peer, verdict, EGRESS_ISOLATING) if peer == OTHER.identity && verdict == Verdict::Deny.number() => {
                refused += 1;
            }
            other => panic!("half of one and half of the other: {other:?}"),
        };
        for event in kernel.events() {
            right(event.peer, event.verdict, event.rule_set);
        }
        for (key, _) in kernel.drain().0 {
            right(key.peer, key.verdict, key.rule_set);
        }
        assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
    });
}

/// First packets of connections that are sent while tables change.
const PACKETS: u64 = 20_000;

/// Runs the first packets of connections, each from another port, until enough were sent by all.
fn send(sent: &AtomicU64, half: u16) {
    let mut loader = EbpfLoader::new();
    for name in names::MAPS {
        loader.map_pin_path(name, maps(Path::new(&folder())).join(name));
    }
    let mut programs: Ebpf = loader.load(podwitness_ebpf_object::bytes()).unwrap();
    let program: &mut SchedClassifier = programs.program_mut(names::PROGRAM_FROM_POD).unwrap().try_into().unwrap();
    program.load().unwrap();
    for port in (1024..32_000).cycle().take_while(|_| sent.fetch_add(1, Ordering::Relaxed) < PACKETS) {
        let family = families()[usize::from(port % 2)];
        let mut pair = family.https();
        pair.pod.set_port(half * 32_000 + port);
        let frame = pair.tcp(OUT, SYN, 1);
        program.test_run(TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() }).unwrap();
    }
}
