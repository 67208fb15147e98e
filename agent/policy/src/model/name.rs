//! The names of namespaced objects, and those of nodes.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use triomphe::ThinArc;

/// What stands between the two words. No name has it in the API, and it comes before every other character: so names
/// are in the order of their namespaces first.
const BETWEEN: char = '\0';

/// The name of a namespaced object; shown as `namespace/name`. That of a pod stands in several places: it is a single
/// block of memory, to which one word points, and a clone of it is none.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectName(ThinArc<(), u8>);

impl ObjectName {
    /// The name of the object `name` in `namespace`. A namespace has no U+0000 in it: should there be one, it becomes
    /// U+FFFD.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        let mut both = String::with_capacity(namespace.len() + BETWEEN.len_utf8() + name.len());
        both.extend(namespace.chars().map(|c| if c == BETWEEN { char::REPLACEMENT_CHARACTER } else { c }));
        both.push(BETWEEN);
        both.push_str(name);
        Self(ThinArc::from_header_and_slice((), both.as_bytes()))
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
        let both = std::str::from_utf8(&self.0.slice).expect("it is made of text");
        both.split_once(BETWEEN).expect("it is put there first of all")
    }
}

/// Text in UTF-8 is in the order of its bytes.
impl Ord for ObjectName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.slice.cmp(&other.0.slice)
    }
}

impl PartialOrd for ObjectName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
