//! What the API server has said so far, as a cluster.
//!
//! Nothing here waits or asks: each piece of news is taken in, and at any moment the index says what the cluster is. A list
//! that is under way is kept apart, and takes the place of what was known when it is complete: so what was deleted while
//! nobody listened goes, and all of it in one step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use podwitness_manifests::{Effect, Object, ObjectKey, Problem};
use podwitness_policy::{Cluster, Named, Objects, Sharing};

use super::failure::Failure;
use super::kind::Kind;
use crate::Fault;

/// Something that the API server says about a kind, or does not.
#[derive(Debug)]
pub(super) enum News {
    /// A list begins.
    Listing,
    /// An object of the list.
    Listed(Arrival),
    /// The list is complete, and changes follow.
    Complete,
    /// An object was made or changed.
    Applied(Arrival),
    /// An object is gone.
    Deleted(ObjectKey),
    /// Changes come in again after a failure.
    Following,
    /// What is known is no longer followed, for this reason.
    Failed(Failure),
}

/// An object as it arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Which one it is.
    pub(super) key: ObjectKey,
    /// What can be used of it.
    pub(super) object: Option<Object>,
    /// What is wrong with it.
    pub(super) problems: Vec<Problem>,
}

/// How far a kind is known.
#[derive(Debug, Default)]
struct Knowledge {
    /// Whether it was ever listed to the end.
    is_known: bool,
    /// Why it is not followed now.
    failure: Option<Failure>,
    problems: BTreeMap<ObjectKey, Vec<Problem>>,
}

/// Everything that was said.
#[derive(Debug, Default)]
pub(super) struct Index {
    origin: String,
    cluster: Cluster,
    knowledge: BTreeMap<Kind, Knowledge>,
    /// Lists that are under way.
    staged: Cluster,
    staged_problems: BTreeMap<Kind, BTreeMap<ObjectKey, Vec<Problem>>>,
    sharing: Sharing,
}

impl Index {
    /// Nothing was said yet by the server at `origin`.
    pub(super) fn new(origin: String, kinds: &[Kind]) -> Self {
        let knowledge = kinds.iter().map(|kind| (*kind, Knowledge::default())).collect();
        Self { origin, knowledge, ..Self::default() }
    }

    /// Takes in what is said about a kind; returns whether anything is different now.
    pub(super) fn take(&mut self, kind: Kind, news: News) -> bool {
        let knowledge = self.knowledge.entry(kind).or_default();
        match news {
            News::Listing => {
                self.drop_staged(kind);
                false
            }
            News::Listed(Arrival { key, object, problems }) => {
                if let Some(object) = object {
                    put(shared(&mut self.sharing, object), &mut self.staged, Some(&self.cluster));
                }
                if !problems.is_empty() {
                    self.staged_problems.entry(kind).or_default().insert(key, problems);
                }
                false
            }
            News::Complete => {
                kind.exchange(&mut self.cluster, &mut self.staged);
                knowledge.problems = self.staged_problems.remove(&kind).unwrap_or_default();
                knowledge.is_known = true;
                knowledge.failure = None;
                self.drop_staged(kind);
                true
            }
            News::Applied(Arrival { key, object, problems }) => {
                let before = if problems.is_empty() {
                    knowledge.problems.remove(&key)
                } else {
                    knowledge.problems.insert(key.clone(), problems.clone())
                };
                let is_wrong_otherwise = before.unwrap_or_default() != problems;
                let has_changed = match object {
                    Some(object) => put(shared(&mut self.sharing, object), &mut self.cluster, None),
                    None => remove(kind, &key, &mut self.cluster),
                };
                has_changed || is_wrong_otherwise
            }
            News::Deleted(key) => {
                let was_wrong = knowledge.problems.remove(&key).is_some();
                remove(kind, &key, &mut self.cluster) || was_wrong
            }
            News::Following => knowledge.failure.take().is_some(),
            News::Failed(failure) => {
                // A cluster that does not have the kind has no object of it. Those that are known stay: where the kind was
                // deleted they were deleted with it, one by one.
                knowledge.is_known |= is_optional(kind, &failure);
                let before = knowledge.failure.replace(failure);
                let is_new = before != knowledge.failure;
                self.drop_staged(kind);
                is_new
            }
        }
    }

