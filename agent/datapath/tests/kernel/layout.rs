//! The layout of everything that is pinned, as its number promises it.

use std::fmt::Write as _;

use aya::maps::MapData;
use podwitness_wire::{
    AddressEntry, Connection, ConnectionKey, Counter, Denial, DenialKey, Described, EndpointEntry, Event, Frontend,
    Frontends, LAYOUT, Learnt, Loss, LossKey, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry, Settings, State,
    TransportAddress, names,
};

use crate::{
    fixture::{Kernel, folder, maps},
    isolation::isolated,
};

fn describe<T: Described>(text: &mut String) {
    let name = std::any::type_name::<T>().rsplit("::").next().unwrap();
    writeln!(text, "type {name} {}", T::BYTES).unwrap();
    for (field, offset) in T::FIELDS {
        writeln!(text, "  {offset} {field}").unwrap();
    }
}

fn types() -> String {
    let mut text = String::new();
    describe::<State>(&mut text);
    describe::<Settings>(&mut text);
    describe::<AddressEntry>(&mut text);
    describe::<EndpointEntry>(&mut text);
    describe::<OwnAddressKey>(&mut text);
    describe::<PolicyKeyData>(&mut text);
    describe::<PolicyEntry>(&mut text);
    describe::<TransportAddress>(&mut text);
    describe::<ServiceEntry>(&mut text);
    describe::<Frontend>(&mut text);
    describe::<Frontends>(&mut text);
    describe::<ConnectionKey>(&mut text);
    describe::<Connection>(&mut text);
    describe::<Learnt>(&mut text);
    describe::<DenialKey>(&mut text);
    describe::<Denial>(&mut text);
    describe::<LossKey>(&mut text);
    describe::<Loss>(&mut text);
    describe::<Event>(&mut text);
    text
}

/// The maps as they are pinned, without the sizes that the configuration sets.
fn describe_maps() -> String {
    let mut text = String::new();
    for name in names::MAPS {
        let map = MapData::from_pin(maps(folder().as_ref()).join(name)).unwrap();
        let info = map.info().unwrap();
        let (kind, key, value, flags) =
            (info.map_type().unwrap(), info.key_size(), info.value_size(), info.map_flags());
        writeln!(text, "map {name} {kind:?} key {key} value {value} flags {flags}").unwrap();
    }
    writeln!(text, "counters {}", Counter::COUNT).unwrap();
    text
}

/// The newest layout, read when this is built: the tests run where no repository is, too.
const GOLDEN: (u32, &str) = (2, include_str!("../layouts/2.txt"));

#[test]
fn a_changed_layout_has_another_number() {
    isolated(|| {
        let _kernel = Kernel::new();
        let present = types() + &describe_maps();
        assert!(
            GOLDEN == (LAYOUT, &present),
            "the layout is not that of number {LAYOUT}: raise podwitness_wire::LAYOUT where a release has had it, convert \
             from it in src/older.rs, write what follows to tests/layouts/<number>.txt, and name that here\n{present}"
        );
    });
}
