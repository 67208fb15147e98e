//! A disk that fails when it is told to, and that knows what would be left of it after a power loss.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, Os};

/// What a failing call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `EIO`, nothing done.
    Nothing,
    /// `ENOSPC`; a write has written the first half. Anything else does nothing.
    HalfWritten,
    /// `EIO`, although everything was done. A sync is not: nobody can see that.
    Done,
}

impl Fault {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Nothing | Self::Done => 5,
            Self::HalfWritten => 28,
        })
    }
}

/// One disk under several hands.
#[derive(Clone)]
pub(super) struct FaultyDisk(Arc<Mutex<State>>);

struct State {
    fault: Fault,
    failing: Range<usize>,
    calls: usize,
    /// Ours, because the file system's numbers are used again.
    ids: HashMap<u64, usize>,
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<(PathBuf, Option<usize>)>,
}

/// A file as the platter has it, and what only memory has.
#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    dirty: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Content {
    fn sync(&mut self) {
        for change in self.dirty.drain(..) {
            match change {
                Change::Write(offset, bytes) => {
                    let end = offset + bytes.len();
                    self.durable.resize(self.durable.len().max(end), 0);
                    self.durable[offset..end].copy_from_slice(&bytes);
                }
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }
}

impl FaultyDisk {
    /// Fails the calls with these numbers, from 0.
    pub(super) fn new(fault: Fault, failing: Range<usize>) -> Self {
        Self(Arc::new(Mutex::new(State {
            fault,
            failing,
            calls: 0,
            ids: HashMap::new(),
            files: Vec::new(),
            names: BTreeMap::new(),
            pending_names: Vec::new(),
        })))
    }

    pub(super) fn handle(&self) -> Box<dyn Disk> {
        Box::new(self.clone())
    }

    /// Fails the calls with these numbers, and no others any more.
    pub(super) fn fail_calls(&self, failing: Range<usize>) {
        self.0.lock().unwrap().failing = failing;
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    /// Makes a folder with what a power loss now would leave of this one: what was synced, and nothing else.
    pub(super) fn after_power_loss(&self, from: &Path, to: &Path) {
        let state = self.0.lock().unwrap();
        for folder in ["segments", "exporter"] {
            fs::create_dir_all(to.join(folder)).unwrap();
        }
        for (path, &id) in &state.names {
            fs::write(to.join(path.strip_prefix(from).unwrap()), &state.files[id].durable).unwrap();
        }
    }
}

impl State {
    /// Counts the call, and says how it is to fail.
    fn call(&mut self) -> Option<Fault> {
        let failing = self.failing.contains(&self.calls);
        self.calls += 1;
        failing.then_some(self.fault)
    }

    fn content(&mut self, file: &File) -> &mut Content {
        let id = self.ids[&file.metadata().unwrap().ino()];
        &mut self.files[id]
    }

    fn id_of(&self, path: &Path) -> Option<usize> {
        fs::metadata(path).ok().map(|metadata| self.ids[&metadata.ino()])
    }
}

/// Fails as told, or does it.
fn act<T>(fault: Option<Fault>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match fault {
        None => act(),
        Some(Fault::Done) => {
            act()?;
            Err(Fault::Done.error())
        }
        Some(fault) => Err(fault.error()),
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut state = self.0.lock().unwrap();
        let fault = state.call();
        act(fault, || {
            let existing = state.id_of(path);
            let file = Os.create(path)?;
            if let Some(id) = existing {
                state.files[id].dirty.push(Change::Length(0));
            } else {
                let id = state.files.len();
                state.files.push(Content::default());
                state.ids.insert(file.metadata()?.ino(), id);
                state.pending_names.push((path.to_owned(), Some(id)));
            }
            Ok(file)
        })
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let fault = state.call();
        let written = match fault {
            None | Some(Fault::Done) => bytes,
            Some(Fault::HalfWritten) => &bytes[..bytes.len() / 2],
            Some(Fault::Nothing) => &[],
        };
        Os.write(file, written, offset)?;
        let change = Change::Write(usize::try_from(offset).unwrap(), written.to_vec());
        state.content(file).dirty.push(change);
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if let Some(fault) = state.call() {
            // The pages are clean now and were never written: a later sync will succeed without them.
            state.content(file).dirty.clear();
            return Err(fault.error());
        }
        state.content(file).sync();
        Ok(())
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let fault = state.call();
        act(fault, || {
            state.content(file).dirty.push(Change::Length(usize::try_from(length).unwrap()));
            Os.truncate(file, length)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let fault = state.call();
        act(fault, || {
            let id = state.id_of(from);
            state.pending_names.push((from.to_owned(), None));
            state.pending_names.push((to.to_owned(), id));
            Os.rename(from, to)
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if let Some(fault) = state.call() {
            return Err(fault.error());
        }
        for (name, id) in std::mem::take(&mut state.pending_names) {
            match id {
                _ if name.parent() != Some(path) => state.pending_names.push((name, id)),
                Some(id) => drop(state.names.insert(name, id)),
                None => drop(state.names.remove(&name)),
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let fault = state.call();
        act(fault, || {
            state.pending_names.push((path.to_owned(), None));
            let inode = fs::metadata(path)?.ino();
            Os.remove(path)?;
            state.ids.remove(&inode);
            Ok(())
        })
    }
}
