//! Loads the programs over the pinned maps.

use std::{io, os::fd::AsFd as _, path::PathBuf, sync::Arc};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray},
    programs::SchedClassifier,
};
use podwitness_wire::{Connection, ConnectionKey, DenialKey, Event, Settings, names};

use crate::{
    Control, Error, Hooking, Outlet,
    denials::Counted,
    grace::Grace,
    hooks::{Attachment, Hooks},
    older::{self, HandOver, Older},
    pins::{Pins, pin_error, unpin},
    records::{Kept, Records},
    ring::Ring,
    shared_state::SharedState,
    slots::Slots,
};

/// What the datapath needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder for pins, on a BPF file system. It is made if it is not there.
    pub bpffs: PathBuf,
    /// How many connections are remembered.
    pub connections: u32,
    /// How many kinds of denied attempts are counted apart within one epoch.
    pub denials: u32,
    /// Bytes of the ring buffer: a power of two and a multiple of the page's size.
    pub ring_bytes: u32,
    /// Time-outs and intervals.
    pub settings: Settings,
    /// By what interfaces are hooked.
    pub attachment: Attachment,
}

/// The parts of an open datapath.
pub struct Datapath {
    /// What is in force.
    pub control: Control,
    /// Where.
    pub hooking: Hooking,
    /// What happened.
    pub outlet: Outlet,
    /// The maps that were there already with another size than the options say.
    pub kept_sizes: Vec<KeptSize>,
    /// Whether an agent of this boot had made the maps before.
    pub is_taken_over: bool,
}

/// A map that keeps the size with which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSize {
    /// The map's name, one of [`names`].
    pub map: &'static str,
    /// What the options say: entries, or bytes of the ring.
    pub wanted: u32,
    /// What it has.
    pub kept: u32,
}

impl Datapath {
    /// Loads the programs, over the maps that are pinned or over new ones, which it pins.
    ///
    /// Maps that are there keep their contents and their size: a size that was changed in the configuration holds from
    /// the next time that they are made. Of maps of an older layout, the connections are carried over and the records
    /// brought out to their end, while enforcement goes on by the old programs until
    /// [`Hooking::set`] replaces them.
    ///
    /// # Errors
    ///
    /// [`Error::NewerLayout`] and [`Error::UnknownLayout`] where this version cannot read what another has left.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let pins = Pins::new(&options.bpffs);
        pins.create()?;
        let lock = pins.lock()?;

        let older = Older::open(&pins)?;
        // What is remembered must find room.
        let connections = options.connections.max(older.as_ref().map_or(0, Older::connection_capacity));

        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries(names::CONNECTIONS, connections)
            .map_max_entries(names::DENIALS, options.denials)
            .map_max_entries(names::EVENTS, options.ring_bytes);
        for name in names::MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
        let mut programs = loader.load(podwitness_ebpf_object::bytes())?;
        for name in [names::PROGRAM_FROM_POD, names::PROGRAM_TO_POD, names::PROGRAM_SWEEP, names::PROGRAM_LEARN] {
            classifier(&mut programs, name)?.load().map_err(|source| Error::Program { program: name, source })?;
        }

