//! The way from the maps of an older layout to those of this one.
//!
//! Until the hooks' programs are replaced, the older programs decide by the older tables. Then:
//!
//! 1. connections are carried over, so that the new programs know them from their first packet on;
//! 2. each link takes the new program in one step, by tables that are in force;
//! 3. connections that were opened meanwhile are carried over too;
//! 4. what is in the older ring and tables is brought out to its end, while the new ones fill;
//! 5. the older maps are removed, the connections first: from then on nothing is carried over any more, and the sweep
//!    may delete what has ended.
//!
//! An agent that is killed on the way leaves the older maps there, and the next one begins again with the first step;
//! what was carried over already is left as it is. The older ring keeps its id and position until its end was
//! acknowledged, so that each of its records comes out once.
//!
//! A connection that is opened, or a packet that is counted, between the first step and the second has its share: a
//! packet of such a connection that comes to the new program before the third step is decided by itself, and where it is
//! allowed it opens the connection a second time. The totals lack what a carried connection transported in between.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use podwitness_wire::{Connection, ConnectionKey, LAYOUT, bits, names};

use crate::{
    Error,
    denials::Counted,
    layout1,
    pins::{Pins, pin_error, remove_pins, unpin},
    records::{Kept, Records},
    ring::Ring,
    shared_state::SharedState,
};

/// `BPF_NOEXIST`: insert, or leave what is there.
const NO_REPLACE: u64 = 1;

/// The conversion below is from layout 1 to this one.
const _: () = assert!(LAYOUT == 2, "a new layout needs its conversion from the one before");

/// The maps of layout 1.
pub(crate) struct Older {
    connections: HashMap<MapData, ConnectionKey, layout1::Connection>,
    capacity: u32,
    records: Kept<layout1::Event, layout1::DenialKey>,
}

impl Older {
    /// Opens the maps of layout 1 where there are any.
    pub(crate) fn open(pins: &Pins) -> Result<Option<Self>, Error> {
        let folder = pins.first_maps();
        if !folder.exists() {
            return Ok(None);
        }
        if !folder.join(names::CONNECTIONS).exists() {
            // Everything was brought out, and the agent was killed while it removed the rest.
            remove(pins)?;
            return Ok(None);
        }
        let open = |name: &'static str| open(&folder, name);
        let connections = open(names::CONNECTIONS)?;
        let info = connections.info().map_err(Error::map("look at", names::CONNECTIONS))?;
        if info.value_size() as usize != size_of::<layout1::Connection>() {
            return Err(Error::UnknownLayout { path: folder });
        }
        let events = open(names::EVENTS)?;
        let ring_info = events.info().map_err(Error::map("look at", names::EVENTS))?;
        let state = open(names::STATE)?;
        let records = Kept {
            ring: Ring::new(events.fd(), ring_info.max_entries())?,
            ring_id: ring_info.id(),
            counted: Counted {
                denials: hash(open(names::DENIALS)?, names::DENIALS)?,
                losses: hash(open(names::LOSSES)?, names::LOSSES)?,
            },
            state: Arc::new(SharedState::new(state.fd())?),
        };
        let connections = hash(connections, names::CONNECTIONS)?;
        Ok(Some(Self { connections, capacity: info.max_entries(), records }))
    }

    /// How many connections the older table has room for.
    pub(crate) fn connection_capacity(&self) -> u32 {
        self.capacity
    }

    /// Has generations and epochs of the new state go on from those of the older one.
    pub(crate) fn pass_numbers_on(&self, state: &SharedState) {
        let older = &self.records.state;
        if state.generation() < older.generation() {
            state.set_generation(older.generation());
        }
        while state.epoch() <= older.epoch() {
            state.turn_epoch();
        }
    }

    /// What is to be brought out, and what is to be carried over into the new table.
    pub(crate) fn split(self, newer: HashMap<MapData, ConnectionKey, Connection>) -> (Box<dyn Records>, Carry) {
        let carry = Carry { older: self.connections, newer, is_replaced: Arc::default() };
        (Box::new(self.records), carry)
    }
}

