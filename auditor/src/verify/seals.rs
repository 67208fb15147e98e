//! One chain of seals, from its first to its newest.

use std::collections::BTreeSet;

use podwitness_seals::balance::KernelBalance;
use podwitness_seals::seal::{Chain, Seal, SealedObject};
use podwitness_seals::time::{Time, micros_of};
use rayon::prelude::*;

use super::context::Context;
use super::deletions::Deletions;
use super::document::Loaded;
use super::finding::{AdmissionCode, FindingCode, NoteCode};
use super::links;
use super::names::ChainName;
use super::object;
use super::sequences::{Run, Sequences};
use super::wishes::Wishes;
use crate::failure::Failure;

/// What was checked of a chain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checked {
    pub(super) seals: u64,
    /// Objects that are there as they were sealed, each as often as seals list it.
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Those of them that contradict nothing.
    pub(super) rows: u64,
}

/// The newest seal that can be read.
#[derive(Clone, Debug)]
pub(super) struct Newest {
    pub(super) path: String,
    pub(super) sha256: String,
    pub(super) end: Time,
    pub(super) last: bool,
    /// Whether the next one should be there by now.
    pub(super) overdue: bool,
    pub(super) interval_us: i64,
}

/// What is known of a chain when it is read.
pub(super) struct ChainOfSeals {
    pub(super) name: ChainName,
    pub(super) checked: Checked,
    pub(super) start: Option<Time>,
    pub(super) newest: Option<Newest>,
    pub(super) sequences: Sequences,
    /// Those of the pinned hashes that were found.
    pub(super) pins_found: BTreeSet<String>,
}

impl ChainOfSeals {
    /// Whether more is to be expected of it.
    pub(super) fn goes_on(&self) -> Option<&Newest> {
        self.newest.as_ref().filter(|newest| !newest.last && !newest.overdue)
    }
}

/// A seal's object that is to be checked.
struct Job {
    object: SealedObject,
    gaps: Vec<Run>,
    seal: String,
}

/// Checks the chain `name` up to the number `newest`, and everything that it lists.
pub(super) fn check(
    context: &Context<'_>,
    deletions: &Deletions,
    name: ChainName,
    newest: u64,
    pins: &BTreeSet<String>,
) -> Result<ChainOfSeals, Failure> {
    let listing = links::list(context, &name, newest)?;
    let mut chain = ChainOfSeals {
        name,
        checked: Checked::default(),
        start: None,
        newest: None,
        sequences: Sequences::default(),
        pins_found: BTreeSet::new(),
    };
    let name = chain.name.clone();
    let jobs = std::cell::RefCell::new(Vec::new());
    let mut content = Checked::default();
    let mut kernel = None;
    let mut wishes = Wishes::default();
    links::follow::<Seal>(
        context,
        &name,
        &listing,
        |document, seal, before| {
            if pins.contains(&document.sha256) {
                chain.pins_found.insert(document.sha256.clone());
            }
            chain.add(context, document, seal);
            tell_balance(context, seal, &document.path);
            admit(context, &chain.name, seal, before, &document.path);
            admit_losses(context, &chain.name, seal, &mut kernel, &document.path);
            let objects = chain.sequences.advance(context, seal, &document.path);
            tell_retention(context, seal, &document.path);
            wishes.add(deletions, seal, &document.path);
            let seal = &document.path;
            let objects = objects.into_iter().map(|(object, gaps)| Job { object, gaps, seal: seal.clone() });
            jobs.borrow_mut().extend(objects);
        },
        || {
            let jobs = std::mem::take(&mut *jobs.borrow_mut());
            let checked = jobs.par_iter().map(|job| {
                let found = object::check(context, deletions, &name, &job.object, &job.gaps, &job.seal)?;
                Ok(found.map_or(Checked::default(), |rows| Checked {
                    seals: 0,
                    objects: 1,
                    bytes: job.object.bytes,
                    rows,
                }))
            });
            let sum = checked.try_reduce(Checked::default, |a, b| Ok(a.plus(b)))?;
            content = content.plus(sum);
            Ok(())
        },
    )?;
    chain.checked = Checked { seals: chain.checked.seals, ..content };
    chain.tell_end(context);
    wishes.tell(context, deletions, &chain.name);
    for (is_next, path) in links::stray_signatures(&chain.name, &listing) {
        if is_next && chain.goes_on().is_some() {
            context.report.note(NoteCode::SignatureAhead, Some(&path), NoteCode::SignatureAhead.meaning());
        } else {
            context.report.finding(FindingCode::SignatureStray, &path, None, "there is no seal of its name");
        }
    }
    Ok(chain)
}

