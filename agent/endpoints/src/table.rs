//! What is known of each file in the folder, and when to look at it again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::monitor::Change;
use crate::namespace::{Pod, ReadError, Reading};
use crate::snapshot::{Endpoint, Fault, Snapshot, Unhooked};

/// Looked at again this soon after something changed.
const SOONEST: Duration = Duration::from_millis(20);
/// What is incomplete is looked at again after a 25th of the time since it last changed, at the latest after this:
/// what is slow to come is then found 4% late.
const INCOMPLETE: (u32, Duration) = (25, Duration::from_secs(1));
/// What is complete still may get a second address or interface.
const COMPLETE: (u32, Duration) = (4, Duration::from_secs(10));
/// What is wrong for less than this is a namespace being made or ended, and nothing to report.
const GRACE: Duration = Duration::from_secs(1);

struct Problem {
    since: Instant,
    message: String,
}

struct Entry {
    pod: Option<Pod>,
    problem: Option<Problem>,
    complete: bool,
    /// When it was last seen to change, or there was reason to think that it does.
    changed: Instant,
    due: Instant,
}

/// The files of the folder, by name.
pub(crate) struct Table {
    folder: PathBuf,
    entries: BTreeMap<OsString, Entry>,
}

impl Table {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, entries: BTreeMap::new() }
    }

    /// A file is there, newly or again.
    pub(crate) fn appeared(&mut self, name: OsString, now: Instant) {
        let fresh = Entry { pod: None, problem: None, complete: false, changed: now, due: now };
        self.entries.entry(name).or_insert(fresh).touch(now);
    }

    /// A file is there no more.
    pub(crate) fn disappeared(&mut self, name: &OsStr) {
        self.entries.remove(name);
    }

    /// These files are there, and no others. Those already known are not looked at for that.
    pub(crate) fn listed(&mut self, names: BTreeSet<OsString>, now: Instant) {
        self.entries.retain(|name, _| names.contains(name));
        for name in names {
            if !self.entries.contains_key(&name) {
                self.appeared(name, now);
            }
        }
    }

    /// An event says where to look again.
    pub(crate) fn changed(&mut self, change: Change, now: Instant) {
        let known = |id| self.entries.values().any(|entry| entry.has_id(id));
        let unknown = matches!(change, Change::Inside { id } if !known(id));
        for entry in self.entries.values_mut() {
            let concerned = match change {
                // One that has no such interface yet may be getting it.
                Change::Link { index, peer } => {
                    entry.has_interface(index) || peer.is_some_and(|id| entry.has_id(id)) || !entry.complete
                }
                Change::Inside { id } => entry.has_id(id) || (unknown && !entry.complete),
                Change::Address => false,
                Change::Lost => true,
            };
            if concerned {
                entry.touch(now);
            }
        }
    }

    /// When the next file is to be looked at.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().map(|entry| entry.due).min()
    }

    /// Looks at the files that are due, with `read`.
    pub(crate) fn read_due(&mut self, now: Instant, mut read: impl FnMut(&Path) -> Result<Reading, ReadError>) {
        let folder = &self.folder;
        self.entries.retain(|name, entry| entry.due > now || entry.update(read(&folder.join(name)), now));
    }

    /// Everything known, as a snapshot.
    pub(crate) fn snapshot(&self, host_addresses: Vec<IpAddr>, mut faults: Vec<Fault>, now: Instant) -> Snapshot {
        let mut endpoints = Vec::new();
        let mut unhooked = Vec::new();
        let mut seen = HashSet::new();
        for (name, entry) in &self.entries {
            let text = name.to_string_lossy();
            if let Some(problem) = entry.problem.as_ref().filter(|problem| now - problem.since >= GRACE) {
                faults.push(Fault { path: self.folder.join(name), message: problem.message.clone() });
            }
            let Some(pod) = entry.pod.as_ref().filter(|pod| seen.insert(pod.inode)) else { continue };
            endpoints.extend(pod.veths.iter().map(|veth| Endpoint {
                name: text.clone().into_owned(),
                interface: veth.interface,
                interface_name: veth.interface_name.clone(),
                addresses: veth.addresses.clone(),
            }));
            unhooked.extend(pod.ways_past.iter().map(|way| Unhooked {
                name: text.clone().into_owned(),
                interface: way.interface.clone(),
                kind: way.kind.clone(),
                reason: way.reason.to_owned(),
            }));
        }
        endpoints.sort_unstable();
        unhooked.sort_unstable();
        faults.sort_unstable();
        Snapshot { endpoints, unhooked, host_addresses, faults }
    }
}

impl Entry {
    fn touch(&mut self, now: Instant) {
        self.changed = now;
        self.due = now;
    }

    fn has_interface(&self, index: u32) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.veths.iter().any(|veth| veth.interface == index))
    }

    fn has_id(&self, id: i32) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.id == Some(id))
    }

    /// Takes in a reading; false when the file is gone.
    fn update(&mut self, reading: Result<Reading, ReadError>, now: Instant) -> bool {
        let (pod, message) = match reading {
            Ok(Reading::Gone) => return false,
            Ok(Reading::Folder | Reading::Host) => {
                self.complete = true;
                (None, None)
            }
            Ok(Reading::NotMounted) => {
                self.complete = false;
                (None, Some("no network namespace is mounted on the file; remove it if nothing uses it".to_owned()))
            }
            Ok(Reading::Pod(pod)) => {
                self.complete = is_complete(&pod);
                (Some(pod), None)
            }
            // What was last seen stays true until it is known to be otherwise.
            Err(error) => {
                self.complete = false;
                (self.pod.take(), Some(error.to_string()))
            }
        };
        let problem = message.map(|message| {
            let since = self.problem.as_ref().map_or(now, |problem| problem.since);
            Problem { since, message }
        });
        if self.pod != pod || self.problem.is_some() != problem.is_some() {
            self.changed = now;
        }
        self.pod = pod;
        self.problem = problem;
        let (part, at_most) = if self.complete { COMPLETE } else { INCOMPLETE };
        self.due = now + ((now - self.changed) / part).max(SOONEST).min(at_most);
        true
    }
}

/// Whether each interface has an address that it did not give itself.
fn is_complete(pod: &Pod) -> bool {
    let assigned = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let some = !pod.veths.is_empty() || !pod.ways_past.is_empty();
    some && pod.veths.iter().all(|veth| veth.addresses.iter().any(assigned))
}

#[cfg(test)]
mod tests;
