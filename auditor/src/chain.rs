//! A chain of signed documents in a store, as far as `retain` and `status` must trust it: each signed by the key that the one before
//! it names, numbered from 1 without a hole, and linked by hashes.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use podwitness_schemas::layout::{SIGNATURE_SUFFIX, cluster_folder, document_number, key_path};
use podwitness_seals::document;
use podwitness_seals::key::{KeyId, PublicKey};
use podwitness_seals::sha256;
use podwitness_store::Store;

use crate::chained::Chained;

/// Documents that are read at once.
const AT_ONCE: usize = 32;

/// Public keys by their names.
pub(crate) type Keys = BTreeMap<KeyId, PublicKey>;

/// The newest document of a chain.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) sha256: String,
    pub(crate) signer_of_next: KeyId,
}

/// Reads the chain whose documents have these paths, in the order of their numbers, and gives each to `take` when it is
/// known to be good. The error says which document is not, and why.
pub(crate) async fn read<D: Chained>(
    store: &Store,
    keys: &Keys,
    mut paths: Vec<String>,
    mut take: impl FnMut(D),
) -> Result<Option<Head>, String> {
    // One without a number is the last, and is refused.
    paths.sort_by_key(|path| document_number(path).unwrap_or(u64::MAX));
    let mut documents = stream::iter(paths)
        .map(|path| async move {
            let document = get(store, &path).await?;
            let signature = get(store, &format!("{path}{SIGNATURE_SUFFIX}")).await?;
            Ok::<_, String>((path, document, signature))
        })
        .buffered(AT_ONCE);
    let mut head: Option<Head> = None;
    while let Some((path, bytes, signature)) = documents.try_next().await? {
        let wrong = |why: String| format!("{path}: {why}");
        let document: D = document::from_bytes(&bytes).map_err(|error| wrong(error.to_string()))?;
        if document.path() != path {
            return Err(wrong(format!("what it says belongs at {}", document.path())));
        }
        let expected = head.as_ref().map_or(1, |head| head.number + 1);
        if document.number() != expected {
            return Err(wrong(format!("it follows {} in its chain, where {expected} is expected", expected - 1)));
        }
        if document.previous() != head.as_ref().map(|head| head.sha256.as_str()) {
            return Err(wrong("it does not name the hash of the one before it".to_owned()));
        }
        if let Some(head) = head.as_ref().filter(|head| head.signer_of_next != *document.key_id()) {
            return Err(wrong(format!(
                "it is signed by another key than {}, which the one before it names",
                head.signer_of_next
            )));
        }
        let key =
            keys.get(document.key_id()).ok_or_else(|| wrong(format!("its key {} is not known", document.key_id())))?;
        if !key.verifies(&bytes, &signature) {
            return Err(wrong("its signature is wrong".to_owned()));
        }
        let signer_of_next = document.signer_of_next().clone();
        head = Some(Head { number: expected, sha256: sha256(&bytes), signer_of_next });
        take(document);
    }
    Ok(head)
}

async fn get(store: &Store, path: &str) -> Result<bytes::Bytes, String> {
    let found = store.get(path).await.map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("{path}: it is not there"))
}

/// The paths of a cluster's seals, those of each node together.
pub(crate) async fn seal_chains(store: &Store, cluster: &str) -> Result<Vec<Vec<String>>, String> {
    let mut chains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let paths = list(store, &cluster_folder("seals", cluster)).await?;
    for path in paths.into_iter().filter(|path| path.ends_with(".json")) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        chains.entry(folder).or_default().push(path);
    }
    Ok(chains.into_values().collect())
}

/// The paths of all objects under a prefix.
pub(crate) async fn list(store: &Store, prefix: &str) -> Result<Vec<String>, String> {
    let found: Vec<_> = store.list(prefix).try_collect().await.map_err(|error| error.to_string())?;
    Ok(found.into_iter().map(|object| object.path).collect())
}

/// The public keys in a store.
pub(crate) async fn keys(store: &Store) -> Result<Keys, String> {
    let mut keys = Keys::new();
    for path in list(store, "keys").await? {
        let bytes = store.get(&path).await.map_err(|error| error.to_string())?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let key = PublicKey::from_pem(&text).map_err(|error| format!("{path}: {error}"))?;
        if key_path(&key.id().0) != path {
            return Err(format!("{path}: the key in it belongs at {}", key_path(&key.id().0)));
        }
        keys.insert(key.id(), key);
    }
    Ok(keys)
}
