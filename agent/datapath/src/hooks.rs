//! The hooks on the host side of pods' interfaces.
//!
//! Where the kernel has `tcx` (6.6), a hook is a link that is pinned, so that it outlives the agent and takes a new
//! program in one step. Older kernels have clsact filters, which outlive the agent by themselves; ours are found again
//! by their priority and handle.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    pin::PinError,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, LinkError, PinnedLink},
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
    },
    sys::SyscallError,
    util::KernelVersion,
};
use podwitness_wire::names;

use crate::{
    Error,
    pins::{Pins, unpin},
};

/// An interface that is to have hooks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// The host side's index.
    pub index: u32,
    /// The host side's name.
    pub name: String,
}

/// An interface that has no hook although it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFault {
    /// Which one.
    pub interface: Interface,
    /// What the kernel said.
    pub cause: String,
}

/// One hook of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    FromPod,
    ToPod,
}

impl Hook {
    const BOTH: [Self; 2] = [Self::FromPod, Self::ToPod];

    const fn program(self) -> &'static str {
        match self {
            Self::FromPod => names::PROGRAM_FROM_POD,
            Self::ToPod => names::PROGRAM_TO_POD,
        }
    }

    /// What leaves the pod arrives at the host side, and the other way round.
    const fn attach_type(self) -> TcAttachType {
        match self {
            Self::FromPod => TcAttachType::Ingress,
            Self::ToPod => TcAttachType::Egress,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::FromPod => "from",
            Self::ToPod => "to",
        }
    }
}

/// Why an interface could not be hooked.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Unpin(#[from] Error),
    #[error("the interface is gone: {0}")]
    Interface(#[from] io::Error),
}

/// By which clsact filters are found again: the letters "pw", low enough to stand before a CNI's own.
const FILTER_PRIORITY: u16 = 0x7077;
const FILTER_HANDLE: u32 = 1;

/// The hooks that are on.
pub(crate) struct Hooks {
    pins: Pins,
    has_tcx: bool,
    attached: BTreeMap<u32, Interface>,
}

impl Hooks {
    pub(crate) fn new(pins: Pins) -> Self {
        Self { pins, has_tcx: has_tcx(), attached: BTreeMap::new() }
    }

    /// Gives hooks to the interfaces that have none, and takes away the pins of those that are not wanted. What cannot
    /// be hooked is named; the others are.
    pub(crate) fn set(&mut self, programs: &mut Ebpf, wanted: &[Interface]) -> Result<Vec<HookFault>, Error> {
        let mut faults = Vec::new();
        for interface in wanted {
            if self.attached.get(&interface.index) == Some(interface) {
                continue;
            }
            match self.attach(programs, interface) {
                Ok(()) => {
                    self.attached.insert(interface.index, interface.clone());
                }
                Err(error) => {
                    faults.push(HookFault { interface: interface.clone(), cause: error_with_sources(&error) });
                }
            }
        }
        let is_wanted = |index: u32| wanted.iter().any(|interface| interface.index == index);
        self.attached.retain(|index, _| is_wanted(*index));
        for name in self.pins.link_names()? {
            let index = name.split('-').next().and_then(|index| index.parse().ok());
            if !index.is_some_and(is_wanted) {
                unpin(&self.pins.links().join(name))?;
            }
        }
        Ok(faults)
    }

    fn attach(&self, programs: &mut Ebpf, interface: &Interface) -> Result<(), AttachError> {
        for hook in Hook::BOTH {
            let program: &mut SchedClassifier =
                programs.program_mut(hook.program()).ok_or(ProgramError::NotLoaded)?.try_into()?;
            if self.has_tcx {
                attach_tcx(program, interface, hook, &self.link_pin(interface.index, hook))?;
            } else {
                attach_clsact(program, interface, hook)?;
            }
        }
        Ok(())
    }

    fn link_pin(&self, index: u32, hook: Hook) -> PathBuf {
        self.pins.links().join(format!("{index}-{}", hook.suffix()))
    }
}

/// Whether the kernel has `tcx` links (commit e420bed02507, Linux 6.6).
fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// Puts the program behind the pinned link, or makes one.
fn attach_tcx(program: &mut SchedClassifier, interface: &Interface, hook: Hook, pin: &Path) -> Result<(), AttachError> {
    match PinnedLink::from_pin(pin) {
        Ok(pinned) => {
            let link = SchedClassifierLink::try_from(FdLink::from(pinned))?;
            match program.attach_to_link(link) {
                Ok(id) => {
                    // Pinned as it is, the link stays when this handle is dropped.
                    program.take_link(id)?;
                    return Ok(());
                }
                // The interface behind the link is gone, and its index belongs to another one now.
                Err(ProgramError::SyscallError(SyscallError { io_error, .. }))
                    if io_error.raw_os_error() == Some(libc::ENOLINK) =>
                {
                    unpin(pin)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(LinkError::SyscallError(SyscallError { io_error, .. })) if io_error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let id = program.attach_with_options(
        &interface.name,
        hook.attach_type(),
        TcAttachOptions::TcxOrder(LinkOrder::default()),
    )?;
    let link = FdLink::try_from(program.take_link(id)?)?;
    link.pin(pin)?;
    Ok(())
}

/// Puts the program in place of our filter, or adds it.
fn attach_clsact(program: &mut SchedClassifier, interface: &Interface, hook: Hook) -> Result<(), AttachError> {
    let handle = TcHandle::from(FILTER_HANDLE);
    let ours = SchedClassifierLink::attached(&interface.name, hook.attach_type(), FILTER_PRIORITY, handle, None);
    let replaced = ours.map_err(AttachError::from).and_then(|link| Ok(program.attach_to_link(link)?));
    let id = if let Ok(id) = replaced {
        id
    } else {
        // There is a queueing discipline already where another program is hooked; the filter below says what is wrong if
        // there is none.
        let _ = qdisc_add_clsact(&interface.name);
        let options = NlOptions { priority: FILTER_PRIORITY, handle, ..NlOptions::default() };
        program.attach_with_options(&interface.name, hook.attach_type(), TcAttachOptions::Netlink(options))?
    };
    // A filter is taken away when its link is dropped; ours stays.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// An error and what caused it, in one sentence.
fn error_with_sources(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        sentence.push_str(": ");
        sentence.push_str(&cause.to_string());
        source = cause.source();
    }
    sentence
}