    /// The cluster, once every kind was listed to the end.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.knowledge.values().all(|knowledge| knowledge.is_known).then_some(&self.cluster)
    }

    /// Whether the cluster is what the server says now, as far as anybody can tell.
    pub(super) fn is_complete(&self) -> bool {
        let is_followed = |(kind, knowledge): (&Kind, &Knowledge)| match &knowledge.failure {
            None => knowledge.is_known,
            Some(failure) => is_optional(*kind, failure) && self.cluster.trails.is_empty(),
        };
        self.knowledge.iter().all(is_followed)
    }

    /// What is wrong with objects, and what is not followed, sorted.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let consequence = match self.cluster() {
            Some(_) => "what was read before stays in force",
            None => "until everything has been read once nothing new is put in force",
        };
        let fault = |message, effect| Fault { origin: self.origin.clone(), document: None, message, effect };
        let mut faults = BTreeSet::new();
        for (kind, knowledge) in &self.knowledge {
            match &knowledge.failure {
                Some(failure) if is_optional(*kind, failure) => {
                    let sentence = failure.sentence(*kind);
                    let message = format!("{sentence}, if namespaces are to say how their evidence is kept");
                    faults.insert(fault(message, Some(Effect::Ignored)));
                }
                Some(failure) => {
                    faults.insert(fault(format!("{} ({consequence})", failure.sentence(*kind)), None));
                }
                None => {}
            }
            for (key, problems) in &knowledge.problems {
                let of_object = |problem: &Problem| fault(format!("{key}: {problem}"), Some(problem.effect));
                faults.extend(problems.iter().map(of_object));
            }
        }
        faults.into_iter().collect()
    }

    fn drop_staged(&mut self, kind: Kind) {
        kind.exchange(&mut self.staged, &mut Cluster::default());
        self.staged_problems.remove(&kind);
    }
}

/// Whether all is well although a kind is not followed: namespaces need not be able to say how their evidence is kept.
fn is_optional(kind: Kind, failure: &Failure) -> bool {
    kind == Kind::AuditTrail && *failure == Failure::NoSuchKind
}

/// Takes an object away; returns whether it was there.
fn remove(kind: Kind, key: &ObjectKey, cluster: &mut Cluster) -> bool {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let name = || podwitness_policy::ObjectName::new(namespace, &key.name);
    match kind {
        Kind::Namespace => cluster.namespaces.remove(&key.name),
        Kind::Pod => cluster.pods.remove(&name()),
        Kind::NetworkPolicy => cluster.policies.remove(&name()),
        Kind::Service => cluster.services.remove(&name()),
        Kind::EndpointSlice => cluster.endpoint_slices.remove(&name()),
        Kind::Node => cluster.nodes.remove(&key.name),
        // One of another name never counted.
        Kind::AuditTrail => key.name == "default" && cluster.trails.remove(namespace),
    }
}

/// Puts an object into a cluster, unless it is there as it is; returns whether it was put. What `known` has of it is shared.
fn put(object: Object, cluster: &mut Cluster, known: Option<&Cluster>) -> bool {
    fn put<T: Named + PartialEq>(object: T, objects: &mut Objects<T>, known: Option<&Objects<T>>) -> bool {
        if objects.get(object.name()) == Some(&object) {
            return false;
        }
        match known.and_then(|known| known.shared(object.name())).filter(|known| ***known == object) {
            Some(same) => objects.insert(Arc::clone(same)),
            None => objects.insert(object),
        }
        true
    }
    match object {
        Object::Namespace(namespace) => put(namespace, &mut cluster.namespaces, known.map(|known| &known.namespaces)),
        Object::Pod(pod) => put(pod, &mut cluster.pods, known.map(|known| &known.pods)),
        Object::NetworkPolicy(policy) => put(policy, &mut cluster.policies, known.map(|known| &known.policies)),
        Object::Node(node) => put(node, &mut cluster.nodes, known.map(|known| &known.nodes)),
        Object::Service(service) => put(service, &mut cluster.services, known.map(|known| &known.services)),
        Object::EndpointSlice(slice) => {
            put(slice, &mut cluster.endpoint_slices, known.map(|known| &known.endpoint_slices))
        }
        Object::AuditTrail(trail) => put(trail, &mut cluster.trails, known.map(|known| &known.trails)),
    }
}

/// The object, with what it has in common with others shared between them.
fn shared(sharing: &mut Sharing, mut object: Object) -> Object {
    match &mut object {
        Object::Pod(pod) => sharing.pod(pod),
        Object::Service(service) => sharing.service(service),
        Object::EndpointSlice(slice) => sharing.slice(slice),
        Object::NetworkPolicy(policy) => sharing.policy(policy),
        _ => {}
    }
    object
}
