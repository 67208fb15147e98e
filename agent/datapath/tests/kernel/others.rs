//! Programs of somebody else's, such as a CNI's, in the chain of an interface.

use std::{ffi::c_int, fs, io};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
};

use crate::isolation::BPFFS;

/// What a program of somebody else's does with every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// `TCX_NEXT`, `TC_ACT_UNSPEC`: leaves it to whoever is next.
    Next,
    /// `TCX_PASS`, `TC_ACT_OK`: lets it pass, and nobody else is asked.
    Pass,
    /// `TCX_DROP`, `TC_ACT_SHOT`.
    Drop,
    /// `bpf_redirect` to the interface with this index.
    Redirect(u32),
}

impl Does {
    fn instructions(self) -> Vec<u64> {
        // `struct bpf_insn`: operation, registers, offset, value.
        const EXIT: u64 = 0x95;
        let set = |register: u64, value: i32| 0xb7 | register << 8 | u64::from(value.cast_unsigned()) << 32;
        let call = |helper: u64| 0x85 | helper << 32;
        match self {
            Self::Next => vec![set(0, -1), EXIT],
            Self::Pass => vec![set(0, 0), EXIT],
            Self::Drop => vec![set(0, 2), EXIT],
            Self::Redirect(interface) => vec![set(1, interface.try_into().unwrap()), set(2, 0), call(23), EXIT],
        }
    }
}

/// By what, and where in the chain, somebody else attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    TcxFirst,
    TcxLast,
    /// By a filter of this priority.
    Filter(u16),
}

/// A program that is attached until this is dropped.
pub(crate) struct Other {
    _program: SchedClassifier,
    _link: SchedClassifierLink,
}

/// The name of every program of somebody else's.
pub(crate) const NAME: &str = "cni";

impl Other {
    pub(crate) fn attach(does: Does, interface: &str, hook: TcAttachType, place: Place) -> Self {
        let mut program = load(does);
        let options = match place {
            Place::TcxFirst => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Place::TcxLast => TcAttachOptions::TcxOrder(LinkOrder::last()),
            Place::Filter(priority) => {
                // It is there already where somebody has a filter.
                let _ = qdisc_add_clsact(interface);
                TcAttachOptions::Netlink(NlOptions { priority, handle: TcHandle::from(1), ..NlOptions::default() })
            }
        };
        let id = program.attach_with_options(interface, hook, options).unwrap();
        let link = program.take_link(id).unwrap();
        Self { _program: program, _link: link }
    }
}

/// Loads a program that aya has no object of.
fn load(does: Does) -> SchedClassifier {
    const PROGRAM_LOAD: c_int = 5;
    const OBJECT_PIN: c_int = 6;
    const SCHED_CLS: u32 = 3;
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: *const u64,
        license: *const u8,
        log: [u64; 2],
        version_and_flags: u64,
        name: [u8; 16],
    }
    #[repr(C)]
    struct Pin {
        path: *const u8,
        descriptor: u64,
    }
    let instructions = does.instructions();
    let mut name = [0; 16];
    name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    let load = Load {
        kind: SCHED_CLS,
        count: instructions.len().try_into().unwrap(),
        instructions: instructions.as_ptr(),
        license: c"GPL".as_ptr().cast(),
        log: [0; 2],
        version_and_flags: 0,
        name,
    };
    // SAFETY: the instructions and the strings live until the call returns.
    let descriptor = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_LOAD, &raw const load, size_of::<Load>()) };
    assert!(descriptor >= 0, "{does:?}: {}", io::Error::last_os_error());
    let path = format!("{BPFFS}/other");
    let terminated = format!("{path}\0");
    let pin = Pin { path: terminated.as_ptr(), descriptor: descriptor.try_into().unwrap() };
    // SAFETY: the path lives until the call returns.
    let pinned = unsafe { libc::syscall(libc::SYS_bpf, OBJECT_PIN, &raw const pin, size_of::<Pin>()) };
    assert!(pinned >= 0, "{}", io::Error::last_os_error());
    let program = SchedClassifier::from_pin(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // SAFETY: the descriptor is this function's own.
    unsafe { libc::close(descriptor.try_into().unwrap()) };
    program
}
