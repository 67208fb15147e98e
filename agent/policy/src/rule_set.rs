//! The attribution of a decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{NetworkPolicy, ObjectName, Uid};

/// One rule of one policy, or a policy as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyRule {
    /// The policy.
    pub policy: ObjectName,
    /// The policy's uid; empty where the source has none.
    pub uid: Uid,
    /// The index of the rule in the direction's list; `None` where the policy's isolation is meant.
    pub rule: Option<u32>,
}

/// The set of rules that allow one class of traffic, or the set of policies that isolate; ordered by policy and rule.
///
/// Sets are shared by many table entries: a clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleSet(Arc<BTreeSet<PolicyRule>>);

impl RuleSet {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Its members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &PolicyRule> {
        self.0.iter()
    }
}

impl FromIterator<PolicyRule> for RuleSet {
    fn from_iter<I: IntoIterator<Item = PolicyRule>>(rules: I) -> Self {
        Self(Arc::new(rules.into_iter().collect()))
    }
}

impl PolicyRule {
    /// The rule with this index of a policy, or the policy as a whole.
    pub(crate) fn of(policy: &NetworkPolicy, rule: Option<u32>) -> Self {
        Self { policy: policy.name.clone(), uid: policy.uid.clone(), rule }
    }
}
