//! The cluster, its clock, and what happens on a day.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fastrand::Rng;
use podwitness_seals::seal::NamespaceRetention;
use podwitness_seals::time::Time;
use podwitness_spool::Record;
use podwitness_store::Store;
use podwitness_tests::sealed_root::{Cluster, DAY as BEGIN, Node, SealedRoot, asks, key, records};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::model::{Model, Wish, Wishes};
use crate::retain::simulated;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// In seconds.
const DAY_SECONDS: i64 = 86_400;

/// Those that ask for something; others have the default.
const NAMESPACES: [&str; 3] = ["bank", "ops", "shop"];
const UNKNOWN: &str = "_unknown";
const MINIMUM: i64 = 3 * DAY_SECONDS;
const DEFAULT: i64 = 12 * DAY_SECONDS;
const NODES: usize = 2;

/// What was done in all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) seals: usize,
    pub(super) files: usize,
    pub(super) rotations: usize,
    pub(super) reboots: usize,
    pub(super) restarts: usize,
    pub(super) lost_states: usize,
    pub(super) raised: usize,
    pub(super) lowered: usize,
    pub(super) held: usize,
    pub(super) lifted: usize,
    pub(super) runs: usize,
    pub(super) interrupted: usize,
    pub(super) key_turns: usize,
    pub(super) deleted: usize,
    pub(super) kept: usize,
}

/// A node, and what it knows.
struct Member {
    node: Node,
    /// What it has heard that namespaces ask for.
    heard: Wishes,
    /// Whether what its spool loses is admitted: one that has lost its state does not know where sequences of this boot were.
    may_lose: bool,
    boots: u64,
    port: u16,
    /// Until when it is down.
    down_until: i64,
    /// Whether its newest seal is the last of a clean stop: an exporter that starts seals before it puts anything.
    has_ended: bool,
}

pub(super) struct World {
    rng: Rng,
    pub(super) now: i64,
    /// What is put and not written to the folder yet.
    fresh: SealedRoot,
    pub(super) folder: TempDir,
    keys: TempDir,
    pub(super) trusted: TempDir,
    runtime: Runtime,
    members: Vec<Member>,
    wishes: Wishes,
    pub(super) model: Model,
    next_seed: u8,
    next_run: i64,
    /// What has come since the last look.
    pub(super) newest: BTreeSet<String>,
    pub(super) told: Told,
}

impl Member {
    fn reboot(&mut self, index: usize, now: i64) {
        self.boots += 1;
        self.node.reboot(&boot(index, self.boots), now).unwrap();
        self.may_lose |= !self.heard.is_empty();
    }
}

impl World {
    pub(super) fn begin(seed: u64) -> Self {
        let new = || TempDir::new().unwrap();
        let (folder, trusted) = (new(), new());
        let mut fresh = SealedRoot::new();
        let wishes = NAMESPACES.map(|namespace| (namespace, Wish { seconds: 6 * DAY_SECONDS, hold: false })).into();
        let member = |index: usize| {
            let seed = u8::try_from(index + 1).unwrap();
            std::fs::write(trusted.path().join(format!("{index}.pem")), key(seed).public().to_pem()).unwrap();
            let node = Node::begin(&mut fresh, cluster(&wishes), &name(index), seed, &boot(index, 0), BEGIN).unwrap();
            Member { node, heard: Wishes::new(), may_lose: true, boots: 0, port: 0, down_until: 0, has_ended: false }
        };
        let members = (0..NODES).map(member).collect();
        let keys = new();
        let pem = simulated::public_key(&keys.path().join("retain.key"));
        std::fs::write(trusted.path().join("retain.pem"), pem).unwrap();
        Self {
            rng: Rng::with_seed(seed),
            now: BEGIN,
            fresh,
            folder,
            keys,
            trusted,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            members,
            wishes,
            model: Model::default(),
            next_seed: 10,
            next_run: BEGIN + 4 * DAY,
            newest: BTreeSet::new(),
            told: Told::default(),
        }
    }

