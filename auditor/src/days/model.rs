//! When each file may go, in the plainest words: no part of it is shared with what is tested.

use std::collections::{BTreeMap, BTreeSet};

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) seconds: i64,
    pub(super) hold: bool,
}

/// What is asked for, by namespace.
pub(super) type Wishes = BTreeMap<&'static str, Wish>;

/// A file. Times are in microseconds since 1970.
struct File {
    node: usize,
    namespace: Option<&'static str>,
    last: i64,
    until: i64,
    is_sealed: bool,
}

/// Every file that is there.
#[derive(Default)]
pub(super) struct Model {
    files: BTreeMap<String, File>,
}

/// What is asked for a file: of a namespace's its own wish, else the default; of what is nobody's the longest of all, and any hold.
fn asked(wishes: &Wishes, default: i64, namespace: Option<&str>) -> Wish {
    match namespace {
        Some(namespace) if namespace != "_unknown" => {
            wishes.get(namespace).copied().unwrap_or(Wish { seconds: default, hold: false })
        }
        _ => {
            let mut all = Wish { seconds: default, hold: false };
            for wish in wishes.values() {
                all.seconds = all.seconds.max(wish.seconds);
                all.hold |= wish.hold;
            }
            all
        }
    }
}

fn micros(seconds: i64) -> i64 {
    seconds * 1_000_000
}

impl Model {
    /// A file is put, while this is asked for.
    pub(super) fn put(
        &mut self,
        path: &str,
        node: usize,
        namespace: Option<&'static str>,
        last: i64,
        wishes: &Wishes,
        default: i64,
    ) {
        let until = last + micros(asked(wishes, default, namespace).seconds);
        let file = File { node, namespace, last, until, is_sealed: false };
        assert!(self.files.insert(path.to_owned(), file).is_none(), "{path} was put twice");
    }

    /// What the node has put is sealed; it has heard of these wishes. What a namespace asks for now extends what it has asked for
    /// before.
    pub(super) fn seal(&mut self, node: usize, heard: &Wishes) {
        for file in self.files.values_mut().filter(|file| file.node == node && !file.is_sealed) {
            file.is_sealed = true;
            if let Some(wish) = file.namespace.and_then(|namespace| heard.get(namespace)) {
                file.until = file.until.max(file.last + micros(wish.seconds));
            }
        }
    }

    /// What may go goes. Gives how many files.
    pub(super) fn retain(&mut self, now: i64, wishes: &Wishes, default: i64) -> usize {
        let before = self.files.len();
        self.files.retain(|_, file| {
            let wish = asked(wishes, default, file.namespace);
            !file.is_sealed || wish.hold || file.until > now || file.last + micros(wish.seconds) > now
        });
        before - self.files.len()
    }

    /// What is left.
    pub(super) fn paths(&self) -> BTreeSet<&str> {
        self.files.keys().map(String::as_str).collect()
    }
}
