//! The objects of one kind, each under its own name.

use std::ops::Index;
use std::sync::Arc;

use super::{AuditTrail, EndpointSlice, Namespace, NetworkPolicy, Node, ObjectName, Pod, Service};

/// An object that has a name of its own among those of its kind.
pub trait Named {
    /// What names are.
    type Name: Ord + ?Sized;

    /// Its name.
    fn name(&self) -> &Self::Name;
}

macro_rules! named {
    ($($object:ty: $name:ty, $own:ident => $field:expr;)*) => {
        $(impl Named for $object {
            type Name = $name;

            fn name(&self) -> &$name {
                let $own = self;
                $field
            }
        })*
    };
}

named! {
    Namespace: str, namespace => &namespace.name;
    Pod: ObjectName, pod => &pod.name;
    NetworkPolicy: ObjectName, policy => &policy.name;
    Node: str, node => &node.name;
    Service: ObjectName, service => &service.name;
    EndpointSlice: ObjectName, slice => &slice.name;
    // All that count are called `default`.
    AuditTrail: str, trail => trail.name.namespace();
}

/// The objects of one kind, in the order of their names.
///
/// A clone shares everything with its original, and a change copies pointers, never objects: of ten thousand pods
/// that is 80 KB. So somebody who follows a cluster can give it away after each change.
#[derive(Debug)]
pub struct Objects<T> {
    sorted: Arc<Vec<Arc<T>>>,
}

impl<T: Named> Objects<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The object of this name.
    pub fn get(&self, name: &T::Name) -> Option<&T> {
        self.shared(name).map(Arc::as_ref)
    }

    /// The object of this name, as it can be kept without a copy.
    pub fn shared(&self, name: &T::Name) -> Option<&Arc<T>> {
        Some(&self.sorted[self.position(name).ok()?])
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &T::Name) -> bool {
        self.position(name).is_ok()
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator + Clone {
        self.sorted.iter().map(Arc::as_ref)
    }

    /// Those of this name and after it, in the order of their names.
    pub fn iter_from<'a>(&'a self, name: &T::Name) -> impl Iterator<Item = &'a T> + use<'a, T> {
        self.shared_from(name).map(Arc::as_ref)
    }

    /// All of them, as they can be kept without a copy, in the order of their names.
    pub fn shared_iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.sorted.iter()
    }

    /// Those of this name and after it, as they can be kept without a copy, in the order of their names.
    pub fn shared_from<'a>(&'a self, name: &T::Name) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let first = self.position(name).unwrap_or_else(|next| next);
        self.sorted[first..].iter()
    }

    /// Whether they are shared with these, so that nothing differs.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sorted, &other.sorted)
    }

    /// Puts an object in the place of the one of its name, if there is one.
    pub fn insert(&mut self, object: impl Into<Arc<T>>) {
        let object = object.into();
        let position = self.position(object.name());
        let sorted = Arc::make_mut(&mut self.sorted);
        match position {
            Ok(there) => sorted[there] = object,
            Err(next) => sorted.insert(next, object),
        }
    }

    /// Takes the object of this name away; returns whether there was one.
    pub fn remove(&mut self, name: &T::Name) -> bool {
        let position = self.position(name);
        position.map(|there| Arc::make_mut(&mut self.sorted).remove(there)).is_ok()
    }

    fn position(&self, name: &T::Name) -> Result<usize, usize> {
        // Most come in order.
        if self.sorted.last().is_none_or(|last| last.name() < name) {
            return Err(self.sorted.len());
        }
        self.sorted.binary_search_by(|object| object.name().cmp(name))
    }
}

impl<T: Named + Clone> Objects<T> {
    /// The object of this name, to be changed in everything but its name.
    pub fn get_mut(&mut self, name: &T::Name) -> Option<&mut T> {
        let position = self.position(name).ok()?;
        Some(Arc::make_mut(&mut Arc::make_mut(&mut self.sorted)[position]))
    }

    /// All of them, to be changed in everything but their names.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        Arc::make_mut(&mut self.sorted).iter_mut().map(Arc::make_mut)
    }
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { sorted: Arc::default() }
    }
}

impl<T> Clone for Objects<T> {
    fn clone(&self) -> Self {
        Self { sorted: Arc::clone(&self.sorted) }
    }
}

impl<T: PartialEq> PartialEq for Objects<T> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(own, other): (&Arc<T>, &Arc<T>)| Arc::ptr_eq(own, other) || own == other;
        Arc::ptr_eq(&self.sorted, &other.sorted)
            || self.sorted.len() == other.sorted.len() && self.sorted.iter().zip(other.sorted.iter()).all(same)
    }
}

impl<T: Eq> Eq for Objects<T> {}

impl<T: Named> Index<&T::Name> for Objects<T> {
    type Output = T;

    fn index(&self, name: &T::Name) -> &T {
        self.get(name).expect("no object of this name")
    }
}

impl<T: Named> Extend<T> for Objects<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, objects: I) {
        for object in objects {
            self.insert(object);
        }
    }
}

impl<T: Named> FromIterator<T> for Objects<T> {
    fn from_iter<I: IntoIterator<Item = T>>(objects: I) -> Self {
        let mut collected = Self::default();
        collected.extend(objects);
        collected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: [u8; 4]) -> Node {
        Node { name: name.to_owned(), addresses: vec![address.into()], pod_cidrs: Vec::new() }
    }

    #[test]
    fn objects_stand_in_the_order_of_their_names_whatever_the_order_in_which_they_came() {
        let mut nodes: Objects<Node> = ["c", "a", "d", "b"].map(|name| node(name, [1, 1, 1, 1])).into_iter().collect();
        let names = |nodes: &Objects<Node>| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&nodes), ["a", "b", "c", "d"]);
        nodes.insert(node("b", [2, 2, 2, 2]));
        assert_eq!(nodes["b"].addresses, [std::net::IpAddr::from([2, 2, 2, 2])]);
        assert!(nodes.remove("c") && !nodes.remove("c") && !nodes.contains("c"));
        assert_eq!(names(&nodes), ["a", "b", "d"]);
        assert_eq!(nodes.iter_from("bb").map(|node| node.name.as_str()).collect::<Vec<_>>(), ["d"]);
        assert_eq!((nodes.len(), nodes.is_empty(), nodes.get("e")), (3, false, None));
    }

    #[test]
    fn a_change_leaves_a_clone_as_it_was_and_shares_what_did_not_change() {
        let before: Objects<Node> = ["a", "b"].map(|name| node(name, [1, 1, 1, 1])).into_iter().collect();
        let mut after = before.clone();
        after.get_mut("b").expect("it was put there").addresses.clear();
        assert_eq!(before["b"].addresses.len(), 1);
        assert_ne!(before, after);
        let shared = |nodes: &Objects<Node>, name| Arc::clone(nodes.shared(name).expect("it was put there"));
        assert!(Arc::ptr_eq(&shared(&before, "a"), &shared(&after, "a")));
        after.insert(before["b"].clone());
        assert_eq!(before, after);
    }
}
