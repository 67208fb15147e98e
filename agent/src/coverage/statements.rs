//! Which versions of which policies are in force, and a record of each change of it.
//!
//! What is in force is stated whole when an agent first puts something in force, and on each day: so evidence of a day
//! explains itself, and nothing has to be remembered across agents.

use std::{collections::BTreeMap, sync::Arc};

use podwitness_policy::{Cluster, NetworkPolicy, ObjectName};
use podwitness_spool::{PolicyVersion, words::PolicyEvent};

use super::Journal;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// What was said of policies.
pub(crate) struct Statements {
    journal: Arc<Journal>,
    said: Option<Said>,
}

struct Said {
    revision: i64,
    /// Of the last statement, in days since 1970 in UTC.
    day: i64,
    cluster: Arc<Cluster>,
    since: BTreeMap<ObjectName, Since>,
}

/// From when on a version is in force.
#[derive(Clone, Copy)]
struct Since {
    revision: i64,
    time_us: i64,
}

impl Statements {
    /// Nothing was said yet.
    pub(crate) fn new(journal: Arc<Journal>) -> Self {
        Self { journal, said: None }
    }

    /// Takes in that the policies of `cluster` are in force as `revision`.
    pub(crate) fn in_force(&mut self, now_us: i64, revision: i64, cluster: &Arc<Cluster>) {
        let Some(said) = &mut self.said else {
            let since = Since { revision, time_us: now_us };
            let since = cluster.policies.iter().map(|policy| (policy.name.clone(), since)).collect();
            self.said = Some(Said { revision, day: i64::MIN, cluster: Arc::clone(cluster), since });
            return self.state_each_day(now_us);
        };
        if said.revision == revision {
            // The same versions of the same policies: that is what a revision is.
            said.cluster = Arc::clone(cluster);
            return;
        }
        for policy in said.cluster.policies.iter() {
            let name = &policy.name;
            if cluster.policies.get(name).is_none_or(|now| !is_same(policy, now)) {
                let since = said.since.remove(name).expect("each policy in force has its beginning");
                self.journal.policy(PolicyVersion {
                    revision_to: said.revision,
                    effective_to_us: Some(now_us),
                    ..record(PolicyEvent::Ended, now_us, revision, policy, since)
                });
            }
        }
        for policy in cluster.policies.iter() {
            if !said.since.contains_key(&policy.name) {
                let since = Since { revision, time_us: now_us };
                said.since.insert(policy.name.clone(), since);
                self.journal.policy(record(PolicyEvent::Effective, now_us, revision, policy, since));
            }
        }
        said.revision = revision;
        said.cluster = Arc::clone(cluster);
    }

    /// States what is in force, unless that was done on this day.
    pub(crate) fn state_each_day(&mut self, now_us: i64) {
        let Some(said) = &mut self.said else { return };
        let day = now_us.div_euclid(DAY_US);
        if said.day == day {
            return;
        }
        said.day = day;
        self.journal.policy(PolicyVersion {
            time_us: now_us,
            event: PolicyEvent::Statement.number().into(),
            policy_revision: said.revision,
            count: Some(i64::try_from(said.cluster.policies.len()).unwrap_or(i64::MAX)),
            ..PolicyVersion::default()
        });
        for policy in said.cluster.policies.iter() {
            let since = said.since[&policy.name];
            self.journal.policy(record(PolicyEvent::InForce, now_us, said.revision, policy, since));
        }
    }
}

/// Whether it is the same version: what a revision's SHA-256 is made of.
fn is_same(one: &NetworkPolicy, other: &NetworkPolicy) -> bool {
    one.uid == other.uid && one.text == other.text
}

fn record(event: PolicyEvent, now_us: i64, revision: i64, policy: &NetworkPolicy, since: Since) -> PolicyVersion {
    PolicyVersion {
        time_us: now_us,
        event: event.number().into(),
        namespace: policy.name.namespace().to_owned(),
        name: policy.name.name().to_owned(),
        uid: policy.uid.to_string(),
        generation: policy.generation,
        resource_version: policy.resource_version.clone(),
        text: policy.text.to_string(),
        policy_revision: revision,
        revision_from: since.revision,
        effective_from_us: Some(since.time_us),
        understood: Some(policy.faults.is_empty()),
        faults: policy.faults.clone(),
        ..PolicyVersion::default()
    }
}
