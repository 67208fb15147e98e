//! The objects of one kind, each under its own name.

use std::ops::Index;
use std::sync::Arc;

use podwitness_sorted::{Difference, Keyed, SortedList};

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
/// A clone shares everything with its original, and a change makes a piece of the list anew, never objects. So
/// somebody who follows a cluster can give it away after each change.
#[derive(Debug)]
pub struct Objects<T> {
    sorted: SortedList<ByName<T>>,
}

/// An object under its name.
#[derive(Debug)]
struct ByName<T>(Arc<T>);

impl<T: Named> Keyed for ByName<T> {
    type Key = T::Name;

    fn key(&self) -> &T::Name {
        self.0.name()
    }
}

impl<T> Clone for ByName<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: PartialEq> PartialEq for ByName<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T: Eq> Eq for ByName<T> {}

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
        self.sorted.get(name).map(|ByName(object)| object)
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &T::Name) -> bool {
        self.sorted.get(name).is_some()
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.sorted.iter().map(|ByName(object)| &**object)
    }

    /// Those of this name and after it, in the order of their names.
    pub fn iter_from<'a>(&'a self, name: &T::Name) -> impl Iterator<Item = &'a T> + use<'a, T> {
        self.shared_from(name).map(Arc::as_ref)
    }

    /// All of them, as they can be kept without a copy, in the order of their names.
    pub fn shared_iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.sorted.iter().map(|ByName(object)| object)
    }

    /// Those of this name and after it, as they can be kept without a copy, in the order of their names.
    pub fn shared_from<'a>(&'a self, name: &T::Name) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        self.sorted.iter_from(name).map(|ByName(object)| object)
    }

    /// Puts an object in the place of the one of its name, if there is one.
    pub fn insert(&mut self, object: impl Into<Arc<T>>) {
        self.sorted.put(ByName(object.into()));
    }

    /// Takes the object of this name away; returns whether there was one.
    pub fn remove(&mut self, name: &T::Name) -> bool {
        self.sorted.take(name)
    }
}

impl<T: Named + PartialEq> Objects<T> {
    /// How the objects differ from those of the same names `after`, in the order of their names. What both share is passed
    /// over.
    pub fn differences<'a>(&'a self, after: &'a Self) -> impl Iterator<Item = Difference<&'a Arc<T>>> {
        self.sorted.differences(&after.sorted).map(|difference| difference.map(|ByName(object)| object))
    }
}

impl<T: Named + Clone> Objects<T> {
    /// The object of this name, to be changed in everything but its name.
    pub fn get_mut(&mut self, name: &T::Name) -> Option<&mut T> {
        self.sorted.get_mut(name).map(|ByName(object)| Arc::make_mut(object))
    }

    /// All of them, to be changed in everything but their names.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.sorted.iter_mut().map(|ByName(object)| Arc::make_mut(object))
    }
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { sorted: SortedList::default() }
    }
}

impl<T> Clone for Objects<T> {
    fn clone(&self) -> Self {
        Self { sorted: self.sorted.clone() }
    }
}

impl<T: Named + PartialEq> PartialEq for Objects<T> {
    fn eq(&self, other: &Self) -> bool {
        self.sorted == other.sorted
    }
}

impl<T: Named + Eq> Eq for Objects<T> {}

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