/// The connections of the older table, on their way into the new one.
pub(crate) struct Carry {
    older: HashMap<MapData, ConnectionKey, layout1::Connection>,
    newer: HashMap<MapData, ConnectionKey, Connection>,
    is_replaced: Arc<AtomicBool>,
}

impl Carry {
    /// Tells when no hook runs an older program any more.
    pub(crate) fn is_replaced(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_replaced)
    }

    /// Carries over while the older programs run: as often as it takes until few are missing.
    pub(crate) fn ahead(&mut self) -> Result<(), Error> {
        /// So many connections are carried over within a fraction of a millisecond.
        const FEW: usize = 16;
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            if self.round(bits::DELETING | bits::REOPENING)? <= FEW {
                break;
            }
        }
        Ok(())
    }

    /// Carries over what is left when the older programs have ended.
    pub(crate) fn rest(&mut self) -> Result<(), Error> {
        self.round(bits::DELETING).map(drop)
    }

    pub(crate) fn finish(&self) {
        self.is_replaced.store(true, Ordering::Release);
    }

    /// Inserts what the new table has not, and returns how many those were.
    fn round(&mut self, but: u64) -> Result<usize, Error> {
        let mut inserted = 0;
        for entry in &self.older {
            let (key, connection) = entry.map_err(Error::map("read", names::CONNECTIONS))?;
            if connection.bits & but != 0 {
                continue;
            }
            let connection = Connection { bits: connection.bits & !bits::REOPENING, ..Connection::from(connection) };
            match self.newer.insert(key, connection, NO_REPLACE) {
                Ok(()) => inserted += 1,
                Err(error) if is_there(&error) => {}
                Err(source) => return Err(Error::map("fill", names::CONNECTIONS)(source)),
            }
        }
        Ok(inserted)
    }
}

fn is_there(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::EEXIST))
}

/// What comes after the older maps.
pub(crate) struct HandOver {
    pub(crate) newer: Box<dyn Records>,
    pub(crate) pins: Pins,
    pub(crate) is_replaced: Arc<AtomicBool>,
}

impl HandOver {
    /// Whether no older program runs any more.
    pub(crate) fn is_due(&self) -> bool {
        self.is_replaced.load(Ordering::Acquire)
    }

    /// Removes the older maps, which must be drained.
    pub(crate) fn remove_older(&self) -> Result<(), Error> {
        unpin(&self.pins.first_maps().join(names::CONNECTIONS))?;
        remove(&self.pins)
    }
}

/// Removes the maps of layout 1, save for the counters, which are kept under this layout's folder.
fn remove(pins: &Pins) -> Result<(), Error> {
    let folder = pins.first_maps();
    let counters = folder.join(names::COUNTERS);
    match fs::rename(&counters, pins.first_counters()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(pin_error("move", &counters)(error)),
        _ => {}
    }
    remove_pins(&folder)
}

/// The counters of layout 1, wherever they are.
pub(crate) fn counters(pins: &Pins) -> Result<Option<PerCpuArray<MapData, u64>>, Error> {
    let (before, after) = (pins.first_maps().join(names::COUNTERS), pins.first_counters());
    let Some(path) = [before, after].into_iter().find(|path| path.exists()) else { return Ok(None) };
    let map = MapData::from_pin(&path).map_err(Error::map("open", names::COUNTERS))?;
    PerCpuArray::try_from(Map::PerCpuArray(map)).map(Some).map_err(Error::map("use", names::COUNTERS))
}

fn open(folder: &Path, name: &'static str) -> Result<MapData, Error> {
    MapData::from_pin(folder.join(name)).map_err(Error::map("open", name))
}

fn hash<K: aya::Pod, V: aya::Pod>(map: MapData, name: &'static str) -> Result<HashMap<MapData, K, V>, Error> {
    HashMap::try_from(Map::HashMap(map)).map_err(Error::map("use", name))
}
