//! An open datapath, and a second copy of its programs over the same maps, through which packets are run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use podwitness_datapath::{
    Attachment, Control, Counters, Datapath, DenialRecord, Hooking, LossRecord, Options, Outlet, Position, Sweep,
};
use podwitness_wire::{
    Connection, ConnectionKey, ConnectionTimeouts, Counter, Denial, DenialKey, Direction, Event, EventKind, LAYOUT,
    Loss, LossKey, Reason, Settings, bits, names,
};

use crate::{isolation::BPFFS, world::World};

/// Nothing expires by itself within a test.
pub(crate) const HOUR_NS: u64 = 3_600_000_000_000;
/// Bytes of an event in the ring.
const RECORD_BYTES: u64 = size_of::<Event>() as u64 + 8;

pub(crate) fn folder() -> String {
    format!("{BPFFS}/podwitness")
}

pub(crate) fn options() -> Options {
    Options {
        bpffs: folder().into(),
        connections: 1024,
        denials: 1024,
        ring_bytes: 1 << 16,
        settings: Settings { timeouts: timeouts(HOUR_NS), close_after: HOUR_NS, progress: HOUR_NS },
        attachment: Attachment::Auto,
    }
}

/// The same time-out for all.
pub(crate) fn timeouts(ns: u64) -> ConnectionTimeouts {
    ConnectionTimeouts {
        tcp_syn: ns,
        tcp_established: ns,
        tcp_fin: ns,
        tcp_time_wait: ns,
        tcp_close: ns,
        udp: ns,
        udp_stream: ns,
        icmp: ns,
        generic: ns,
    }
}

/// What the program said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Next,
    Drop,
}

/// Counters that moved, and by how much.
pub(crate) type Moved = BTreeMap<Counter, u64>;

/// What became of a packet.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) action: Action,
    direction: Direction,
    moved: Moved,
}

/// The counters of a connection's first packet.
pub(crate) const OPENED: [Counter; 4] =
    [Counter::ConnectionsOpened, Counter::RecordsOwed, Counter::EventsOffered, Counter::EventsAccepted];

impl Sent {
    /// It passed, and these counters moved by one, beside that of packets, and no other.
    #[track_caller]
    pub(crate) fn passed(&self, counters: &[Counter]) {
        self.assert(Action::Next, counters);
    }

    /// It was dropped, and these counters moved by one, beside those of packets and drops, and no other.
    #[track_caller]
    pub(crate) fn dropped(&self, counters: &[Counter]) {
        self.assert(Action::Drop, counters);
    }

    #[track_caller]
    fn assert(&self, action: Action, counters: &[Counter]) {
        let mut expected: Moved = counters.iter().map(|counter| (*counter, 1)).collect();
        expected.insert(packets(self.direction), 1);
        if action == Action::Drop {
            expected.insert(Counter::PacketsDropped, 1);
        }
        assert_eq!((self.action, &self.moved), (action, &expected));
    }

    pub(crate) fn has_moved(&self, counter: Counter) -> bool {
        self.moved.contains_key(&counter)
    }
}

fn packets(direction: Direction) -> Counter {
    match direction {
        Direction::Egress => Counter::PacketsOut,
        Direction::Ingress => Counter::PacketsIn,
    }
}

pub(crate) struct Kernel {
    pub(crate) control: Control,
    pub(crate) hooking: Hooking,
    pub(crate) outlet: Outlet,
    programs: Ebpf,
    position: Position,
    counters: Counters,
    /// Losses and denied attempts that were drained, and events that were read.
    drained_losses: u64,
    drained_ring_losses: u64,
    drained_attempts: u64,
    read: u64,
}

impl Kernel {
    /// A datapath without tables.
    pub(crate) fn new() -> Self {
        Self::with(&options())
    }

    /// A datapath with a world's tables in force.
    pub(crate) fn of(world: &World) -> Self {
        let mut kernel = Self::new();
        kernel.activate(world);
        kernel
    }

