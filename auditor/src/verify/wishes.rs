//! Whether deletions regarded what a node's seals say that its namespaces asked for.

use std::collections::BTreeMap;
use std::rc::Rc;

use podwitness_seals::seal::{Asked, NamespaceRetention, Seal};
use podwitness_seals::time::Time;

use super::context::Context;
use super::deletions::Deletions;
use super::finding::FindingCode;
use super::names::ChainName;

/// What the seals of one chain ask for, and what was deleted of what they list.
#[derive(Default)]
pub(super) struct Wishes {
    /// In the order of the chain.
    seals: Vec<Asking>,
    /// By deletion and namespace, the latest time in what was deleted.
    deleted: BTreeMap<(usize, Option<String>), Time>,
}

/// A seal, as far as it matters here.
struct Asking {
    end: Time,
    /// The latest of its objects' first times: all that is in that object was made after it.
    newest: Option<Time>,
    /// As a rule the same as in the seal before.
    retention: Rc<[NamespaceRetention]>,
}

impl Wishes {
    /// Takes up the next seal of the chain.
    pub(super) fn add(&mut self, deletions: &Deletions, seal: &Seal, path: &str) {
        let before = self.seals.last().map(|before| &before.retention);
        let same = before.filter(|before| ***before == *seal.retention).cloned();
        self.seals.push(Asking {
            end: seal.window.end,
            newest: seal.objects.iter().map(|object| object.first_time).max(),
            retention: same.unwrap_or_else(|| seal.retention.as_slice().into()),
        });
        for object in &seal.objects {
            for deletion in deletions.of(&seal.cluster, object, path) {
                let latest = self.deleted.entry((deletion, object.namespace.clone())).or_insert(object.last_time);
                *latest = object.last_time.max(*latest);
            }
        }
    }

    /// Tells of each deletion that disregarded them. To be asked when the chain has ended.
    pub(super) fn tell(&self, context: &Context<'_>, deletions: &Deletions, chain: &ChainName) {
        for ((deletion, namespace), latest) in &self.deleted {
            let deletion = deletions.get(*deletion);
            let keeps =
                |asking: &Asking| Asked::of(&asking.retention, namespace.as_deref(), 0).keeps(*latest, deletion.time);
            if self.kept_throughout(deletion.time, keeps) {
                let of =
                    namespace.as_deref().map_or("all namespaces".to_owned(), |name| format!("the namespace {name}"));
                let why = format!(
                    "at {} it deleted evidence of {of} up to {latest}, which the seals of {chain} before and after that time ask to keep",
                    deletion.time
                );
                context.report.finding(FindingCode::RetentionDisregarded, &deletion.path, None, why);
            }
        }
    }

    /// Whether all of these seals keep it: the newest that ended by `time`, and those behind it up to the first which lists
    /// something that was all made later. Not where one of the two is missing: what the node knew then is not known.
    fn kept_throughout(&self, time: Time, keeps: impl Fn(&Asking) -> bool) -> bool {
        let Some(before) = self.seals.iter().rposition(|asking| asking.end <= time) else { return false };
        let mut behind = self.seals[before..].iter().take_while(|asking| keeps(asking));
        behind.next().is_some() && behind.any(|asking| asking.newest.is_some_and(|newest| newest > time))
    }
}
