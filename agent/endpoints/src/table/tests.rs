use std::cell::Cell;

use super::*;
use crate::namespace::HostVeth;

fn pod(inode: u64, addresses: &[&str]) -> Reading {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    let veth = HostVeth { interface: 7, interface_name: "veth7".to_owned(), addresses };
    Reading::Pod(Pod { inode, id: Some(3), veths: vec![veth], ways_past: Vec::new() })
}

struct Scene {
    table: Table,
    now: Instant,
}

impl Scene {
    fn new(names: &[&str]) -> Self {
        let mut table = Table::new(PathBuf::from("/netns"));
        let now = Instant::now();
        for name in names {
            table.appeared(OsString::from(name), now);
        }
        Self { table, now }
    }

    /// Lets time pass, reads what is due, and counts the readings.
    fn pass(&mut self, milliseconds: u64, reading: impl Fn() -> Result<Reading, ReadError>) -> usize {
        let end = self.now + Duration::from_millis(milliseconds);
        let readings = Cell::new(0);
        while let Some(due) = self.table.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.table.read_due(self.now, |_| {
                readings.set(readings.get() + 1);
                reading()
            });
        }
        self.now = end;
        readings.get()
    }

    fn snapshot(&self) -> Snapshot {
        self.table.snapshot(Vec::new(), Vec::new(), self.now)
    }
}

fn broken() -> Result<Reading, ReadError> {
    Err(ReadError::Open(std::io::Error::from_raw_os_error(24)))
}

#[test]
fn an_endpoint_without_an_assigned_address_is_looked_at_often_at_first_and_each_second_in_the_end() {
    let mut scene = Scene::new(&["a"]);
    let first = scene.pass(500, || Ok(pod(1, &["fe80::1"])));
    assert!((20..=26).contains(&first), "every 20 ms: {first}");
    scene.pass(60_000, || Ok(pod(1, &["fe80::1"])));
    let late = scene.pass(10_000, || Ok(pod(1, &["fe80::1"])));
    assert!((9..=11).contains(&late), "every second: {late}");
}

#[test]
fn a_complete_endpoint_costs_one_reading_each_ten_seconds() {
    let mut scene = Scene::new(&["a"]);
    scene.pass(120_000, || Ok(pod(1, &["10.0.0.1"])));
    let readings = scene.pass(100_000, || Ok(pod(1, &["10.0.0.1"])));
    assert!((9..=11).contains(&readings), "{readings}");
}

#[test]
fn a_reading_that_fails_keeps_what_was_seen_and_is_told_when_it_lasts() {
    let mut scene = Scene::new(&["a"]);
    scene.pass(0, || Ok(pod(1, &["10.0.0.1"])));
    scene.table.changed(Change::Lost, scene.now);
    scene.pass(900, broken);
    assert!(scene.snapshot().faults.is_empty());
    scene.pass(200, broken);
    let snapshot = scene.snapshot();
    assert_eq!(snapshot.endpoints.len(), 1);
    assert_eq!(snapshot.faults[0].path, PathBuf::from("/netns/a"));
    scene.pass(1_000, || Ok(pod(1, &["10.0.0.1"])));
    assert!(scene.snapshot().faults.is_empty());
}

#[test]
fn an_unmounted_namespace_is_no_endpoint_any_more_though_its_file_is_there() {
    let mut scene = Scene::new(&["a"]);
    scene.pass(0, || Ok(pod(1, &["10.0.0.1"])));
    scene.pass(20_000, || Ok(Reading::NotMounted));
    assert!(scene.snapshot().endpoints.is_empty());
    assert!(scene.snapshot().faults[0].message.contains("no network namespace is mounted"));
}

#[test]
fn events_start_a_reading_of_those_they_concern_only() {
    let mut scene = Scene::new(&["a"]);
    scene.pass(60_000, || Ok(pod(1, &["10.0.0.1"])));
    let mut readings_after = |change| {
        scene.table.changed(change, scene.now);
        scene.pass(0, || Ok(pod(1, &["10.0.0.1"])))
    };
    assert_eq!(readings_after(Change::Address), 0);
    assert_eq!(readings_after(Change::Link { index: 8, peer: Some(4) }), 0);
    assert_eq!(readings_after(Change::Inside { id: 4 }), 0);
    assert_eq!(readings_after(Change::Inside { id: 3 }), 1);
    assert_eq!(readings_after(Change::Link { index: 7, peer: None }), 1);
    assert_eq!(readings_after(Change::Link { index: 8, peer: Some(3) }), 1);
    assert_eq!(readings_after(Change::Lost), 1);
}

#[test]
fn one_namespace_under_two_names_is_one_endpoint() {
    let mut scene = Scene::new(&["b", "a"]);
    scene.pass(0, || Ok(pod(1, &["10.0.0.1"])));
    let names: Vec<_> = scene.snapshot().endpoints.into_iter().map(|endpoint| endpoint.name).collect();
    assert_eq!(names, ["a"]);
    scene.table.disappeared(OsStr::new("a"));
    assert_eq!(scene.snapshot().endpoints[0].name, "b");
}