    pub(crate) fn with(options: &Options) -> Self {
        let Datapath { control, hooking, outlet, .. } = Datapath::open(options).unwrap();
        let mut loader = EbpfLoader::new();
        for name in names::MAPS {
            loader.map_pin_path(name, maps(&options.bpffs).join(name));
        }
        let mut programs = loader.load(podwitness_ebpf_object::bytes()).unwrap();
        for name in [names::PROGRAM_FROM_POD, names::PROGRAM_TO_POD] {
            classifier(&mut programs, name).load().unwrap();
        }
        Self {
            position: outlet.acknowledged(),
            counters: outlet.counters().unwrap(),
            control,
            hooking,
            outlet,
            programs,
            drained_losses: 0,
            drained_ring_losses: 0,
            drained_attempts: 0,
            read: 0,
        }
    }

    pub(crate) fn activate(&mut self, world: &World) -> u64 {
        self.control.activate(&world.tables()).unwrap()
    }

    /// Runs a packet through the hook of its direction.
    pub(crate) fn send(&mut self, direction: Direction, frame: &[u8]) -> Sent {
        let name = match direction {
            Direction::Egress => names::PROGRAM_FROM_POD,
            Direction::Ingress => names::PROGRAM_TO_POD,
        };
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let result = self.program(name).test_run(options).unwrap();
        let action = match result.return_value {
            u32::MAX => Action::Next,
            2 => Action::Drop,
            other => panic!("the program returned {other}"),
        };
        Sent { action, direction, moved: self.moved() }
    }

    /// The second copy of a program.
    pub(crate) fn program(&mut self, name: &str) -> &mut SchedClassifier {
        classifier(&mut self.programs, name)
    }

    /// The counters that moved since the last packet or sweep.
    pub(crate) fn moved(&mut self) -> Moved {
        let now = self.outlet.counters().unwrap();
        let before = std::mem::replace(&mut self.counters, now);
        Counter::ALL
            .iter()
            .map(|counter| (*counter, self.counters.get(*counter) - before.get(*counter)))
            .filter(|(_, difference)| *difference != 0)
            .collect()
    }

    /// Sweeps, and returns the counters that moved.
    pub(crate) fn sweep(&mut self) -> (Sweep, Moved) {
        let result = self.outlet.sweep().unwrap();
        (result, self.moved())
    }

