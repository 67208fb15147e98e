//! Definitions: what records refer to by id, on the writer's and on the reader's side.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::envelope::{StoredBatch, Trails};
use crate::message::{Checkpoint, Identity, Record, Revision, RuleSet, Trail};

/// Where the writer asks for the definitions that records refer to.
///
/// Asked once per id and segment. Where it answers `None` the record is written without the definition, the question is
/// put again with the next record that refers to it, and the reader's [`SegmentDefinitions`] has nothing for the id.
pub trait Definitions {
    /// The identity with this id; never asked for 0.
    fn identity(&self, id: u32) -> Option<Identity>;
    /// The rule set with this id; never asked for 0.
    fn rule_set(&self, id: u32) -> Option<RuleSet>;
    /// The policy revision with this number; never asked for 0.
    fn revision(&self, number: i64) -> Option<Revision>;
    /// The trails of all namespaces that have one, by namespace; `None` where nobody knows them yet. They are stated in
    /// each segment before its first record, and before the first record after a change.
    fn trails(&self) -> Option<Arc<[Trail]>> {
        None
    }
}

/// The definitions in force for the records of a batch. Cheap to copy; a batch's never change under its holder.
#[derive(Clone, Debug, Default)]
pub struct SegmentDefinitions {
    identities: HashMap<u32, Arc<Identity>>,
    rule_sets: HashMap<u32, Arc<RuleSet>>,
    revisions: HashMap<i64, Arc<Revision>>,
    trails: Option<Arc<[Trail]>>,
}

impl SegmentDefinitions {
    /// The identity that records mean by this id; `None` for 0 and where the writer was not told.
    pub fn identity(&self, id: u32) -> Option<&Arc<Identity>> {
        self.identities.get(&id)
    }

    /// The rule set that records mean by this id; `None` for 0 and where the writer was not told.
    pub fn rule_set(&self, id: u32) -> Option<&Arc<RuleSet>> {
        self.rule_sets.get(&id)
    }

    /// The policy revision that records mean by this number; `None` for 0 and where the writer was not told.
    pub fn revision(&self, number: i64) -> Option<&Arc<Revision>> {
        self.revisions.get(&number)
    }

    /// The trails in force for these records, of all namespaces that have one, by namespace; `None` where the writer did
    /// not know them, or was of a version that does not state them.
    pub fn trails(&self) -> Option<&Arc<[Trail]>> {
        self.trails.as_ref()
    }

    /// The trail of a namespace; `None` where it has none, or none is known.
    pub fn trail(&self, namespace: &str) -> Option<&Trail> {
        let trails = self.trails.as_ref()?;
        let found = trails.binary_search_by(|trail| trail.namespace.as_str().cmp(namespace));
        found.ok().map(|index| &trails[index])
    }

    /// Takes the definitions out of a batch. Copies the maps only if somebody holds the ones before and there is
    /// something new.
    pub(crate) fn learn(this: &mut Arc<Self>, batch: &mut StoredBatch) {
        let StoredBatch { identities, rule_sets, revisions, trails, .. } = &*batch;
        if identities.is_empty() && rule_sets.is_empty() && revisions.is_empty() && trails.is_none() {
            return;
        }
        let known = Arc::make_mut(this);
        if let Some(Trails { mut trails }) = batch.trails.take() {
            trails.sort_unstable_by(|left, right| left.namespace.cmp(&right.namespace));
            known.trails = Some(trails.into());
        }
        known.identities.extend(batch.identities.drain(..).map(|found| (found.id, Arc::new(found))));
        known.rule_sets.extend(batch.rule_sets.drain(..).map(|found| (found.id, Arc::new(found))));
        known.revisions.extend(batch.revisions.drain(..).map(|found| (found.number, Arc::new(found))));
    }
}

/// The ids that this writer has defined in the segment at hand. Starts empty with each segment and each writer, so
/// that a definition is valid for the records behind it whatever an earlier agent meant by the id.
#[derive(Debug, Default)]
pub(crate) struct Defined {
    identities: HashSet<u32>,
    rule_sets: HashSet<u32>,
    revisions: HashSet<i64>,
    trails: Option<Arc<[Trail]>>,
}

impl Defined {
    /// A batch without records that defines what these records refer to and this segment has not defined.
    pub(crate) fn head(&self, records: &[Record], source: &dyn Definitions, checkpoint: &Checkpoint) -> StoredBatch {
        let trails = source.trails().filter(|trails| self.trails.as_ref() != Some(trails));
        let trails = trails.map(|trails| Trails { trails: trails.to_vec() });
        let mut head = StoredBatch { checkpoint: checkpoint.clone(), trails, ..StoredBatch::default() };
        let (mut identities, mut rule_sets, mut revisions) = (HashSet::new(), HashSet::new(), HashSet::new());
        for record in records {
            let References { identities: of_identities, rule_sets: of_rule_sets, revision } = references(record);
            for id in of_identities {
                if id != 0 && !self.identities.contains(&id) && identities.insert(id) {
                    // The id asked for rules: it is what the records refer to.
                    head.identities.extend(source.identity(id).map(|found| Identity { id, ..found }));
                }
            }
            for id in of_rule_sets {
                if id != 0 && !self.rule_sets.contains(&id) && rule_sets.insert(id) {
                    head.rule_sets.extend(source.rule_set(id).map(|found| RuleSet { id, ..found }));
                }
            }
            let number = revision;
            if number != 0 && !self.revisions.contains(&number) && revisions.insert(number) {
                head.revisions.extend(source.revision(number).map(|found| Revision { number, ..found }));
            }
        }
        head
    }

    /// Remembers what a head defined, once it is committed.
    pub(crate) fn add(&mut self, head: &StoredBatch) {
        self.identities.extend(head.identities.iter().map(|defined| defined.id));
        self.rule_sets.extend(head.rule_sets.iter().map(|defined| defined.id));
        self.revisions.extend(head.revisions.iter().map(|defined| defined.number));
        if let Some(Trails { trails }) = &head.trails {
            self.trails = Some(trails.as_slice().into());
        }
    }
}

/// What a record refers to; 0 for nothing.
#[derive(Default)]
struct References {
    identities: [u32; 2],
    rule_sets: [u32; 2],
    revision: i64,
}

fn references(record: &Record) -> References {
    match record {
        Record::Verdict(verdict) => References {
            identities: [verdict.src_identity, verdict.dst_identity],
            rule_sets: [verdict.rule_set, verdict.previous_rule_set],
            revision: verdict.policy_revision,
        },
        Record::Coverage(coverage) => References { revision: coverage.policy_revision, ..References::default() },
        Record::Policy(version) => References { revision: version.policy_revision, ..References::default() },
    }
}
