//! Whether the program does its work, as a set of named conditions that are all needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions; clones share them. Without any condition it is ready, so add them before it is served.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<Arc<Named>>>>,
}

#[derive(Debug)]
struct Named {
    name: String,
    met: AtomicBool,
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
        let shared = Arc::new(Named { name: name.into(), met: AtomicBool::new(false) });
        self.lock().push(Arc::clone(&shared));
        Condition { shared }
    }

    /// The names of the conditions that are not met, in the order in which they were added.
    pub fn unmet(&self) -> Vec<String> {
        let conditions = self.lock();
        let unmet = conditions.iter().filter(|condition| !condition.met.load(Ordering::Acquire));
        unmet.map(|condition| condition.name.clone()).collect()
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
        self.shared.met.store(met, Ordering::Release);
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
        policy.set(false);
        assert!(!readiness.is_ready());
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
