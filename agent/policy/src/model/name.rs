//! The names of namespaced objects, and those of nodes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What stands between the two words. No name has it in the API, and it comes before every other character: so names
/// are in the order of their namespaces first.
const BETWEEN: char = '\0';

/// The name of a namespaced object; shown as `namespace/name`. That of a pod stands in several places: it is a single
/// block of memory, and a clone of it is none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// The name of the object `name` in `namespace`. A namespace has no U+0000 in it: should there be one, it becomes
    /// U+FFFD.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        let mut both = String::with_capacity(namespace.len() + BETWEEN.len_utf8() + name.len());
        both.extend(namespace.chars().map(|c| if c == BETWEEN { char::REPLACEMENT_CHARACTER } else { c }));
        both.push(BETWEEN);
        both.push_str(name);
        Self(both.into())
    }

    /// The namespace that the object is in.
    pub fn namespace(&self) -> &str {
        self.words().0
    }

    /// The object's name within its namespace and kind.
    pub fn name(&self) -> &str {
        self.words().1
    }

    fn words(&self) -> (&str, &str) {
        self.0.split_once(BETWEEN).expect("it is put there first of all")
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.words();
        write!(formatter, "{namespace}/{name}")
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.words();
        formatter.debug_struct("ObjectName").field("namespace", &namespace).field("name", &name).finish()
    }
}

/// The name of a node, where each pod and each endpoint of a slice has one. A source has few, and shares them
/// ([`Sharing`](super::Sharing)), so that it is small where it stands: one word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName(Arc<Box<str>>);

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        Self(Arc::new(name.into()))
    }
}

impl From<String> for NodeName {
    fn from(name: String) -> Self {
        Self(Arc::new(name.into()))
    }
}

impl Deref for NodeName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl NodeName {
    /// What is shared.
    pub(super) fn shared(&mut self) -> &mut Arc<Box<str>> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_their_namespaces_and_then_of_their_own() {
        let words = ["", "\0", "\0\0", "\u{1}", "-", "a", "a\0", "a\0b", "a-", "a-b", "ab", "b", "\u{10ffff}"];
        let mut pairs = Vec::new();
        for namespace in words.iter().filter(|word| !word.contains('\0')) {
            pairs.extend(words.map(|name| (*namespace, name)));
        }
        for one in &pairs {
            let own = ObjectName::new(one.0, one.1);
            assert_eq!((own.namespace(), own.name()), *one);
            for other in &pairs {
                assert_eq!(own.cmp(&ObjectName::new(other.0, other.1)), one.cmp(other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_namespace_cannot_reach_into_the_name() {
        let name = ObjectName::new("a\0b", "c");
        assert_eq!((name.namespace(), name.name()), ("a\u{fffd}b", "c"));
        assert_ne!(name, ObjectName::new("a", "b\0c"));
    }

    #[test]
    fn it_is_shown_as_people_write_it() {
        let name = ObjectName::new("shop", "web");
        assert_eq!(name.to_string(), "shop/web");
        assert_eq!(format!("{name:?}"), r#"ObjectName { namespace: "shop", name: "web" }"#);
    }
}
