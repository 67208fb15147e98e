//! Takes everything away.

use std::path::Path;

use podwitness_wire::names;

use crate::{
    Error,
    hooks::{interfaces_with_filters, remove_filters},
    pins::{Pins, remove_folder, unpin},
};

/// Removes every hook, and leaves the maps: from then on nothing is enforced, nothing more is counted, and what was
/// recorded can be brought out to its end. Returns whether there are maps of this layout to bring it out of.
///
/// # Errors
///
/// [`Error::InUse`] while an agent holds the pins.
pub fn unhook(bpffs: &Path) -> Result<bool, Error> {
    let pins = Pins::new(bpffs);
    if !pins.root().exists() {
        return Ok(false);
    }
    let _lock = pins.lock()?;
    remove_hooks(&pins)?;
    Ok(pins.map(names::CONNECTIONS).exists())
}

/// Removes every hook, map and pin under a folder of the BPF file system, and the folder itself: from then on nothing
/// is enforced and nothing is recorded. Nothing being there is no error.
///
/// # Errors
///
/// [`Error::InUse`] while an agent holds the pins.
pub fn detach(bpffs: &Path) -> Result<(), Error> {
    let pins = Pins::new(bpffs);
    if !pins.root().exists() {
        return Ok(());
    }
    let lock = pins.lock()?;
    remove_hooks(&pins)?;
    pins.remove_maps()?;
    for name in [names::PROGRAM_SWEEP, names::PROGRAM_LEARN] {
        unpin(&pins.program(name))?;
    }
    drop(lock);
    remove_folder(&pins.links())?;
    remove_folder(pins.root())
}

fn remove_hooks(pins: &Pins) -> Result<(), Error> {
    for name in pins.link_names()? {
        unpin(&pins.links().join(name))?;
    }
    let handle = pins.filter_handle()?;
    for interface in interfaces_with_filters(handle)? {
        // What others have there stays, and so does the queueing discipline, in which others may be about to put
        // something.
        remove_filters(interface, handle).map_err(|source| Error::Filter { interface, source })?;
    }
    Ok(())
}
