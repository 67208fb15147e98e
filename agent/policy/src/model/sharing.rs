//! What many objects have in common, kept once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{EndpointSlice, NetworkPolicy, Pod, PodTemplate, Requirement, Rule, Service, ServicePort, SlicePort};

/// What the objects that arrive have in common with those before: of ten thousand pods most are replicas of a few.
#[derive(Debug, Default)]
pub struct Sharing {
    templates: Pool<PodTemplate>,
    selectors: Pool<[Requirement]>,
    rules: Pool<[Rule]>,
    service_ports: Pool<[ServicePort]>,
    slice_ports: Pool<[SlicePort]>,
    words: Pool<str>,
    nodes: Pool<Box<str>>,
}

impl Sharing {
    /// Has a pod share with others what they have too.
    pub fn pod(&mut self, pod: &mut Pod) {
        if let Some(node) = &mut pod.node {
            self.nodes.share(node.shared());
        }
        if !self.templates.replace(&mut pod.template) {
            let template = Arc::make_mut(&mut pod.template);
            self.words.share(&mut template.service_account);
            for word in [&mut template.workload_kind, &mut template.workload].into_iter().flatten() {
                self.words.share(word);
            }
            self.templates.add(&pod.template);
        }
    }

    /// Has a Service share with others what they have too.
    pub fn service(&mut self, service: &mut Service) {
        self.service_ports.share(&mut service.ports);
    }

    /// Has a slice share with others what they have too.
    pub fn slice(&mut self, slice: &mut EndpointSlice) {
        self.slice_ports.share(&mut slice.ports);
        if let Some(service) = &mut slice.service {
            self.words.share(service);
        }
        for node in slice.endpoints.iter_mut().filter_map(|endpoint| endpoint.node.as_mut()) {
            self.nodes.share(node.shared());
        }
    }

    /// Has a policy share with others what they have too.
    pub fn policy(&mut self, policy: &mut NetworkPolicy) {
        self.selectors.share(&mut policy.pod_selector.requirements);
        for rules in [&mut policy.ingress, &mut policy.egress].into_iter().flatten() {
            self.rules.share(rules);
        }
        self.words.share(policy.text.spec_mut());
    }
}

/// Values that several may have.
#[derive(Debug)]
struct Pool<T: ?Sized> {
    known: BTreeSet<Arc<T>>,
    /// How many there may be before those that nobody has any more are thrown away.
    most: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { known: BTreeSet::new(), most: 64 }
    }
}

impl<T: Ord + ?Sized> Pool<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        if !self.replace(value) {
            self.add(value);
        }
    }

    /// Puts the one that is known in its place; returns whether there is one.
    fn replace(&self, value: &mut Arc<T>) -> bool {
        let known = self.known.get(value);
        known.inspect(|known| *value = Arc::clone(known)).is_some()
    }

    /// Takes in one that is not known.
    fn add(&mut self, value: &Arc<T>) {
        if self.known.len() >= self.most {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.most = (self.known.len() * 2).max(64);
        }
        self.known.insert(Arc::clone(value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LabelSelector, ObjectName, Uid};
    use super::*;

    #[test]
    fn policies_that_ask_for_the_same_share_it() {
        let policy = |namespace: &str| NetworkPolicy {
            name: ObjectName::new(namespace, "deny"),
            uid: Uid::default(),
            generation: 1,
            resource_version: String::new(),
            pod_selector: LabelSelector::labels([("tier", "back")]),
            ingress: Some(vec![Rule::Unusable].into()),
            egress: None,
            text: namespace.into(),
            faults: Vec::new(),
        };
        let mut policies = ["bank", "shop"].map(policy);
        let mut sharing = Sharing::default();
        for policy in &mut policies {
            sharing.policy(policy);
        }
        assert_eq!(policies, ["bank", "shop"].map(policy));
        let [one, other] = policies;
        assert!(Arc::ptr_eq(&one.pod_selector.requirements, &other.pod_selector.requirements));
        assert!(Arc::ptr_eq(&one.ingress.unwrap(), &other.ingress.unwrap()));
    }

    #[test]
    fn values_alike_become_one() {
        let mut pool = Pool::default();
        let mut values: [Arc<str>; 3] = ["a", "b", "a"].map(Arc::from);
        for value in &mut values {
            pool.share(value);
        }
        assert!(Arc::ptr_eq(&values[0], &values[2]));
        assert_eq!(values.each_ref().map(|value| &**value), ["a", "b", "a"]);
    }

    #[test]
    fn what_nobody_has_any_more_is_thrown_away() {
        let mut pool = Pool::default();
        let mut kept: Arc<str> = "kept".into();
        pool.share(&mut kept);
        for number in 0..10_000 {
            pool.share(&mut Arc::from(number.to_string()));
        }
        assert!(pool.known.len() <= 64, "{}", pool.known.len());
        let mut again: Arc<str> = "kept".into();
        pool.share(&mut again);
        assert!(Arc::ptr_eq(&kept, &again));
    }
}
