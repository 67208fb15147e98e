//! What the numbers in kernel tables and events mean: identities, rule sets, policy revisions and table generations. And
//! what namespaces ask for the evidence about them, which an agent must know before it has read the cluster again.
//!
//! # Invariants
//!
//! - A number is given once within a boot and never given again: events, connections and denials that outlive an agent
//!   refer to it. The same content has the same number for as long as this agent and the ones before it remember.
//! - A definition is written ([`ledger`]) before the kernel can refer to it, and on the disk before a record that refers to
//!   it is. So it outlives the agent as the kernel's maps do; neither of them outlives the kernel, and the controller does
//!   not wait for the disk.
//!
//! The controller adds definitions, the witness looks them up; [`Definitions`] is what they share.

mod identities;
mod ledger;
mod lexicon;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use podwitness_datapath::{AddressPrefix, Tables};
use podwitness_policy::ObjectName;
use podwitness_sorted::SortedList;
use podwitness_spool::{Definitions as _, Identity, Revision, RuleSet, Trail};
use podwitness_wire::{Address, AddressEntry, Known, address_flags, endpoint_flags};

use identities::Identities;
pub(crate) use ledger::LedgerError;
use ledger::{Entry, Ledger};

/// The definitions of this boot, shared between threads.
#[derive(Debug)]
pub(crate) struct Definitions {
    book: RwLock<Book>,
}

/// What is known at present, for records whose decision did not rest on it or came before it: what the tables in force say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Present {
    /// The generation of these tables, 0 where there are none.
    generation: u64,
    /// The identity behind each hooked interface whose pod is known.
    by_interface: HashMap<u32, u32>,
    /// What the addresses mean.
    addresses: SortedList<(AddressPrefix, AddressEntry)>,
    /// Where there are pods, also such that are not known.
    pod_ranges: BTreeSet<AddressPrefix>,
}

impl Present {
    /// Takes in what tables say.
    fn become_that_of(&mut self, generation: u64, tables: &Tables) {
        let known = tables.endpoints.iter().filter(|(_, entry)| entry.flags & endpoint_flags::KNOWN != 0);
        self.by_interface = known.map(|(interface, entry)| (*interface, entry.identity)).collect();
        let is_range = |entry: &&(AddressPrefix, AddressEntry)| entry.1.flags & address_flags::POD_RANGE != 0;
        for difference in self.addresses.differences(&tables.addresses) {
            if let Some((prefix, _)) = difference.before().filter(is_range) {
                self.pod_ranges.remove(prefix);
            }
            self.pod_ranges.extend(difference.after().filter(is_range).map(|(prefix, _)| *prefix));
        }
        self.addresses = tables.addresses.clone();
        self.generation = generation;
    }

    /// What is said of a single address.
    fn at(&self, address: &Address) -> Option<&AddressEntry> {
        let prefix = AddressPrefix { address: *address, bits: 128 };
        self.addresses.get(&prefix).map(|(_, entry)| entry)
    }

    fn pod_at(&self, address: &Address) -> Option<u32> {
        self.at(address).filter(|entry| entry.owner != 0).map(|entry| entry.identity)
    }
}

#[derive(Debug)]
struct Book {
    ledger: Ledger,
    meanings: Meanings,
    present: Present,
    /// Whether something was written that may not be on the disk.
    is_unsynced: bool,
    /// Whether what earlier agents of this boot had defined was lost, and no record says so.
    are_lost: bool,
}

/// What was defined, as the ledger has it.
#[derive(Debug, Default)]
struct Meanings {
    identities: Identities,
    rule_sets: Numbered<RuleSet>,
    services: Numbered<ObjectName>,
    revisions: HashMap<i64, Revision>,
    newest_revision: Revision,
    /// The revision of each generation, where it is another than that of the one before.
    generations: BTreeMap<u64, i64>,
    /// By namespace; `None` where no agent has known them yet.
    trails: Option<Arc<[Trail]>>,
}

/// Contents by number and numbers by content. The number within a content is 0 where it serves as a key.
#[derive(Debug)]
struct Numbered<T> {
    by_content: HashMap<Arc<T>, u32>,
    by_number: HashMap<u32, Arc<T>>,
    last: u32,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { by_content: HashMap::new(), by_number: HashMap::new(), last: 0 }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn learn(&mut self, number: u32, content: T) {
        self.last = self.last.max(number);
        let content = Arc::new(content);
        self.by_content.insert(Arc::clone(&content), number);
        self.by_number.insert(number, content);
    }

