//! The half that says what is in force, and where.

use std::{fs::File, sync::Arc};

use aya::Ebpf;
use nix::fcntl::Flock;

use crate::{
    Error, HookFault, Interface, Tables, hooks::Hooks, load::Grace, older::Carry, shared_state::SharedState,
    tables::Slots,
};

/// Puts policy in force and hooks on interfaces.
pub struct Control {
    pub(crate) programs: Ebpf,
    pub(crate) slots: Slots,
    pub(crate) hooks: Hooks,
    pub(crate) state: Arc<SharedState>,
    pub(crate) grace: Arc<Grace>,
    /// The connections of an older layout, until no hook runs its programs any more.
    pub(crate) carry: Option<Carry>,
    /// Held as long as the agent lives, against a second one on the same pins.
    pub(crate) _lock: Flock<File>,
}

impl Control {
    /// The table generation in force; 0 before the first. It outlives the agent.
    pub fn generation(&self) -> u64 {
        self.state.generation()
    }

    /// Puts tables in force as the next generation, and returns its number. Every packet is decided by the tables
    /// before or by these, never by some of each.
    pub fn activate(&mut self, tables: &Tables) -> Result<u64, Error> {
        self.fill(tables)?;
        self.switch()
    }

    /// The first half of [`activate`](Self::activate): fills the tables of the next generation, by which no packet is
    /// decided yet.
    pub fn fill(&mut self, tables: &Tables) -> Result<(), Error> {
        self.slots.fill(self.state.generation() + 1, tables)
    }

    /// The second half: has packets decided by the tables that were filled last, and returns the number of their
    /// generation.
    pub fn switch(&mut self) -> Result<u64, Error> {
        let generation = self.state.generation() + 1;
        self.state.set_generation(generation);
        // The slot of the generation before is filled next time; no program may be reading it then.
        self.grace.wait()?;
        Ok(generation)
    }

    /// Says what an endpoint whose pod is not known may do: everything, or nothing.
    pub fn set_deny_unknown_endpoints(&self, deny: bool) {
        self.state.set_deny_unknown_endpoints(deny);
    }

    /// Whether both hooks of an interface that has hooks now were on before it was given any here: an agent before has left
    /// them, and nobody has taken them away since.
    pub fn had_hooks(&self, interface: u32) -> bool {
        self.hooks.were_on(interface)
    }

    /// Has hooks on these interfaces and on no other, and returns those that could not be hooked. The tables in force
    /// should know their endpoints.
    ///
    /// Where hooks still run the programs of an older layout, connections are carried over before and after the
    /// programs are replaced.
    pub fn set_hooks(&mut self, interfaces: &[Interface]) -> Result<Vec<HookFault>, Error> {
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
        Ok(faults)
    }
}
