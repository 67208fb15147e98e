//! The part that puts hooks on interfaces.

use std::sync::Arc;

use aya::Ebpf;

use crate::{Error, HookFault, Interface, grace::Grace, hooks::Hooks, older::Carry, pins::Lock};

/// Puts hooks on interfaces.
///
/// That takes the kernel some tens of milliseconds for each new one: at each hook it waits for its own readers
/// (`tcx_entry_sync`, `include/net/tcx.h`), with the lock held that is one for all interfaces.
pub struct Hooking {
    pub(crate) programs: Ebpf,
    pub(crate) hooks: Hooks,
    pub(crate) grace: Arc<Grace>,
    /// The connections of an older layout, until no hook runs its programs any more.
    pub(crate) carry: Option<Carry>,
    pub(crate) _lock: Lock,
}

impl Hooking {
    /// Has hooks on these interfaces and on no other, and returns those that could not be hooked. The tables in force
    /// should know their endpoints.
    ///
    /// Where hooks still run the programs of an older layout, connections are carried over before and after the
    /// programs are replaced.
    pub fn set(&mut self, interfaces: &[Interface]) -> Result<Vec<HookFault>, Error> {
        if let Some(carry) = &mut self.carry {
            carry.ahead()?;
        }
        let faults = self.hooks.set(&mut self.programs, interfaces)?;
        if let Some(carry) = &mut self.carry {
            self.grace.wait()?;
            carry.rest()?;
            if !self.hooks.keeps_links_of(&faults)? {
                carry.finish();
                self.carry = None;
            }
        }
        if faults.is_empty() && self.hooks.are_all_replaced() {
            self.grace.set_hooks_tell();
        }
        Ok(faults)
    }

    /// Whether both hooks of an interface that has hooks now were on before it was given any here: an agent before has left
    /// them, and nobody has taken them away since.
    pub fn had_hooks(&self, interface: u32) -> bool {
        self.hooks.were_on(interface)
    }
}