    fn get(&self, number: u32) -> Option<T> {
        self.by_number.get(&number).map(|content| T::clone(content))
    }

    /// The content's number, and whether it is a new one.
    fn number(&mut self, content: &T) -> (u32, bool) {
        if let Some(&number) = self.by_content.get(content) {
            return (number, false);
        }
        let number = self.last + 1;
        self.learn(number, content.clone());
        (number, true)
    }
}

impl Definitions {
    /// Opens the ledger under `folder`, which is made if it is not there, and learns what earlier agents of the same
    /// boot have defined. Of another boot's only the newest revision is kept, from which numbers go on.
    ///
    /// `given` is set where the kernel has maps already: a number up to which earlier agents may have given all. Where they
    /// have left no ledger it was [lost](Self::are_lost), and no number up to that one is given again.
    pub(crate) fn open(folder: &Path, boot: &str, given: Option<u32>) -> Result<Self, LedgerError> {
        let mut meanings = Meanings::default();
        let ledger = Ledger::open(folder, boot, given, |entry| meanings.learn(entry))?;
        let book = Book {
            are_lost: ledger.is_loss_marked()?,
            ledger,
            meanings,
            present: Present::default(),
            is_unsynced: false,
        };
        Ok(Self { book: RwLock::new(book) })
    }

    /// Whether what earlier agents had defined was lost, and [nobody has said](Self::loss_is_told) that it is told. That
    /// outlives the agent, and the kernel.
    pub(crate) fn are_lost(&self) -> bool {
        self.read().are_lost
    }

    /// The spool says that they were lost, or that need not be said.
    pub(crate) fn loss_is_told(&self) -> Result<(), LedgerError> {
        if self.are_lost() {
            let mut book = self.write();
            book.ledger.unmark_loss()?;
            book.are_lost = false;
        }
        Ok(())
    }

    /// The number of an identity; the content's own `id` does not matter.
    pub(crate) fn number_identity(&self, content: Identity) -> u32 {
        let mut book = self.write();
        let (id, is_new) = book.meanings.identities.number(&content);
        if is_new {
            book.define(&Entry::Identity(Identity { id, ..content }.into()));
        }
        id
    }

    /// The namespace of an identity.
    pub(crate) fn namespace(&self, id: u32) -> Option<String> {
        self.read().meanings.identities.namespace(id).map(str::to_owned)
    }

    /// The number of a rule set; the content's own `id` does not matter.
    pub(crate) fn number_rule_set(&self, content: RuleSet) -> u32 {
        let content = RuleSet { id: 0, ..content };
        let mut book = self.write();
        let (id, is_new) = book.meanings.rule_sets.number(&content);
        if is_new {
            book.define(&Entry::RuleSet(RuleSet { id, ..content }.into()));
        }
        id
    }

    /// The number of a Service.
    pub(crate) fn number_service(&self, name: &ObjectName) -> u32 {
        let mut book = self.write();
        let (id, is_new) = book.meanings.services.number(name);
        if is_new {
            book.define(&Entry::Service { id, namespace: name.namespace().to_owned(), name: name.name().to_owned() });
        }
        id
    }

    /// The Service of a number.
    pub(crate) fn service(&self, id: u32) -> Option<ObjectName> {
        self.read().meanings.services.get(id)
    }

    /// The revision whose content has this SHA-256: the newest one if it is the same, else the next.
    pub(crate) fn number_revision(&self, sha256: &str) -> i64 {
        let mut book = self.write();
        if book.meanings.newest_revision.sha256 != sha256 {
            let revision = Revision { number: book.meanings.newest_revision.number + 1, sha256: sha256.to_owned() };
            book.define(&Entry::Revision { number: revision.number, sha256: revision.sha256.clone() });
            book.meanings.learn_revision(revision);
        }
        book.meanings.newest_revision.number
    }

    /// Says by which revision a table generation decides, and writes all definitions. Must return before the kernel can
    /// refer to any of them.
    pub(crate) fn write_generation(&self, generation: u64, revision: i64) -> Result<(), LedgerError> {
        let mut book = self.write();
        if book.meanings.revision_of(generation) != revision {
            book.define(&Entry::Generation { number: generation, revision });
            book.meanings.generations.insert(generation, revision);
        }
        book.is_unsynced |= book.ledger.write()?;
        Ok(())
    }

