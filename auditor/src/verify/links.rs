//! What must hold between the documents of a chain: numbers, hashes, windows, keys.

use std::collections::{BTreeMap, HashSet};

use podwitness_schemas::layout::SIGNATURE_SUFFIX;
use podwitness_seals::key::KeyId;
use rayon::prelude::*;

use super::context::Context;
use super::document::{self, Judged, Loaded, Signature};
use super::finding::FindingCode;
use super::names::{ChainName, Name};
use crate::failure::Failure;

/// Documents that are read ahead at once.
const CHUNK: usize = 128;

/// The documents of a chain by number and file name, and of each whether itself and its signature are there.
pub(super) type Listing = BTreeMap<(u64, String), Presence>;

/// What is there of a document.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Presence {
    document: bool,
    signature: bool,
}

/// What is there of `chain`, up to the number `newest`: later ones came while we were reading.
pub(super) fn list(context: &Context<'_>, chain: &ChainName, newest: u64) -> Result<Listing, Failure> {
    let mut listing = Listing::new();
    let folder = chain.folder();
    context.root.list(&folder, |path, name, _| {
        let Name::Document { chain: of, number, signature } = name else { return };
        if of != *chain || number > newest {
            return;
        }
        let file = path.trim_start_matches(&folder).trim_start_matches('/').trim_end_matches(SIGNATURE_SUFFIX);
        let presence = listing.entry((number, file.to_owned())).or_default();
        if signature {
            presence.signature = true;
        } else {
            presence.document = true;
        }
    })?;
    Ok(listing)
}

/// Signatures without their documents, each with whether that is the next one of the chain.
pub(super) fn stray_signatures(chain: &ChainName, listing: &Listing) -> Vec<(bool, String)> {
    let (there, strays): (Vec<_>, Vec<_>) = listing.iter().partition(|(_, presence)| presence.document);
    let next = there.last().map_or(0, |((number, _), _)| *number) + 1;
    let path = |file: &str| format!("{}/{file}{SIGNATURE_SUFFIX}", chain.folder());
    strays.into_iter().map(|((number, file), _)| (*number == next, path(file))).collect()
}

/// Reads the documents of `chain` in order and tells what does not hold between them. `each` gets every document whose
/// content can be used, with the one before where that is there and can be used too; `pause` is called now and then
/// between two documents.
pub(super) fn follow<D: Judged>(
    context: &Context<'_>,
    chain: &ChainName,
    listing: &Listing,
    mut each: impl FnMut(&Loaded<D>, &D, Option<&D>),
    mut pause: impl FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut links = Links::new(context, chain);
    let mut there = listing.iter().filter(|(_, presence)| presence.document).peekable();
    let mut group: Vec<Loaded<D>> = Vec::new();
    let mut number = None;
    while there.peek().is_some() {
        let chunk: Vec<_> = there.by_ref().take(CHUNK).collect();
        let loaded: Vec<_> = chunk
            .par_iter()
            .map(|((_, file), presence)| {
                document::load::<D>(context, format!("{}/{file}", chain.folder()), presence.signature)
            })
            .collect::<Result<_, _>>()?;
        for (((of, _), _), document) in chunk.iter().zip(loaded) {
            if number != Some(*of) {
                if let Some(number) = number {
                    links.next(number, std::mem::take(&mut group), &mut each);
                }
                number = Some(*of);
            }
            group.extend(document);
        }
        pause()?;
    }
    if let Some(number) = number {
        links.next(number, group, &mut each);
    }
    pause()
}

struct Links<'a, D> {
    context: &'a Context<'a>,
    chain: &'a ChainName,
    /// The documents of the highest number so far.
    before: Vec<Loaded<D>>,
    before_number: Option<u64>,
    handed_over: HashSet<KeyId>,
}

impl<'a, D: Judged> Links<'a, D> {
    fn new(context: &'a Context<'a>, chain: &'a ChainName) -> Self {
        Self { context, chain, before: Vec::new(), before_number: None, handed_over: HashSet::new() }
    }

    /// The documents of the next number.
    fn next(&mut self, number: u64, group: Vec<Loaded<D>>, each: &mut impl FnMut(&Loaded<D>, &D, Option<&D>)) {
        let report = self.context.report;
        match (self.before_number, group.first()) {
            (None, Some(first)) if number != 1 => {
                let why = format!("the lowest number in the chain of {} is {number}, not 1", self.chain);
                report.finding(FindingCode::ChainBeginsLate, &first.path, None, why);
            }
            (Some(before), _) if before + 1 < number => {
                let missing = match number - before - 1 {
                    1 => format!("number {} is missing", before + 1),
                    count => format!("numbers {} to {} are missing, {count} in all", before + 1, number - 1),
                };
                report.finding(D::MISSING, &self.chain.name_of(before + 1), None, missing);
            }
            _ => {}
        }
        if group.len() > 1 {
            for document in &group {
                let why = format!("{} documents have the number {number}", group.len());
                report.finding(FindingCode::ChainForked, &document.path, None, why);
            }
        }
        let candidates =
            if self.before_number.is_some_and(|before| before + 1 == number) { &self.before[..] } else { &[] };
        for document in &group {
            let Some(content) = &document.content else { continue };
            let named = candidates.iter().find(|before| Some(before.sha256.as_str()) == content.previous());
            let before = named.or(candidates.first());
            self.context.tell_broken(content, &document.path, named.is_some(), before);

            let key = content.key_id();
            let trusted = self.context.keys.trusts(key) || self.handed_over.contains(key);
            if !trusted && document.signature != Signature::NoKey {
                let why = format!("it is signed by the key {key}, which is neither trusted nor handed over");
                report.finding(FindingCode::KeyUntrusted, &document.path, None, why);
            }
            if trusted && document.signature == Signature::Good {
                self.handed_over.extend(content.next_key_id().cloned());
            }
            each(document, content, before.and_then(|before| before.content.as_ref()));
        }
        self.before = group;
        self.before_number = Some(number);
    }
}

impl Context<'_> {
    fn tell_broken<D: Judged>(&self, content: &D, path: &str, is_named: bool, before: Option<&Loaded<D>>) {
        let seal = before.map(|before| before.path.as_str());
        let tell = |why: String| self.report.finding(FindingCode::ChainBroken, path, seal, why);
        if content.contradicts_beginning() {
            tell("what it says of the chain before it contradicts its number".to_owned());
        }
        let Some(before) = before else { return };
        if !is_named && content.previous().is_some() {
            tell(format!("it names another hash than that of {}", before.path));
        }
        let Some(before) = &before.content else { return };
        if let Some(why) = content.does_not_follow(before) {
            tell(why);
        }
        let expected = before.signer_of_next();
        if content.key_id() != expected {
            tell(format!("it is signed by the key {}, and the one before says {expected}", content.key_id()));
        }
    }
}
