//! The hooks on the host side of pods' interfaces.
//!
//! Where the kernel has `tcx` (6.6), a hook is a link that is pinned, so that it outlives the agent and takes a new
//! program in one step. Older kernels have clsact filters, which outlive the agent by themselves and take a new program
//! in one step too; ours are found again by their name and handle.
//!
//! Ours come first: what a CNI's program lets pass, redirects or answers itself never gets to the programs behind it.
//! An interface keeps the kind of hook that it has: a change from one to the other could not be made in one step, and a
//! packet would be seen twice or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::AsFd,
    path::PathBuf,
};

use aya::{
    Ebpf,
    programs::{ProgramError, SchedClassifier},
};
use podwitness_wire::names;

use crate::{
    Error,
    bpf::{self, TcxHook},
    clsact::{self, ClsactHook, Filter},
    pins::{Pins, unpin},
};

/// By what interfaces are hooked that have no hook yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attachment {
    /// By `tcx` links where the kernel has them, by clsact filters otherwise.
    #[default]
    Auto,
    /// By clsact filters, as on a kernel before 6.6.
    Clsact,
}

/// An interface that is to have hooks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// The host side's index, by which it is hooked.
    pub index: u32,
    /// The host side's name, for messages.
    pub name: String,
}

/// An interface that has no hook although it should.
#[derive(Debug)]
pub struct HookFault {
    /// Which one.
    pub interface: Interface,
    /// Why.
    pub cause: HookError,
}

/// Why an interface could not be hooked.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The kernel did not do what it was asked.
    #[error("cannot {action}: {source}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// What the hooks need could not be read or removed.
    #[error(transparent)]
    Datapath(#[from] Error),
    /// A program is not there to be attached.
    #[error("the program is not loaded: {0}")]
    Program(#[from] ProgramError),
    /// Others have filters of other kinds at every place before their own.
    #[error("the filters of others leave no priority for ours")]
    NoPriority,
}

impl HookError {
    fn kernel<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Kernel { action, source: source.into() }
    }
}

/// One hook of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    FromPod,
    ToPod,
}

impl Hook {
    pub(crate) const BOTH: [Self; 2] = [Self::FromPod, Self::ToPod];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::FromPod => names::PROGRAM_FROM_POD,
            Self::ToPod => names::PROGRAM_TO_POD,
        }
    }

    /// What leaves the pod arrives at the host side, and the other way round.
    pub(crate) const fn tcx(self) -> TcxHook {
        match self {
            Self::FromPod => TcxHook::Ingress,
            Self::ToPod => TcxHook::Egress,
        }
    }

    pub(crate) const fn clsact(self) -> ClsactHook {
        match self {
            Self::FromPod => ClsactHook::Ingress,
            Self::ToPod => ClsactHook::Egress,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::FromPod => "from",
            Self::ToPod => "to",
        }
    }

    pub(crate) fn link_pin(self, pins: &Pins, interface: u32) -> PathBuf {
        pins.links().join(format!("{interface}-{}", self.suffix()))
    }

    /// The filters of this hook that belong to the pins: they have our program's name, and the handle of the pins.
    pub(crate) fn own_filters(self, interface: u32, handle: u32) -> io::Result<Vec<Filter>> {
        let mut filters = clsact::filters(interface, self.clsact())?;
        filters.retain(|filter| filter.handle == handle && filter.name.as_deref() == Some(self.program()));
        Ok(filters)
    }
}

/// By what a hook is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// A link with this id.
    Link(u32),
    Filter,
}

/// An interface with its hooks, in the order of [`Hook::BOTH`].
struct Attached {
    name: String,
    held: [Held; 2],
    /// Whether both were on already.
    was_on: bool,
}

/// The hooks that are on.
pub(crate) struct Hooks {
    pins: Pins,
    attachment: Attachment,
    /// By which clsact filters are found again.
    handle: u32,
    attached: BTreeMap<u32, Attached>,
    /// The interfaces that have clsact filters of ours; not known before they were looked for.
    filtered: Option<BTreeSet<u32>>,
}