    /// Has all that was written on the disk. Must return before a record that refers to any of it is there.
    pub(crate) fn sync(&self) -> Result<(), LedgerError> {
        let disk = {
            let mut book = self.write();
            if !std::mem::take(&mut book.is_unsynced) {
                return Ok(());
            }
            book.ledger.disk()
        };
        // Nobody waits for the book meanwhile.
        disk.sync().inspect_err(|_| self.write().is_unsynced = true)
    }

    /// The revision by which a generation decides, 0 where it is not known.
    pub(crate) fn revision_of(&self, generation: u64) -> i64 {
        self.read().meanings.revision_of(generation)
    }

    /// Replaces what is known at present.
    pub(crate) fn set_present(&self, generation: u64, tables: &Tables) {
        self.write().present.become_that_of(generation, tables);
    }

    /// Says what namespaces ask for from now on, and writes it.
    pub(crate) fn set_trails(&self, mut trails: Vec<Trail>) -> Result<(), LedgerError> {
        trails.sort_unstable_by(|left, right| left.namespace.cmp(&right.namespace));
        if self.trails().as_deref() == Some(&trails[..]) {
            return Ok(());
        }
        let mut book = self.write();
        book.ledger.write_first(&Entry::Trails(trails.iter().map(Into::into).collect()))?;
        book.is_unsynced = true;
        book.meanings.trails = Some(trails.into());
        Ok(())
    }

    /// The identity that is behind an interface now.
    pub(crate) fn present_at_interface(&self, interface: u32) -> Option<u32> {
        self.read().present.by_interface.get(&interface).copied()
    }

    /// The pod identity that has an address now.
    pub(crate) fn present_at_address(&self, address: &Address) -> Option<u32> {
        self.read().present.pod_at(address)
    }

    /// Who has an address now, and how that is known of a moment at which this generation was in force.
    pub(crate) fn present_or_then(&self, address: &Address, generation: u64) -> (u32, Known) {
        let present = &self.read().present;
        let is_of_then = generation != 0 && generation == present.generation;
        match present.pod_at(address) {
            Some(pod) if is_of_then => (pod, Known::Exact),
            Some(pod) => (pod, Known::Late),
            None if !is_of_then => (0, Known::Unknown),
            None => match present.at(address) {
                Some(entry) if entry.flags & address_flags::NODE != 0 => (entry.identity, Known::Node),
                _ if present.pod_ranges.iter().any(|range| range.holds(address)) => (0, Known::Unknown),
                _ => (0, Known::External),
            },
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        // A book is whole between any two statements that could panic.
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl podwitness_spool::Definitions for Definitions {
    fn identity(&self, id: u32) -> Option<Identity> {
        self.read().meanings.identities.get(id)
    }

    fn rule_set(&self, id: u32) -> Option<RuleSet> {
        self.read().meanings.rule_sets.get(id)
    }

    fn revision(&self, number: i64) -> Option<Revision> {
        self.read().meanings.revisions.get(&number).cloned()
    }

    fn trails(&self) -> Option<Arc<[Trail]>> {
        self.read().meanings.trails.clone()
    }
}

impl Book {
    /// Has the ledger say what a new number means.
    fn define(&mut self, entry: &Entry) {
        self.is_unsynced |= self.ledger.add(entry);
    }
}

impl Meanings {
    fn learn(&mut self, entry: Entry) {
        match entry {
            Entry::Identity(identity) => {
                let identity = Identity::from(identity);
                self.identities.learn(identity.id, &identity);
            }
            Entry::RuleSet(rule_set) => {
                let rule_set = RuleSet::from(rule_set);
                self.rule_sets.learn(rule_set.id, RuleSet { id: 0, ..rule_set });
            }
            Entry::Service { id, namespace, name } => self.services.learn(id, ObjectName::new(namespace, name)),
            Entry::Revision { number, sha256 } => self.learn_revision(Revision { number, sha256 }),
            Entry::Generation { number, revision } => {
                self.generations.insert(number, revision);
            }
            Entry::Trails(trails) => self.trails = Some(trails.into_iter().map(Into::into).collect()),
        }
    }

    fn revision_of(&self, generation: u64) -> i64 {
        self.generations.range(..=generation).next_back().map_or(0, |(_, revision)| *revision)
    }

    fn learn_revision(&mut self, revision: Revision) {
        self.newest_revision = revision.clone();
        self.revisions.insert(revision.number, revision);
    }
}
