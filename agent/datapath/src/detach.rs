//! Takes everything away.

use std::{fs, io, path::Path};

use aya::programs::{TcAttachType, tc::qdisc_detach_program};
use podwitness_wire::names;

use crate::{
    Error,
    pins::{Pins, pin_error, unpin},
};

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
    for name in pins.link_names()? {
        unpin(&pins.links().join(name))?;
    }
    remove_filters();
    for name in names::MAPS {
        unpin(&pins.map(name))?;
    }
    unpin(&pins.sweep())?;
    drop(lock);
    for folder in [pins.links(), pins.maps(), pins.root().to_owned()] {
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(pin_error("remove", &folder)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the clsact filters of kernels without `tcx`, from every interface that has them.
fn remove_filters() {
    let Ok(interfaces) = nix::net::if_::if_nameindex() else { return };
    for interface in &interfaces {
        let name = interface.name().to_string_lossy().into_owned();
        for (attach_type, program) in
            [(TcAttachType::Ingress, names::PROGRAM_FROM_POD), (TcAttachType::Egress, names::PROGRAM_TO_POD)]
        {
            // Interfaces without our filters answer with an error, which is what is wanted.
            let _ = qdisc_detach_program(&name, attach_type, program);
        }
    }
}