impl Checked {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            seals: self.seals + other.seals,
            objects: self.objects + other.objects,
            bytes: self.bytes + other.bytes,
            rows: self.rows + other.rows,
        }
    }
}

impl ChainOfSeals {
    fn add(&mut self, context: &Context<'_>, document: &Loaded<Seal>, seal: &Seal) {
        self.checked.seals += 1;
        self.start = self.start.or(Some(seal.window.start));
        let age = context.as_of.micros().saturating_sub(seal.window.end.micros());
        self.newest = Some(Newest {
            path: document.path.clone(),
            sha256: document.sha256.clone(),
            end: seal.window.end,
            last: seal.last,
            overdue: !seal.last && age > seal.allowed_age_us(),
            interval_us: micros_of(seal.interval_seconds),
        });
    }

    fn tell_end(&self, context: &Context<'_>) {
        if let Some(newest) = self.newest.as_ref().filter(|newest| newest.overdue) {
            let why = format!(
                "it is the newest of {}, is not the last of a clean stop, and ended at {}, longer before {} than twice its \
                 interval and a minute",
                self.name, newest.end, context.as_of
            );
            context.report.finding(FindingCode::ChainEndsEarly, &newest.path, None, why);
        }
    }
}

fn tell_balance(context: &Context<'_>, seal: &Seal, path: &str) {
    for difference in seal.balance.differences(&seal.rows()) {
        context.report.finding(FindingCode::Balance, path, None, difference);
    }
}

fn tell_retention(context: &Context<'_>, seal: &Seal, path: &str) {
    for object in &seal.objects {
        let Some((asked, until)) = object.asked(&seal.retention) else { continue };
        if object.retain_until < until {
            let why = format!(
                "it is kept until {}, and the namespace {} asked for {} s, which is until {until}",
                object.retain_until, asked.namespace, asked.seconds
            );
            context.report.finding(FindingCode::RetentionShortened, &object.path, Some(path), why);
        }
    }
}

fn admit(context: &Context<'_>, chain: &ChainName, seal: &Seal, before: Option<&Seal>, path: &str) {
    let admit = |code| context.report.admission(code, chain, path, 0);
    if matches!(seal.chain, Chain::Resumed | Chain::Unknown) {
        admit(AdmissionCode::ChainResumed);
    }
    if seal.window.end.micros().saturating_sub(seal.window.start.micros()) > seal.allowed_age_us() {
        admit(AdmissionCode::Silence);
    }
    if seal.clock.is_some_and(|clock| !clock.synchronised) || seal.window.end < seal.window.start {
        admit(AdmissionCode::Clock);
    }
    let is_first_of_sealer = before.is_none_or(|before| before.sealer.started != seal.sealer.started);
    if seal.sealer.after_crash && is_first_of_sealer {
        admit(AdmissionCode::Crash);
    }
    if before.is_some_and(|before| !before.last && (is_first_of_sealer || before.boot != seal.boot)) {
        admit(AdmissionCode::NotClean);
    }
}

fn admit_losses(context: &Context<'_>, chain: &ChainName, seal: &Seal, kernel: &mut Option<KernelBalance>, path: &str) {
    let mut lost = 0_u64;
    let mut admits = !seal.gaps.is_empty() || seal.balance.damaged_bytes != 0;
    for gap in &seal.gaps {
        lost = lost.saturating_add(u64::try_from(gap.last_seq.saturating_sub(gap.first_seq)).unwrap_or(0) + 1);
    }
    if let Some(stated) = &seal.balance.kernel {
        let sum = |kernel: &KernelBalance| {
            kernel.denied_lost.saturating_add(kernel.lost_recorded).saturating_add(kernel.lost_unattributed)
        };
        let before = kernel.as_ref().filter(|before| before.ring == stated.ring).map_or(0, sum);
        // How many these are the rows `loss` say.
        admits |= sum(stated) > before;
        *kernel = Some(stated.clone());
    }
    if admits {
        context.report.admission(AdmissionCode::Loss, chain, path, lost);
    }
}
