//! What the lists say against what was compiled, and what each setting means.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aya::util::KernelVersion;

use super::{HELPERS, MAPS, bpffs, btf, jit, judge_version, tried, unprivileged};
use crate::doctor::check::State;

/// A call of a helper by its number (`BPF_JMP | BPF_CALL`; the source register says whether it is of a function instead).
const CALL: u8 = 0x85;

#[test]
fn what_is_tried_is_what_the_compiled_programs_use() {
    let object = aya_obj::Object::parse(podwitness_ebpf_object::bytes()).unwrap();
    let mut maps: BTreeSet<u32> = object.maps.values().map(aya_obj::Map::map_type).collect();
    maps.extend(object.maps.values().filter_map(|map| map.inner().map(|inner| inner.map_type())));
    assert_eq!(maps, MAPS.iter().map(|kind| *kind as u32).collect());
    let instructions = object.functions.values().flat_map(|function| &function.instructions);
    let calls = instructions.filter(|instruction| instruction.code == CALL && instruction.src_reg() == 0);
    let helpers: BTreeSet<i32> = calls.map(|call| call.imm).collect();
    assert_eq!(helpers, HELPERS.iter().map(|helper| *helper as i32).collect());
}

#[test]
fn the_version_says_by_what_interfaces_are_hooked() {
    for (version, state, words) in [
        ((6, 12, 1), State::Ok, "tcx"),
        ((6, 6, 0), State::Ok, "tcx"),
        ((6, 1, 100), State::Ok, "clsact"),
        ((5, 15, 0), State::Warning, "older than the kernels"),
    ] {
        let (major, minor, patch) = version;
        let check = judge_version("as named", KernelVersion::new(major, minor, patch));
        assert_eq!(check.state, state, "{check:?}");
        assert!(check.found.contains(words), "{check:?}");
    }
}

#[test]
fn what_the_kernel_lacks_is_named_and_what_could_not_be_tried_is_no_failure() {
    let denied = || Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
    let word = |number: &u32| format!("kind {number}");
    let lacking = tried("kernel.map-types", &[1, 2], |kind| Ok::<_, std::io::Error>(kind == 1), word);
    assert_eq!((lacking.state, lacking.found.as_str()), (State::Failed, "the kernel lacks kind 2"));
    assert_eq!(tried("kernel.map-types", &[1], |_| denied(), word).state, State::Unknown);
}

#[test]
fn each_setting_has_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("setting");
    let states = |value: &str, check: fn(&Path) -> super::Check| {
        fs::write(&file, format!("{value}\n")).unwrap();
        check(&file).state
    };
    assert_eq!(["0", "1", "2"].map(|value| states(value, jit)), [State::Warning, State::Ok, State::Warning]);
    assert_eq!(["0", "1", "2"].map(|value| states(value, unprivileged)), [State::Warning, State::Ok, State::Ok]);
    assert_eq!(states("", btf), State::Ok);
    let nowhere = Path::new("/nowhere/at/all");
    assert_eq!(
        [jit, unprivileged, btf].map(|check| check(nowhere).state),
        [State::Unknown, State::Unknown, State::Failed]
    );
}

#[test]
fn an_ordinary_folder_is_no_place_for_pins_however_deep() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(bpffs(folder.path()).state, State::Failed);
    assert_eq!(bpffs(&folder.path().join("not/made/yet")).state, State::Failed);
}
