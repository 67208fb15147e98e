//! The part that says what is in force.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::{
    Error, Tables,
    grace::Grace,
    pins::Lock,
    shared_state::SharedState,
    slots::{AddressEdits, Slots},
};

/// How tables come into force.
#[derive(Debug)]
pub struct Next {
    generation: u64,
    /// What is to be changed in the maps in force; none where the other slot is to hold the tables.
    edits: Option<AddressEdits>,
}

impl Next {
    /// The number of the generation that they will be.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Puts policy in force.
pub struct Control {
    pub(crate) slots: Slots,
    pub(crate) state: Arc<SharedState>,
    pub(crate) grace: Arc<Grace>,
    /// Waits until no program reads by the slot that went out of force last; none where that was so at once.
    pub(crate) leaving: Option<JoinHandle<Result<(), Error>>>,
    pub(crate) _lock: Lock,
}

impl Control {
    /// The table generation in force; 0 before the first. It outlives the agent.
    pub fn generation(&self) -> u64 {
        self.state.generation()
    }

    /// Says as which generation tables would come into force, and how.
    ///
    /// `same_revision` says that it is the policy revision in force: only then may what differs be changed in place, because
    /// a packet that comes meanwhile counts as decided by the generation before.
    pub fn next(&self, tables: &Tables, same_revision: bool) -> Next {
        let generation = self.generation();
        match self.slots.edits_in_place(generation, tables) {
            // The slot is that of the lowest bit, which stays.
            Some(edits) if same_revision || edits.is_empty() => Next { generation: generation + 2, edits: Some(edits) },
            _ => Next { generation: generation + 1, edits: None },
        }
    }

    /// Puts tables in force as the next generation, and returns its number. Every decision is made by the tables before
    /// or by these, never by some of each.
    pub fn activate(&mut self, tables: &Tables) -> Result<u64, Error> {
        let next = self.next(tables, true);
        self.fill(&next, tables)?;
        self.switch(&next);
        Ok(next.generation)
    }

    /// The first half of [`activate`](Self::activate), with what [`next`](Self::next) has said of the tables: what differs
    /// is put into maps. Where that is done in place, decisions are made by it; else by none of it.
    ///
    /// Where it fails, what has failed is not built on the next time.
    pub fn fill(&mut self, next: &Next, tables: &Tables) -> Result<(), Error> {
        if let Some(edits) = &next.edits {
            return self.slots.edit_in_place(self.generation(), edits, tables);
        }
        if let Some(leaving) = self.leaving.take() {
            leaving.join().expect("waiting does not panic").or_else(|_| self.grace.wait_for_readers())?;
        }
        self.slots.fill(next.generation, tables)
    }

    /// The second half: has packets decided by what was filled last.
    pub fn switch(&mut self, next: &Next) {
        self.state.set_generation(next.generation);
        if next.edits.is_none() {
            // No program may be reading the slot of the generation before when it is filled the next time.
            let has_left = self.grace.has_no_readers().unwrap_or(false);
            let grace = Arc::clone(&self.grace);
            self.leaving = (!has_left).then(|| thread::spawn(move || grace.wait_for_readers()));
        }
    }

    /// Has the slot that is not in force hold the tables in force too, where it is not known what it holds: as after the
    /// start of an agent, whose first change would otherwise be the one that waits for new maps.
    pub fn prepare(&mut self, tables: &Tables) -> Result<(), Error> {
        let next = Next { generation: self.generation() + 1, edits: None };
        if self.slots.are_known(next.generation) { Ok(()) } else { self.fill(&next, tables) }
    }

    /// Says what an endpoint whose pod is not known may do: everything, or nothing.
    pub fn set_deny_unknown_endpoints(&self, deny: bool) {
        self.state.set_deny_unknown_endpoints(deny);
    }
}
