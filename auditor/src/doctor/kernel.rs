//! What the kernel can do, tried rather than read off its version.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use aya::maps::MapType;
use aya::programs::{Program, ProgramType};
use aya::sys::BpfHelper;
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader, sys};
use nix::sys::statfs::{FsType, statfs};
use nix::sys::utsname::uname;
use podwitness_wire::names;

use super::check::{Check, State, count, list, sentence};

/// `tcx` links came with Linux 6.6 (commit e420bed02507).
const TCX: (u8, u8) = (6, 6);
/// The oldest kernel on which the tests are run.
const OLDEST: (u8, u8) = (6, 1);

/// What the compiled programs are made of; a test compares it with the object.
const PROGRAMS: [ProgramType; 1] = [ProgramType::SchedClassifier];
const MAPS: [MapType; 7] = [
    MapType::Array,
    MapType::ArrayOfMaps,
    MapType::Hash,
    MapType::LpmTrie,
    MapType::LruHash,
    MapType::PerCpuArray,
    MapType::RingBuf,
];
const HELPERS: [BpfHelper; 8] = [
    BpfHelper::BPF_FUNC_map_lookup_elem,
    BpfHelper::BPF_FUNC_map_update_elem,
    BpfHelper::BPF_FUNC_map_delete_elem,
    BpfHelper::BPF_FUNC_skb_load_bytes,
    BpfHelper::BPF_FUNC_ktime_get_boot_ns,
    BpfHelper::BPF_FUNC_ringbuf_reserve,
    BpfHelper::BPF_FUNC_ringbuf_submit,
    BpfHelper::BPF_FUNC_for_each_map_elem,
];

/// Enough for a program to be loaded over; nothing is ever put into these.
const TRIAL_ENTRIES: u32 = 16;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
const UNPRIVILEGED: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";

/// `BPF_FS_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

const DEFAULT_BPFFS: &str = "/sys/fs/bpf/podwitness";

const OTHER_KERNEL: &str = "run a kernel that has it: 6.6 or later, with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT";

pub(super) fn checks() -> Vec<Check> {
    let helper_is_there = |helper| sys::is_helper_supported(ProgramType::SchedClassifier, helper);
    let helper_name = |helper: &BpfHelper| format!("{helper:?}").trim_start_matches("BPF_FUNC_").to_owned();
    vec![
        version(),
        privileges(),
        tried("kernel.program-types", &PROGRAMS, sys::is_program_supported, |kind| format!("{kind:?}")),
        tried("kernel.map-types", &MAPS, sys::is_map_supported, |kind| format!("{kind:?}")),
        tried("kernel.helpers", &HELPERS, helper_is_there, helper_name),
        programs(),
        btf(Path::new(BTF)),
        jit(Path::new(JIT)),
        unprivileged(Path::new(UNPRIVILEGED)),
    ]
}

fn version() -> Check {
    let name = "kernel.version";
    let unknown = |why: String| Check::unknown(name, why, "run `uname -r`: 6.1 or later is needed");
    let release = match uname() {
        Ok(name) => name.release().to_string_lossy().into_owned(),
        Err(error) => return unknown(format!("the kernel does not tell its version: {error}")),
    };
    match KernelVersion::current() {
        Ok(version) => judge_version(&release, version),
        Err(error) => unknown(format!("{release}: {}", sentence(&error))),
    }
}

fn judge_version(release: &str, version: KernelVersion) -> Check {
    let name = "kernel.version";
    let at_least = |(major, minor)| version >= KernelVersion::new(major, minor, 0);
    if at_least(TCX) {
        Check::ok(name, format!("{release}: interfaces are hooked by tcx links"))
    } else if at_least(OLDEST) {
        Check::ok(name, format!("{release}: older than 6.6, so interfaces are hooked by clsact filters"))
    } else {
        let found = format!("{release}: older than the kernels on which Podwitness is tested");
        Check::warning(name, found, "run a kernel from 6.1 on, better from 6.6 on")
    }
}

fn privileges() -> Check {
    let name = "privileges";
    match podwitness_datapath::check_privileges() {
        Ok(()) => Check::ok(name, "this process may load programs and hook interfaces"),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "run this as root, as the agent is run: what is unknown below could not be tried without",
        ),
    }
}