    /// One day: three intervals of eight hours, the last of which ends a little before midnight.
    pub(super) fn live(&mut self, day: u64) {
        let midnight = BEGIN + i64::try_from(day).unwrap() * DAY;
        let change = self.rng.usize(..3);
        for interval in 0..3 {
            let begin = midnight + i64::try_from(interval).unwrap() * 8 * HOUR;
            self.now = begin + self.rng.i64(1..60) * MINUTE;
            // What is asked for and withdrawn before a node has heard of it is not in its seals: that is not tried here.
            let changes = change == interval && self.members.iter().all(|member| member.heard == self.wishes);
            if changes {
                self.change_wishes();
            }
            if self.rng.bool() {
                self.retain_if_due();
            }
            for index in 0..NODES {
                if self.members[index].down_until > begin {
                    continue;
                }
                self.now = begin + self.rng.i64(61..240) * MINUTE;
                if self.members[index].has_ended {
                    self.seal(index, false);
                }
                self.disturb(index);
                // What has changed is heard, and stands in a record of the same interval.
                if changes || self.rng.u8(..4) > 0 {
                    self.witness(index);
                }
                if self.rng.u8(..3) == 0 {
                    self.now += self.rng.i64(1..60) * MINUTE;
                    self.witness(index);
                }
            }
            self.now = begin + 5 * HOUR;
            if self.rng.bool() {
                self.retain_if_due();
            }
            for index in 0..NODES {
                if self.members[index].down_until <= begin {
                    self.now = begin + 7 * HOUR + self.rng.i64(1..50) * MINUTE;
                    self.seal(index, true);
                }
            }
            self.now = begin + 8 * HOUR - MINUTE;
        }
    }

    /// Restarts, reboots, keys and clocks of a node.
    fn disturb(&mut self, index: usize) {
        let (now, dice) = (self.now, self.rng.u8(..60));
        let member = &mut self.members[index];
        match dice {
            0..4 => {
                member.reboot(index, now);
                self.told.reboots += 1;
            }
            4..8 => {
                member.node.restart(now, self.rng.bool());
                self.told.restarts += 1;
            }
            8..10 => {
                // All that was put is sealed: nothing but the state is lost.
                self.seal(index, false);
                let member = &mut self.members[index];
                member.node.restart_without_state(now);
                member.heard.clear();
                member.may_lose = false;
                self.told.lost_states += 1;
            }
            10..13 => {
                self.next_seed += 1;
                member.node.rotate_key(&mut self.fresh, self.next_seed);
                self.told.rotations += 1;
            }
            13 => member.node.set_clock(false),
            14 => member.node.set_clock(true),
            15 => member.node.lose_unattributed(self.rng.u64(1..9)),
            _ => {}
        }
    }

