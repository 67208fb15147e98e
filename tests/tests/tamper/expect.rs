//! What follows for the rest of the root when one of its parts can be read no more, by section 7.1 of the format.

use std::collections::{BTreeMap, BTreeSet};

use podwitness_seals::deletion::Deletion;
use podwitness_seals::seal::Seal;
use podwitness_tests::sealed_root::golden::Golden;

use crate::verifiers::Finding;

/// The findings of a case.
pub(crate) type Findings = BTreeSet<Finding>;

/// One finding.
pub(crate) fn one(code: &str, object: &str) -> Findings {
    BTreeSet::from([(code.to_owned(), object.to_owned())])
}

/// All of them.
pub(crate) fn all(parts: impl IntoIterator<Item = Findings>) -> Findings {
    parts.into_iter().flatten().collect()
}

/// What stands in the root, to be asked for consequences.
pub(crate) struct Expect {
    paths: BTreeSet<String>,
    /// By path, which within a chain is by number.
    pub(crate) seals: Vec<(String, Seal)>,
    pub(crate) deletions: Vec<(String, Deletion)>,
}

impl Expect {
    pub(crate) fn of(golden: &Golden) -> Self {
        let paths = golden.root.objects.keys().cloned().collect();
        let (mut seals, deletions) = (golden.root.seals(), golden.root.deletions());
        seals.sort_by_key(|(_, seal)| (seal.node.clone(), seal.seal));
        Self { paths, seals, deletions }
    }

    /// The paths of a node's seals.
    pub(crate) fn chain(&self, node: &str) -> Vec<String> {
        self.seals.iter().filter(|(_, seal)| seal.node == node).map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn seal(&self, path: &str) -> &Seal {
        &self.seals.iter().find(|(at, _)| at == path).expect("it is a seal of this root").1
    }

    fn next(&self, path: &str) -> Option<&str> {
        let seal = self.seal(path);
        let next = self.seals.iter().find(|(_, next)| next.node == seal.node && next.seal == seal.seal + 1);
        next.map(|(path, _)| path.as_str())
    }

    /// The next seal does not follow from this one any more.
    pub(crate) fn breaks_next(&self, path: &str) -> Findings {
        self.next(path).map(|next| one("chain-broken", next)).unwrap_or_default()
    }

    /// This seal hands nothing over any more: where it did, who signs behind it is not trusted.
    pub(crate) fn hands_nothing_over(&self, path: &str) -> Findings {
        let seal = self.seal(path);
        let Some(next_key) = &seal.next_key_id else { return Findings::new() };
        let signed = self.seals.iter().filter(|(_, next)| next.node == seal.node && next.key_id == *next_key);
        all(signed.map(|(path, _)| one("key-untrusted", path)))
    }

    /// This seal is altered, and it can still be read.
    pub(crate) fn altered_seal(&self, path: &str) -> Findings {
        all([one("signature-wrong", path), self.breaks_next(path), self.hands_nothing_over(path)])
    }

    /// These seals of one chain list nothing any more.
    pub(crate) fn list_nothing(&self, unread: &[&str]) -> Findings {
        let mut found = Findings::new();
        let objects = unread.iter().flat_map(|path| &self.seal(path).objects);
        found.extend(all(objects.map(|object| {
            let code = if self.paths.contains(&object.path) { "object-unsealed" } else { "retention-early" };
            one(code, &object.path)
        })));
        let mut ends = BTreeMap::<_, i64>::new();
        for (_, seal) in self.seals.iter().filter(|(path, _)| !unread.contains(&path.as_str())) {
            for object in &seal.objects {
                let end = ends.entry((&object.table, &object.namespace, &seal.node, &object.boot)).or_default();
                if object.first_seq > *end + 1 {
                    found.extend(one("sequence-gap", &object.path));
                }
                *end = object.last_seq;
            }
        }
        found
    }

    /// These seals of one chain are of no use: what they list, hand over, and whether they end the chain.
    pub(crate) fn lose(&self, unread: &[&str]) -> Findings {
        let mut found = self.list_nothing(unread);
        found.extend(all(unread.iter().map(|path| self.hands_nothing_over(path))));
        found.retain(|(_, object)| !unread.contains(&object.as_str()));
        let node = &self.seal(unread[0]).node;
        let left: Vec<_> = self.chain(node).into_iter().filter(|path| !unread.contains(&path.as_str())).collect();
        let newest = left.last().expect("a case leaves something of a chain");
        // Of node-b no seal is overdue yet.
        if node == "node-a" && !self.seal(newest).last {
            found.extend(one("chain-ends-early", newest));
        }
        found
    }

    /// There is something at the place of this seal, which is no such seal.
    pub(crate) fn unreadable_seal(&self, path: &str) -> Findings {
        all([self.lose(&[path]), self.breaks_next(path)])
    }

    /// There is nothing at the place of this seal; `before` says whether numbers behind the chain's last are there.
    pub(crate) fn missing_seal(&self, path: &str, beyond: bool) -> Findings {
        let seal = self.seal(path);
        let hole = match (seal.seal, self.next(path)) {
            (1, Some(next)) => one("chain-begins-late", next),
            (_, None) if !beyond => Findings::new(),
            (number, _) => one("seal-missing", &format!("seals/cluster=lab/node={}/*-{number:012}.json", seal.node)),
        };
        all([self.lose(&[path]), hole])
    }

    /// This deletion excuses nothing any more.
    pub(crate) fn excuses_nothing(&self, path: &str) -> Findings {
        let deletion = self.deletions.iter().find(|(at, _)| at == path);
        let (_, deletion) = deletion.expect("it is a deletion of this root");
        all(deletion.objects.iter().map(|object| one("object-missing", &object.path)))
    }

    /// Every document that says that it is signed by a key.
    pub(crate) fn signed_by(&self, key: &str) -> Vec<String> {
        let seals = self.seals.iter().map(|(path, seal)| (path, &seal.key_id));
        let deletions = self.deletions.iter().map(|(path, deletion)| (path, &deletion.key_id));
        seals.chain(deletions).filter(|(_, id)| id.0 == key).map(|(path, _)| path.clone()).collect()
    }
}
