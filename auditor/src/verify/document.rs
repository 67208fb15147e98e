//! Reading one signed document: its bytes, its form, its place and its signature, all that can be said of it alone.

use podwitness_schemas::layout::SIGNATURE_SUFFIX;
use podwitness_seals::balance::TABLES;
use podwitness_seals::deletion::Deletion;
use podwitness_seals::document;
use podwitness_seals::key::KeyId;
use podwitness_seals::seal::{Chain, NamespaceRetention, Seal};

use super::context::Context;
use super::finding::FindingCode;
use super::names::is_hash;
use crate::chained::Chained;
use crate::failure::Failure;

/// No document is longer: a seal lists some thousand objects, a deletion what was deleted in a day.
const GREATEST_DOCUMENT: u64 = 256 << 20;

/// What is judged of a document of a chain.
pub(super) trait Judged: Chained + Send + Sync {
    /// What of its values is not as the format says, though the type is.
    fn faulty_value(&self) -> Option<String>;
    /// What it says of itself being the first contradicts itself.
    fn contradicts_beginning(&self) -> bool;
    /// What of it does not go on where `before` ended, keys and hashes aside.
    fn does_not_follow(&self, before: &Self) -> Option<String>;
    /// What a missing one is.
    const MISSING: FindingCode;
}

/// What is known of a document's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// It is the key's.
    Good,
    /// It is missing or another's.
    Bad,
    /// There is no key to ask.
    NoKey,
}

/// A document that was read.
pub(super) struct Loaded<D> {
    pub(super) path: String,
    pub(super) sha256: String,
    /// `None` where nothing of its content is to be used.
    pub(super) content: Option<D>,
    pub(super) signature: Signature,
}

/// Reads the document at `path`, and tells what is wrong with it. `None` where it has gone since it was listed.
pub(super) fn load<D: Judged>(
    context: &Context<'_>,
    path: String,
    has_signature: bool,
) -> Result<Option<Loaded<D>>, Failure> {
    let report = context.report;
    let Some(bytes) = context.root.get(&path, GREATEST_DOCUMENT)? else { return Ok(None) };
    let content = match document::from_bytes::<D>(&bytes) {
        Ok(content) => match content.faulty_value() {
            Some(fault) => Err((FindingCode::DocumentMalformed, fault)),
            None if content.path() != path => {
                Err((FindingCode::DocumentMisplaced, format!("by its content it belongs at {}", content.path())))
            }
            None => Ok(content),
        },
        Err(error) => Err((FindingCode::DocumentMalformed, error.to_string())),
    };
    let content = content.map_err(|(code, why)| report.finding(code, &path, None, why)).ok();
    if !has_signature {
        report.finding(FindingCode::SignatureMissing, &path, None, format!("there is no {path}{SIGNATURE_SUFFIX}"));
    }
    let signature = match &content {
        Some(content) => check_signature(context, &path, &bytes, content.key_id(), has_signature)?,
        None => Signature::Bad,
    };
    Ok(Some(Loaded { sha256: podwitness_seals::sha256(&bytes), path, content, signature }))
}

fn check_signature(
    context: &Context<'_>,
    path: &str,
    bytes: &[u8],
    key_id: &KeyId,
    has_signature: bool,
) -> Result<Signature, Failure> {
    let Some(key) = context.keys.get(key_id) else {
        context.report.finding(FindingCode::KeyMissing, path, None, format!("there is no key {key_id}"));
        return Ok(Signature::NoKey);
    };
    if !has_signature {
        return Ok(Signature::Bad);
    }
    let longest = podwitness_seals::key::SIGNATURE_BYTES as u64 + 1;
    let signature = context.root.get(&format!("{path}{SIGNATURE_SUFFIX}"), longest)?.unwrap_or_default();
    if key.verifies(bytes, &signature) {
        return Ok(Signature::Good);
    }
    context.report.finding(
        FindingCode::SignatureWrong,
        path,
        None,
        format!("its signature is not that of the key {key_id}"),
    );
    Ok(Signature::Bad)
}

impl Judged for Seal {
    const MISSING: FindingCode = FindingCode::SealMissing;

    fn faulty_value(&self) -> Option<String> {
        let hashes = [Some(&self.key_id.0), self.next_key_id.as_ref().map(|id| &id.0), self.previous_sha256.as_ref()]
            .into_iter()
            .chain([self.policy.as_ref().map(|policy| &policy.sha256), self.object_sha256.as_ref()])
            .chain(self.objects.iter().map(|object| Some(&object.sha256)))
            .flatten();
        let tables = self.objects.iter().map(|object| (&object.table, &object.namespace));
        let tables = tables.chain(self.gaps.iter().map(|gap| (&gap.table, &gap.namespace)));
        let numbers = self.objects.iter().flat_map(|object| [object.first_seq, object.last_seq]);
        let numbers = numbers.chain(self.gaps.iter().flat_map(|gap| [gap.first_seq, gap.last_seq]));
        let numbers = numbers.chain(self.policy.iter().map(|policy| policy.revision));
        let mut numbers = numbers.chain(self.clock.iter().map(|clock| clock.error_us));
        faulty_hash(hashes)
            .or_else(|| faulty_table(tables))
            .or_else(|| faulty_retention(&self.retention))
            .or_else(|| numbers.find(|number| *number < 0).map(|number| format!("{number} is negative")))
    }

    fn contradicts_beginning(&self) -> bool {
        let signs =
            [self.seal == 1, self.previous_sha256.is_none(), matches!(self.chain, Chain::Begins | Chain::Unknown)];
        signs.contains(&true) && signs.contains(&false)
    }

    fn does_not_follow(&self, before: &Self) -> Option<String> {
        (self.window.start != before.window.end).then(|| {
            format!(
                "its window begins at {}, and that of the seal before ends at {}",
                self.window.start, before.window.end
            )
        })
    }
}

impl Judged for Deletion {
    const MISSING: FindingCode = FindingCode::DeletionMissing;

    fn faulty_value(&self) -> Option<String> {
        let hashes = [Some(&self.key_id.0), self.next_key_id.as_ref().map(|id| &id.0), self.previous_sha256.as_ref()]
            .into_iter()
            .chain(self.objects.iter().map(|object| Some(&object.sha256)))
            .flatten();
        faulty_hash(hashes).or_else(|| faulty_retention(&self.retention))
    }

    fn contradicts_beginning(&self) -> bool {
        (self.deletion == 1) != self.previous_sha256.is_none()
    }

    fn does_not_follow(&self, _before: &Self) -> Option<String> {
        None
    }
}

fn faulty_hash<'a>(mut hashes: impl Iterator<Item = &'a String>) -> Option<String> {
    hashes.find(|hash| !is_hash(hash)).map(|hash| format!("{hash:?} is no SHA-256"))
}

fn faulty_table<'a>(mut tables: impl Iterator<Item = (&'a String, &'a Option<String>)>) -> Option<String> {
    let is_right = |table: &str, namespace: bool| TABLES.contains(&table) && namespace == (table == "verdicts");
    let (table, namespace) = tables.find(|(table, namespace)| !is_right(table, namespace.is_some()))?;
    Some(format!("there is no table {table:?} with namespace {namespace:?}"))
}

fn faulty_retention(retention: &[NamespaceRetention]) -> Option<String> {
    const ADDRESSES: [&str; 3] = ["full", "truncate", "hmac"];
    let faulty = retention.iter().find(|asked| !ADDRESSES.contains(&asked.addresses.as_str()))?;
    Some(format!("addresses are not kept as {:?}", faulty.addresses))
}
