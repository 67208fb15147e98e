//! Whether the program does its work, as a set of named conditions that are all needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions; clones share them. Without any condition it is ready, so add them before it is served.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<Arc<Named>>>>,
}

#[derive(Debug)]
struct Named {
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Met,
    /// With the reason, where one was given.
    Unmet(Option<String>),
}

impl Named {
    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// What a person reads; `None` while it is met.
    fn unmet(&self) -> Option<String> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Met => None,
            State::Unmet(None) => Some(self.name.clone()),
            State::Unmet(Some(why)) => Some(format!("{}: {why}", self.name)),
        }
    }
}

/// The handle of one condition, for the part of the program that knows whether it is met. When the handle is dropped
/// the condition is unmet for good, because nobody is left who could know.
#[derive(Debug)]
pub struct Condition {
    shared: Arc<Named>,
}

impl Readiness {
    /// No conditions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, unmet at first. `name` is what a person reads at `/readyz` while it is unmet.
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let shared = Arc::new(Named { name: name.into(), state: Mutex::new(State::Unmet(None)) });
        self.lock().push(Arc::clone(&shared));
        Condition { shared }
    }

    /// The names of the conditions that are not met, each with the reason where one is known, in the order in which they
    /// were added.
    pub fn unmet(&self) -> Vec<String> {
        self.lock().iter().filter_map(|condition| condition.unmet()).collect()
    }

    /// Whether every condition is met.
    pub fn is_ready(&self) -> bool {
        self.unmet().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Named>>> {
        // A list that is only pushed to is whole even if its pusher panicked.
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// Says whether it is met now.
    pub fn set(&self, met: bool) {
        self.shared.set(if met { State::Met } else { State::Unmet(None) });
    }

    /// Says that it is not met now, and why, in a sentence that says what to do.
    pub fn unmet_because(&self, why: impl Into<String>) {
        self.shared.set(State::Unmet(Some(why.into())));
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_while_every_condition_is_met() {
        let readiness = Readiness::new();
        let hooks = readiness.condition("hooks attached");
        let policy = readiness.condition("policy in force");
        assert_eq!(readiness.unmet(), ["hooks attached", "policy in force"]);
        policy.set(true);
        assert_eq!(readiness.unmet(), ["hooks attached"]);
        hooks.set(true);
        assert!(readiness.is_ready());
        policy.unmet_because("the folder is empty; fill it");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.unmet(), ["policy in force: the folder is empty; fill it"]);
        policy.set(true);
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_part_that_is_gone_is_not_ready() {
        let readiness = Readiness::new();
        let hooks = readiness.condition("hooks attached");
        hooks.set(true);
        assert!(readiness.is_ready());
        drop(hooks);
        assert_eq!(readiness.unmet(), ["hooks attached"]);
    }
}