impl Hooks {
    pub(crate) fn new(pins: Pins, attachment: Attachment) -> Result<Self, Error> {
        let attachment = if bpf::has_tcx() { attachment } else { Attachment::Clsact };
        let handle = pins.filter_handle()?;
        Ok(Self { pins, attachment, handle, attached: BTreeMap::new(), filtered: None })
    }

    /// Gives hooks to the interfaces that have none, and takes away those that are not wanted. What cannot be hooked is
    /// named; the others are.
    pub(crate) fn set(&mut self, programs: &mut Ebpf, wanted: &[Interface]) -> Result<Vec<HookFault>, Error> {
        let mut faults = Vec::new();
        for interface in wanted {
            if self.is_on(interface) {
                continue;
            }
            match self.attach(programs, interface.index) {
                Ok((held, was_on)) => {
                    self.attached.insert(interface.index, Attached { name: interface.name.clone(), held, was_on });
                }
                Err(cause) => {
                    self.attached.remove(&interface.index);
                    faults.push(HookFault { interface: interface.clone(), cause });
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
        let handle = self.handle;
        // What could not be taken away is tried again the next time.
        self.filtered()?.retain(|index| is_wanted(*index) || remove_filters(*index, handle).is_err());
        Ok(faults)
    }

    /// Whether both hooks of an interface were on before it was given any here.
    pub(crate) fn were_on(&self, interface: u32) -> bool {
        self.attached.get(&interface).is_some_and(|attached| attached.was_on)
    }

    /// Whether there is no other interface with a hook than those that were given one here.
    pub(crate) fn are_all_replaced(&self) -> bool {
        let filtered = self.filtered.as_ref();
        filtered.is_some_and(|filtered| filtered.iter().all(|index| self.attached.contains_key(index)))
    }

    /// Whether one of the interfaces that could not be hooked has a link from before, with the programs of before.
    pub(crate) fn keeps_links_of(&self, faults: &[HookFault]) -> Result<bool, Error> {
        let names = self.pins.link_names()?;
        let has_link = |fault: &HookFault| {
            let prefix = format!("{}-", fault.interface.index);
            names.iter().any(|name| name.starts_with(&prefix))
        };
        Ok(faults.iter().any(has_link))
    }

    /// Whether the interface has the hooks that it was given: others may have taken them away, or the interface may be
    /// another one with the same index.
    fn is_on(&self, interface: &Interface) -> bool {
        let Some(attached) = self.attached.get(&interface.index).filter(|attached| attached.name == interface.name)
        else {
            return false;
        };
        Hook::BOTH.iter().zip(attached.held).all(|(hook, held)| match held {
            Held::Link(id) => bpf::query(interface.index, hook.tcx())
                .is_ok_and(|chain| chain.iter().any(|attached| attached.link == id)),
            Held::Filter => hook.own_filters(interface.index, self.handle).is_ok_and(|filters| !filters.is_empty()),
        })
    }

    fn filtered(&mut self) -> Result<&mut BTreeSet<u32>, Error> {
        let filtered = match self.filtered.take() {
            Some(filtered) => filtered,
            None => interfaces_with_filters(self.handle)?,
        };
        Ok(self.filtered.insert(filtered))
    }

    /// Returns by what the hooks are on, and whether both were so already.
    fn attach(&mut self, programs: &mut Ebpf, interface: u32) -> Result<([Held; 2], bool), HookError> {
        let mut held = [Held::Filter; 2];
        let mut were_on = true;
        for (hook, held) in Hook::BOTH.into_iter().zip(&mut held) {
            let program = programs.program_mut(hook.program()).ok_or(ProgramError::NotLoaded)?;
            let program: &SchedClassifier = (&*program).try_into()?;
            let program = program.fd()?.as_fd();
            if let Some(id) = self.take_over_link(program, interface, hook)? {
                *held = Held::Link(id);
                continue;
            }
            let own = hook.own_filters(interface, self.handle).map_err(HookError::kernel("list the filters"))?;
            were_on &= !own.is_empty();
            if own.is_empty() && self.attachment == Attachment::Auto {
                *held = Held::Link(self.attach_link(program, interface, hook)?);
            } else {
                self.attach_filter(program, interface, hook, own.first())?;
                self.filtered()?.insert(interface);
            }
        }
        Ok((held, were_on))
    }

    /// Puts the program behind the pinned link of the interface, and returns the link's id. `None` where there is no such
    /// link: no pin, or a pin whose link is not on this very interface, because the index belongs to another one now.
    fn take_over_link(&self, program: impl AsFd, interface: u32, hook: Hook) -> Result<Option<u32>, HookError> {
        let pin = hook.link_pin(&self.pins, interface);
        let link = match bpf::open_pin(&pin) {
            Ok(link) => link,
            Err(nix::Error::ENOENT) => return Ok(None),
            Err(errno) => return Err(HookError::kernel("open the pinned link")(errno)),
        };
        let id = bpf::link_id(&link).map_err(HookError::kernel("look at the pinned link"))?;
        let is_on = match bpf::query(interface, hook.tcx()) {
            Ok(chain) => chain.iter().any(|attached| attached.link == id),
            Err(nix::Error::ENODEV) => false,
            Err(errno) => return Err(HookError::kernel("look at the interface")(errno)),
        };
        if is_on {
            match bpf::replace_program(&link, program) {
                Ok(()) => return Ok(Some(id)),
                Err(nix::Error::ENOLINK) => {}
                Err(errno) => return Err(HookError::kernel("replace the program")(errno)),
            }
        }
        unpin(&pin)?;
        Ok(None)
    }

    /// Returns the new link's id.
    fn attach_link(&self, program: impl AsFd, interface: u32, hook: Hook) -> Result<u32, HookError> {
        let attach = HookError::kernel("attach to the interface");
        let link = bpf::attach_first(program, interface, hook.tcx()).map_err(attach)?;
        let id = bpf::link_id(&link).map_err(HookError::kernel("look at the link"))?;
        // A link that is not pinned goes with this descriptor.
        bpf::pin(&link, &hook.link_pin(&self.pins, interface)).map_err(HookError::kernel("pin the link"))?;
        Ok(id)
    }

    fn attach_filter(
        &self,
        program: impl AsFd,
        interface: u32,
        hook: Hook,
        own: Option<&Filter>,
    ) -> Result<(), HookError> {
        let priority = if let Some(own) = own {
            own.priority
        } else {
            clsact::add_discipline(interface).map_err(HookError::kernel("attach to the interface"))?;
            first_priority(interface, hook)?
        };
        clsact::put(interface, hook.clsact(), priority, self.handle, hook.program(), program)
            .map_err(HookError::kernel("attach to the interface"))
    }
}

/// The lowest priority in which a program's filter can stand: the first, unless filters of another kind are there, beside
/// which the kernel allows none.
fn first_priority(interface: u32, hook: Hook) -> Result<u16, HookError> {
    let filters = clsact::filters(interface, hook.clsact()).map_err(HookError::kernel("list the filters"))?;
    let is_free =
        |priority| filters.iter().filter(|filter| filter.priority == priority).all(clsact::Filter::makes_room);
    (1..=u16::MAX).find(|priority| is_free(*priority)).ok_or(HookError::NoPriority)
}

/// The interfaces of this network namespace that have filters of ours.
pub(crate) fn interfaces_with_filters(handle: u32) -> Result<BTreeSet<u32>, Error> {
    let interfaces = nix::net::if_::if_nameindex().map_err(|errno| Error::Interfaces { source: errno.into() })?;
    let has_filters = |interface: &u32| {
        Hook::BOTH.iter().any(|hook| hook.own_filters(*interface, handle).is_ok_and(|filters| !filters.is_empty()))
    };
    Ok(interfaces.iter().map(nix::net::if_::Interface::index).filter(has_filters).collect())
}

/// Takes away the clsact filters of an interface that belong to the pins.
pub(crate) fn remove_filters(interface: u32, handle: u32) -> io::Result<()> {
    for hook in Hook::BOTH {
        for filter in hook.own_filters(interface, handle)? {
            clsact::remove(interface, hook.clsact(), filter.priority, filter.handle)?;
        }
    }
    Ok(())
}
