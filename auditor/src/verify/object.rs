//! One object that a seal lists.

use std::fs::File;
use std::io::Read as _;

use bytes::Bytes;
use podwitness_seals::hex;
use podwitness_seals::seal::SealedObject;
use sha2::{Digest as _, Sha256};

use super::claims::Claims;
use super::content;
use super::context::Context;
use super::deletions::Deletions;
use super::finding::{AdmissionCode, FindingCode, NoteCode};
use super::guard;
use super::names::ChainName;
use super::sequences::Run;
use crate::failure::Failure;

/// As much as is read at once.
const PIECE: usize = 1 << 18;

/// What reading to an end has as room, so that it need not look for it elsewhere.
const END: usize = 64;

/// Of a file of no more bytes than this all are kept in memory from the hash on.
const READ_AS_A_WHOLE: u64 = 16 << 20;

/// Checks `object`, which the seal at `seal` lists, whose sequence has `gaps` within it. Where its bytes are there as they
/// were sealed, gives how many rows are in them; none where they contradict their seal or path.
pub(super) fn check(
    context: &Context<'_>,
    deletions: &Deletions,
    chain: &ChainName,
    object: &SealedObject,
    gaps: &[Run],
    seal: &str,
) -> Result<Option<u64>, Failure> {
    let tell = |code, why: String| context.report.finding(code, &object.path, Some(seal), why);
    if !context.inventory.seal(&object.path) {
        tell(FindingCode::ObjectTwice, "another seal, or the same one, lists it too".to_owned());
    }
    let claims = Claims::of_seal(chain, object);
    let is_named_so = claims.path_at_its_time(&object.path).is_some_and(|path| path == object.path);
    if !is_named_so {
        tell(FindingCode::ObjectContradicts, "its path does not follow from what its seal says of it".to_owned());
    }
    let is_deleted = deletions.lists(context, &chain.cluster, object, seal);
    // What has another size is not fetched.
    let there = match context.inventory.size(&object.path) {
        Some(bytes) if bytes != object.bytes => Some((None, bytes)),
        Some(bytes) => context.root.object(&object.path)?.map(|file| (Some(file), bytes)),
        None => None,
    };
    let Some((file, bytes)) = there else {
        if is_deleted {
        } else if context.part {
            context.report.note(NoteCode::NotInPart, Some(&object.path), NoteCode::NotInPart.meaning());
        } else {
            tell(FindingCode::ObjectMissing, "its seal lists it, and it is not there".to_owned());
        }
        return Ok(None);
    };
    if is_deleted {
        context.report.note(NoteCode::NotDeletedYet, Some(&object.path), NoteCode::NotDeletedYet.meaning());
    }
    let Some(file) = file else {
        tell(FindingCode::ObjectAltered, format!("it has {bytes} bytes, and its seal says {}", object.bytes));
        context.progress.done(bytes);
        return Ok(None);
    };
    // Read once where that takes little memory, else once for the hash and once more, in pieces, for what it holds.
    let in_memory = bytes <= READ_AS_A_WHOLE;
    let (sha256, read) = hash(context, &file, bytes, in_memory, &object.path)?;
    if sha256 != object.sha256 {
        tell(FindingCode::ObjectAltered, format!("its SHA-256 is {sha256}, and its seal says {}", object.sha256));
        return Ok(None);
    }
    context.locks.compare(context.report, object, context.as_of)?;
    let (said, gaps) = (claims.clone(), gaps.to_vec());
    let examined = guard::run(&object.path, move || match read {
        Some(read) => content::examine(read, &said, &gaps),
        None => content::examine(file, &said, &gaps),
    })?;
    match examined {
        Ok(facts) => {
            facts.tell(context, chain, &object.path, Some(seal));
            let path = facts.first_time.and_then(|time| claims.path_at(time));
            let is_elsewhere = path.is_some_and(|path| path != object.path);
            if is_named_so && is_elsewhere {
                tell(FindingCode::ObjectContradicts, "the first row's time is not the one in its path".to_owned());
            }
            Ok(Some(if facts.contradictions.is_empty() && !is_elsewhere { facts.rows } else { 0 }))
        }
        Err(why) => {
            tell(FindingCode::ObjectContradicts, format!("it cannot be read as Parquet: {why}"));
            Ok(Some(0))
        }
    }
}

impl content::Facts {
    /// Tells what is wrong with the object at `path`, and what it admits.
    pub(super) fn tell(&self, context: &Context<'_>, chain: &ChainName, path: &str, seal: Option<&str>) {
        for (code, reasons) in [
            (FindingCode::ObjectContradicts, &self.contradictions),
            (FindingCode::SequenceGap, &self.holes),
            (FindingCode::SequenceOverlap, &self.overlaps),
            (FindingCode::Balance, &self.imbalances),
        ] {
            for why in reasons {
                context.report.finding(code, path, seal, why.as_str());
            }
        }
        if let Some(lost) = self.lost {
            context.report.admission(AdmissionCode::Loss, chain, path, lost);
        }
        for _ in 0..self.crashes {
            context.report.admission(AdmissionCode::Crash, chain, path, 0);
        }
    }
}

/// The SHA-256 of a file of so many bytes, and these bytes where they are `kept`.
fn hash(
    context: &Context<'_>,
    mut file: &File,
    bytes: u64,
    is_kept: bool,
    path: &str,
) -> Result<(String, Option<Bytes>), Failure> {
    let mut digest = Sha256::new();
    let room = if is_kept { usize::try_from(bytes).unwrap_or_default() } else { PIECE };
    // Room for more than there is: so the end is found without another buffer.
    let mut read = Vec::with_capacity(room + END);
    loop {
        if !is_kept {
            read.clear();
        }
        let before = read.len();
        (&mut file).take(PIECE as u64).read_to_end(&mut read).map_err(|error| {
            Failure::question(format_args!("cannot read {path}: {error}; nothing can be said of the root"))
        })?;
        let piece = &read[before..];
        if piece.is_empty() {
            return Ok((hex(&digest.finalize()), is_kept.then(|| read.into())));
        }
        digest.update(piece);
        context.progress.done(piece.len() as u64);
    }
}