    /// Reads every event that is there, and acknowledges it.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.position = self.outlet.read_events(self.position, usize::MAX >> 1, &mut events);
        self.outlet.acknowledge_events(self.position);
        self.read += events.len() as u64;
        events
    }

    /// The one event that there is.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Event {
        let events = self.events();
        assert_eq!(events.len(), 1, "{events:#?}");
        events[0]
    }

    /// The kinds of the events that there are.
    pub(crate) fn kinds(&mut self) -> Vec<EventKind> {
        self.events().iter().map(|event| EventKind::from_number(event.kind).unwrap()).collect()
    }

    /// Turns the epoch, and drains what was counted before.
    pub(crate) fn drain(&mut self) -> (Vec<DenialRecord>, Vec<LossRecord>) {
        let epoch = self.outlet.turn_epoch().unwrap();
        let (denials, losses) = self.outlet.counted_through(epoch).unwrap();
        self.outlet.remove_counted(epoch).unwrap();
        self.drained_attempts += denials.iter().map(|(_, denial)| denial.attempts).sum::<u64>();
        let (all, ring) = lost(&losses);
        self.drained_losses += all;
        self.drained_ring_losses += ring;
        (denials, losses)
    }

    /// The one denial that there is.
    #[track_caller]
    pub(crate) fn denial(&mut self) -> DenialRecord {
        let (denials, losses) = self.drain();
        assert_eq!((denials.len(), losses.len()), (1, 0), "{denials:#?} {losses:#?}");
        denials[0]
    }

    pub(crate) fn connections(&self) -> Vec<(ConnectionKey, Connection)> {
        self.table(names::CONNECTIONS)
    }

    fn table<K: aya::Pod, V: aya::Pod>(&self, name: &str) -> Vec<(K, V)> {
        let table: HashMap<_, K, V> = self.programs.map(name).unwrap().try_into().unwrap();
        table.iter().map(Result::unwrap).collect()
    }

    /// Inserts entries until the table takes no more.
    pub(crate) fn fill<K: aya::Pod, V: aya::Pod>(&mut self, name: &str, entry: impl Fn(u32) -> (K, V)) {
        let mut table: HashMap<_, K, V> = self.programs.map_mut(name).unwrap().try_into().unwrap();
        let mut is_full = |number| {
            let (key, value) = entry(number);
            table.insert(key, value, 0).is_err()
        };
        (0..1_000_000).find(|number| is_full(*number)).expect("a table is full at some time");
    }

    pub(crate) fn set_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings: Array<_, Settings> = self.programs.map_mut(names::SETTINGS).unwrap().try_into().unwrap();
        let mut value = settings.get(&0, 0).unwrap();
        change(&mut value);
        settings.set(0, value, 0).unwrap();
    }

    /// Asserts that nothing was lost between the connection table, the ring and the reader without being counted.
    #[track_caller]
    pub(crate) fn assert_balance(&self) {
        let counters = self.outlet.counters().unwrap();
        let get = |counter| counters.get(counter);
        let connections = self.connections();
        let still_owed: u64 = connections
            .iter()
            .map(|(_, connection)| u64::from((connection.bits & (bits::OWES_OPEN | bits::OWES_CHANGE)).count_ones()))
            .sum();
        let (all_losses, ring_losses) = lost(&self.table::<LossKey, Loss>(names::LOSSES));
        let attempts: u64 =
            self.table::<DenialKey, Denial>(names::DENIALS).iter().map(|(_, denial)| denial.attempts).sum();
        let unread = self.outlet.waiting_bytes(self.position) / RECORD_BYTES;
        let lost_from_ring = self.drained_ring_losses + ring_losses;
        let facts = format!(
            "owed {}, accepted {}, offered {}, refused {}, read {}, unread {unread}, lost {} (from the ring \
             {lost_from_ring}), still owed {still_owed}, connections {connections:#?}",
            get(Counter::RecordsOwed),
            get(Counter::EventsAccepted),
            get(Counter::EventsOffered),
            get(Counter::EventsRefused),
            self.read,
            get(Counter::RecordsLost),
        );
        assert_eq!(get(Counter::EventsOffered), get(Counter::EventsAccepted) + get(Counter::EventsRefused), "{facts}");
        assert_eq!(get(Counter::EventsAccepted), self.read + unread, "{facts}");
        assert_eq!(get(Counter::RecordsOwed), get(Counter::EventsAccepted) + lost_from_ring + still_owed, "{facts}");
        assert_eq!(
            get(Counter::RecordsLost),
            self.drained_losses + all_losses + get(Counter::LossesUnattributed),
            "{facts}"
        );
        assert_eq!(get(Counter::DeniedAttempts), self.drained_attempts + attempts, "{facts}");
    }
}

/// All that was lost, and what of it was lost because the ring was full.
fn lost(losses: &[LossRecord]) -> (u64, u64) {
    let ring = u32::from(Reason::RingFull.number());
    let all = losses.iter().map(|(_, loss)| loss.count).sum();
    (all, losses.iter().filter(|(key, _)| key.reason == ring).map(|(_, loss)| loss.count).sum())
}

fn classifier<'a>(programs: &'a mut Ebpf, name: &str) -> &'a mut SchedClassifier {
    programs.program_mut(name).unwrap().try_into().unwrap()
}

/// Where the maps of the present layout are pinned.
pub(crate) fn maps(bpffs: &Path) -> PathBuf {
    bpffs.join(format!("v{LAYOUT}/maps"))
}

/// Whether there is nothing at a path.
pub(crate) fn is_gone(path: impl AsRef<Path>) -> bool {
    !path.as_ref().exists()
}