        let mut take = |name| programs.take_map(name).ok_or(Error::Missing { name });
        let state_map = map_data(take(names::STATE)?, names::STATE)?;
        let state = Arc::new(SharedState::new(state_map.fd().as_fd())?);
        if let Some(older) = &older {
            // Numbers are not given twice within a boot.
            older.pass_numbers_on(&state);
        }
        let is_taken_over = state.epoch() != 0 || older.is_some();
        if state.epoch() == 0 {
            // Epochs begin with 1, so that a checkpoint's 0 means that none was drained.
            state.turn_epoch();
        }
        let mut settings: Array<MapData, Settings> =
            take(names::SETTINGS)?.try_into().map_err(Error::map("use", names::SETTINGS))?;
        settings.set(0, options.settings, 0).map_err(Error::map("set", names::SETTINGS))?;
        let grace = Arc::new(Grace::new(&mut take)?);
        let slots = Slots::new(&mut take)?;
        let events = map_data(take(names::EVENTS)?, names::EVENTS)?;
        let info = events.info().map_err(Error::map("look at", names::EVENTS))?;
        let ring = Ring::<Event>::new(events.fd().as_fd(), info.max_entries())?;
        let denials = map_data(take(names::DENIALS)?, names::DENIALS)?;
        let connections = map_data(take(names::CONNECTIONS)?, names::CONNECTIONS)?;
        let capacity =
            |map: &MapData, name| map.info().map(|info| info.max_entries()).map_err(Error::map("look at", name));
        let connection_capacity = capacity(&connections, names::CONNECTIONS)?;
        let kept_sizes = [
            (names::CONNECTIONS, options.connections, connection_capacity),
            (names::DENIALS, options.denials, capacity(&denials, names::DENIALS)?),
            (names::EVENTS, options.ring_bytes, info.max_entries()),
        ];
        let kept_sizes = kept_sizes
            .into_iter()
            .filter(|(_, wanted, kept)| wanted != kept)
            .map(|(map, wanted, kept)| KeptSize { map, wanted, kept });
        let denials: HashMap<MapData, DenialKey, _> =
            Map::HashMap(denials).try_into().map_err(Error::map("use", names::DENIALS))?;
        let connections: HashMap<MapData, ConnectionKey, Connection> =
            Map::HashMap(connections).try_into().map_err(Error::map("use", names::CONNECTIONS))?;
        let losses: HashMap<MapData, _, _> =
            take(names::LOSSES)?.try_into().map_err(Error::map("use", names::LOSSES))?;
        let counters: PerCpuArray<MapData, u64> =
            take(names::COUNTERS)?.try_into().map_err(Error::map("use", names::COUNTERS))?;
        let sweep = share_program(&mut programs, names::PROGRAM_SWEEP, &pins)?;
        let learn = share_program(&mut programs, names::PROGRAM_LEARN, &pins)?;

        let newer: Box<dyn Records> = Box::new(Kept {
            ring,
            ring_id: info.id(),
            counted: Counted { denials, losses },
            state: Arc::clone(&state),
        });
        let mut counters = vec![counters];
        counters.extend(older::counters(&pins)?);
        let (records, hand_over, carry) = match older {
            None => (newer, None, None),
            Some(older) => {
                let (records, carry) = older.split(connections);
                let hand_over = HandOver { newer, pins: pins.clone(), is_replaced: carry.is_replaced() };
                (records, Some(hand_over), Some(carry))
            }
        };
        let outlet =
            Outlet { records, hand_over, sweep, learn, counters, connection_capacity, grace: Arc::clone(&grace) };
        let hooks = Hooks::new(pins, options.attachment)?;
        let hooking = Hooking { programs, hooks, grace: Arc::clone(&grace), carry, _lock: Arc::clone(&lock) };
        let control = Control { slots, state, grace, leaving: None, _lock: lock };
        Ok(Self { control, hooking, outlet, kept_sizes: kept_sizes.collect(), is_taken_over })
    }
}

fn classifier<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, Error> {
    let program = programs.program_mut(name).ok_or(Error::Missing { name })?;
    program.try_into().map_err(|source| Error::Program { program: name, source })
}

/// A second handle on a loaded program, which another thread can run. aya gives one by way of a pin alone.
fn share_program(programs: &mut Ebpf, name: &'static str, pins: &Pins) -> Result<SchedClassifier, Error> {
    let pin = pins.program(name);
    unpin(&pin)?;
    classifier(programs, name)?
        .pin(&pin)
        .map_err(|source| pin_error("pin a program at", &pin)(io::Error::other(source)))?;
    SchedClassifier::from_pin(pin).map_err(|source| Error::Program { program: name, source })
}

fn map_data(map: Map, name: &'static str) -> Result<MapData, Error> {
    match map {
        Map::Array(data) | Map::RingBuf(data) | Map::HashMap(data) => Ok(data),
        _ => Err(Error::Missing { name }),
    }
}