/// Tries each kind that the programs need.
fn tried<T: Copy, E: std::error::Error>(
    name: &'static str,
    needed: &[T],
    is_supported: impl Fn(T) -> Result<bool, E>,
    word: impl Fn(&T) -> String,
) -> Check {
    let mut lacking = Vec::new();
    for kind in needed {
        match is_supported(*kind) {
            Ok(true) => {}
            Ok(false) => lacking.push(word(kind)),
            Err(error) => {
                let found = format!("{} could not be tried: {}", word(kind), sentence(&error));
                return Check::unknown(name, found, "run this as root");
            }
        }
    }
    if lacking.is_empty() {
        let words: Vec<String> = needed.iter().map(word).collect();
        Check::ok(name, format!("the kernel has all that are needed: {}", words.join(", ")))
    } else {
        Check::failed(name, format!("the kernel lacks {}", list(&lacking)), OTHER_KERNEL)
    }
}

/// Loads the programs of this build, and lets go of them: nothing is pinned or hooked.
fn programs() -> Check {
    let name = "kernel.programs";
    match load() {
        Ok(programs) => {
            let found = format!("its verifier takes {} of this build", count(programs, "program", "programs"));
            Check::ok(name, found)
        }
        Err(error) if is_for_want_of_privilege(&*error) => {
            Check::unknown(name, format!("could not be tried: {}", sentence(&*error)), "run this as root")
        }
        Err(error) => Check::failed(
            name,
            format!("the kernel does not take the programs: {}", sentence(&*error)),
            "run a kernel from 6.6 on, or report this with the kernel's version",
        ),
    }
}

fn load() -> Result<usize, Box<dyn std::error::Error>> {
    let mut loader = EbpfLoader::new();
    for map in [names::CONNECTIONS, names::DENIALS, names::LOSSES] {
        loader.map_max_entries(map, TRIAL_ENTRIES);
    }
    let mut loaded: Ebpf = loader.load(podwitness_ebpf_object::bytes())?;
    let mut programs = 0;
    for (_, program) in loaded.programs_mut() {
        if let Program::SchedClassifier(program) = program {
            program.load()?;
            programs += 1;
        }
    }
    Ok(programs)
}

fn is_for_want_of_privilege(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn btf(path: &Path) -> Check {
    let name = "kernel.btf";
    match File::open(path) {
        Ok(_) => Check::ok(name, format!("the kernel describes its types at {}", path.display())),
        Err(error) => Check::failed(
            name,
            format!("the kernel has no BTF ({}: {error})", path.display()),
            "run a kernel with CONFIG_DEBUG_INFO_BTF",
        ),
    }
}

fn jit(path: &Path) -> Check {
    let name = "kernel.jit";
    let advice = "set net.core.bpf_jit_enable to 1: programs that are interpreted slow every packet down";
    match setting(path) {
        Ok(value) if value == "1" => Check::ok(name, "programs are compiled to machine code"),
        Ok(value) if value == "0" => Check::warning(name, "programs are interpreted", advice),
        Ok(value) => {
            Check::warning(name, format!("net.core.bpf_jit_enable is {value}, which is for debugging"), advice)
        }
        Err(found) => {
            Check::unknown(name, found, "look at net.core.bpf_jit_enable on the node's own network: it should be 1")
        }
    }
}

fn unprivileged(path: &Path) -> Check {
    let name = "kernel.unprivileged-bpf";
    match setting(path) {
        Ok(value) if value == "0" => Check::warning(
            name,
            "any user may load programs",
            "set kernel.unprivileged_bpf_disabled to 1 or 2, unless somebody needs it",
        ),
        Ok(_) => Check::ok(name, "only privileged users may load programs"),
        Err(found) => Check::unknown(name, found, "look at kernel.unprivileged_bpf_disabled: it should be 1 or 2"),
    }
}

fn setting(path: &Path) -> Result<String, String> {
    let read = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    read.map(|text| text.trim().to_owned())
}

/// Whether pins can be where they are if the configuration does not say: where it is not known, that they cannot is no
/// failure.
pub(super) fn default_bpffs() -> Check {
    let check = bpffs(Path::new(DEFAULT_BPFFS));
    if check.state == State::Failed { Check { state: State::Warning, ..check } } else { check }
}

/// Whether pins can be in the folder, which need not be there yet.
pub(super) fn bpffs(folder: &Path) -> Check {
    let name = "bpffs";
    let advice = "mount a BPF file system there (`mount -t bpf bpf /sys/fs/bpf`), or set `bpffs` to a folder on one";
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    match statfs(existing) {
        Err(errno) => Check::unknown(name, format!("cannot look at {}: {errno}", existing.display()), advice),
        Ok(found) if found.filesystem_type() != BPF_FS_MAGIC => {
            Check::failed(name, format!("{} is not on a BPF file system", folder.display()), advice)
        }
        Ok(_) if existing == folder => Check::ok(name, format!("{} is on a BPF file system", folder.display())),
        Ok(_) => {
            let mounted = existing.display();
            Check::ok(name, format!("{} can be made on the BPF file system at {mounted}", folder.display()))
        }
    }
}

#[cfg(test)]
mod tests;
