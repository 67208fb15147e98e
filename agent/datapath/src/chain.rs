//! What stands at the hooks of an interface, ours and others'.

use std::{io, path::Path};

use podwitness_wire::names;

use crate::{
    bpf, clsact,
    hooks::{Hook, HookError},
    pins::Pins,
};

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The agent whose pins are looked at.
    ThisAgent,
    /// An agent of ours with other pins: what passes must be allowed by both.
    AnotherAgent,
    /// Somebody else, such as a CNI. Before ours, it can keep packets from us; behind ours, it gets what passes.
    Other,
}

/// One program at a hook, or another filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The program's name, or the kind of a filter that is none.
    pub name: String,
    /// The program's id, where it is one.
    pub program: Option<u32>,
    /// The priority of a clsact filter; none for `tcx`, which comes first.
    pub priority: Option<u16>,
    /// Whose it is.
    pub owner: Owner,
}

/// What a packet meets at an interface, from first to last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// On its way out of the pod.
    pub from_pod: Vec<Link>,
    /// On its way into the pod.
    pub to_pod: Vec<Link>,
}

/// Lists what stands at the hooks of an interface, given by its index, and what of it belongs to the agent with this
/// folder of the BPF file system. Nothing is listed for an interface that is not there.
///
/// The `tcx` programs are what the kernel says; of clsact filters, those are left out whose kind cannot be read.
pub fn chain(bpffs: &Path, interface: u32) -> Result<Chain, HookError> {
    let pins = Pins::new(bpffs);
    let handle = pins.filter_handle().ok();
    let [from_pod, to_pod] = Hook::BOTH.map(|hook| at(&pins, handle, interface, hook));
    Ok(Chain { from_pod: from_pod?, to_pod: to_pod? })
}

fn at(pins: &Pins, handle: Option<u32>, interface: u32, hook: Hook) -> Result<Vec<Link>, HookError> {
    let programs = match bpf::query(interface, hook.tcx()) {
        Ok(programs) => programs,
        // A kernel without `tcx`, or no such interface.
        Err(nix::Error::EINVAL | nix::Error::ENODEV) => Vec::new(),
        Err(source) => return Err(error("list the programs")(source.into())),
    };
    let pinned = bpf::open_pin(&hook.link_pin(pins, interface)).and_then(bpf::link_id).ok();
    let mut links = Vec::new();
    for attached in programs {
        let name = match bpf::program_name(attached.program) {
            Ok(name) => name,
            // It was taken away meanwhile.
            Err(nix::Error::ENOENT) => continue,
            Err(source) => return Err(error("look at a program")(source.into())),
        };
        let owner = owner(pinned.is_some() && pinned == Some(attached.link), &name);
        links.push(Link { name, program: Some(attached.program), priority: None, owner });
    }
    let filters = clsact::filters(interface, hook.clsact()).map_err(error("list the filters"))?;
    links.extend(filters.into_iter().map(|filter| {
        let name = filter.name.unwrap_or(filter.kind);
        let owner = owner(handle == Some(filter.handle) && name == hook.program(), &name);
        Link { name, program: filter.program, priority: Some(filter.priority), owner }
    }));
    Ok(links)
}

fn owner(is_of_these_pins: bool, name: &str) -> Owner {
    if is_of_these_pins {
        Owner::ThisAgent
    } else if [names::PROGRAM_FROM_POD, names::PROGRAM_TO_POD].contains(&name) {
        Owner::AnotherAgent
    } else {
        Owner::Other
    }
}

fn error(action: &'static str) -> impl FnOnce(io::Error) -> HookError {
    move |source| HookError::Kernel { action, source }
}