    /// Records of some namespaces, perhaps of unknown pods, of coverage and of policies, of which the spool may lose some.
    fn witness(&mut self, index: usize) {
        let at = self.now;
        let member = &mut self.members[index];
        let mut made: Vec<(Option<&'static str>, &str, i64, Record)> = Vec::new();
        for namespace in NAMESPACES.into_iter().chain([UNKNOWN]) {
            for _ in 0..self.rng.i64(..3) {
                let last = at + i64::try_from(made.len()).unwrap() * SECOND;
                member.port = member.port.wrapping_add(1);
                made.push((Some(namespace), "verdicts", last, records::open(namespace, last, member.port)));
            }
        }
        if made.is_empty() || self.rng.bool() {
            made.push((None, "coverage", at, records::enforced("shop", at, "db-1")));
        }
        if self.rng.u8(..4) == 0 {
            made.extend(records::policies(at).map(|record| (None, "policies", at, record)));
        }
        let lost = if member.may_lose && made.len() > 4 && self.rng.u8(..20) == 0 { self.rng.usize(1..3) } else { 0 };
        let first = self.rng.usize(..=made.len() - lost);
        let given = made.iter().map(|(.., record)| record.clone()).collect();
        member.node.set_retention(retention(&self.wishes));
        member.node.witness_through_damage(&mut self.fresh, given, first, lost).unwrap();
        member.heard.clone_from(&self.wishes);
        made.drain(first..first + lost);

        let new = self.write();
        for path in &new {
            let of = |(namespace, table, ..): &&(Option<&'static str>, &str, i64, Record)| {
                let folder = namespace.map_or(String::new(), |namespace| format!("/namespace={namespace}"));
                path.starts_with(&format!("{table}/cluster=lab{folder}/"))
            };
            let of_file: Vec<_> = made.iter().filter(of).collect();
            let (namespace, ..) = of_file[0];
            let last = of_file.iter().map(|(_, _, last, _)| *last).max().unwrap();
            self.model.put(path, index, *namespace, last, &self.wishes, DEFAULT);
        }
        self.told.files += new.len();
    }

    /// A seal, which may be the last one before the node is down for some days.
    fn seal(&mut self, index: usize, may_end: bool) {
        let member = &mut self.members[index];
        member.has_ended = may_end && self.rng.u8(..60) == 0;
        if member.has_ended {
            member.node.seal_last(&mut self.fresh, self.now);
            member.down_until = self.now + self.rng.i64(0..4) * DAY;
            member.reboot(index, member.down_until);
        } else {
            member.node.seal(&mut self.fresh, self.now);
        }
        self.model.seal(index, &member.heard);
        self.told.seals += 1;
        self.write();
    }

    /// One namespace asks for something else.
    fn change_wishes(&mut self) {
        let namespace = NAMESPACES[self.rng.usize(..3)];
        let seconds = self.rng.i64(3..40) * DAY_SECONDS;
        let wish = self.wishes.entry(namespace).or_insert(Wish { seconds: DEFAULT, hold: false });
        match self.rng.u8(..12) {
            0 | 1 if wish.hold => {
                wish.hold = false;
                self.told.lifted += 1;
            }
            0 if self.told.held == self.told.lifted => {
                wish.hold = true;
                self.told.held += 1;
            }
            2 | 3 => {
                if seconds > wish.seconds {
                    self.told.raised += 1;
                } else {
                    self.told.lowered += 1;
                }
                wish.seconds = seconds;
            }
            4 if !wish.hold => {
                self.wishes.remove(namespace);
            }
            _ => {}
        }
    }

    fn retain_if_due(&mut self) {
        if self.now < self.next_run {
            return;
        }
        self.next_run = self.now + self.rng.i64(5..20) * DAY;
        self.told.runs += 1;
        if self.rng.u8(..5) == 0 {
            std::fs::write(self.key_path().with_extension("key.next"), "").unwrap();
            self.told.key_turns += 1;
        }
        if self.rng.u8(..3) == 0 {
            let after = self.rng.usize(..12);
            if !self.retain(Some(after)) {
                self.told.interrupted += 1;
            }
            self.now += MINUTE;
        }
        assert!(self.retain(None), "a run that nobody interrupts ends");
        self.told.deleted += self.model.retain(self.now, &self.wishes, DEFAULT);
        self.verify();
        self.told.kept += self.model.paths().len();
    }

    /// `podwitness retain`, which is interrupted after so many steps. Whether it came to its end.
    fn retain(&self, interrupted_after: Option<usize>) -> bool {
        let key = self.key_path();
        let store = Store::open(&format!("file://{}", self.folder.path().display()), []).unwrap();
        let run = simulated::retain(
            &store,
            "lab",
            (seconds(MINIMUM), seconds(DEFAULT)),
            retention(&self.wishes),
            &key,
            Time::from_micros(self.now),
            interrupted_after,
        );
        self.runtime.block_on(run)
    }

    fn key_path(&self) -> PathBuf {
        self.keys.path().join("retain.key")
    }

    /// Writes what was put, and gives the paths of its files.
    fn write(&mut self) -> Vec<String> {
        self.fresh.write(self.folder.path()).unwrap();
        let paths: Vec<_> = std::mem::take(&mut self.fresh.objects).into_keys().collect();
        self.newest.extend(paths.iter().cloned());
        paths.into_iter().filter(|path| path.ends_with(".parquet")).collect()
    }
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

fn boot(index: usize, number: u64) -> String {
    format!("{index:08x}-0000-4000-8000-{number:012x}")
}

fn seconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap()
}

fn retention(wishes: &Wishes) -> Vec<NamespaceRetention> {
    wishes.iter().map(|(namespace, wish)| asks(namespace, seconds(wish.seconds), wish.hold)).collect()
}

fn cluster(wishes: &Wishes) -> Cluster {
    Cluster {
        interval_seconds: seconds(8 * HOUR / SECOND),
        default_seconds: seconds(DEFAULT),
        minimum_seconds: seconds(MINIMUM),
        retention: retention(wishes),
        ..Cluster::named("lab")
    }
}
