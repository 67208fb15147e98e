//! What somebody who holds the keys can do: write a chain anew.

use podwitness_seals::document;
use podwitness_seals::key::PrivateKey;
use podwitness_seals::seal::Seal;
use podwitness_tests::sealed_root::golden::SEEDS;
use podwitness_tests::sealed_root::{SealedRoot, key, signature_path};

/// The key that signs `seal`.
pub(crate) fn key_of(seal: &Seal) -> PrivateKey {
    SEEDS.iter().map(|(_, seed)| key(*seed)).find(|key| key.public().id() == seal.key_id).unwrap()
}

/// Puts `seal` at `path` with its signature, whatever was there. Gives its hash.
pub(crate) fn put(root: &mut SealedRoot, path: &str, seal: &Seal) -> String {
    let bytes = document::to_bytes(seal);
    root.objects.insert(signature_path(path), key_of(seal).sign(&bytes).to_vec());
    let hash = podwitness_seals::sha256(&bytes);
    root.objects.insert(path.to_owned(), bytes);
    hash
}

/// Writes the chain of `node` anew as `edit` has each seal, every link and signature right.
pub(crate) fn rewrite(root: &mut SealedRoot, node: &str, mut edit: impl FnMut(&mut Seal)) {
    let mut previous = None;
    let mut seals: Vec<_> = root.seals().into_iter().filter(|(_, seal)| seal.node == node).collect();
    seals.sort_by_key(|(_, seal)| seal.seal);
    for (path, mut seal) in seals {
        edit(&mut seal);
        seal.previous_sha256 = previous.take();
        previous = Some(put(root, &path, &seal));
    }
}

/// Makes the counts of rows what the seal lists.
pub(crate) fn recount(seal: &mut Seal) {
    for (table, rows) in &mut seal.balance.rows {
        let listed = seal.objects.iter().filter(|object| object.table == *table).map(|object| object.rows).sum();
        (rows.spooled, rows.written, rows.sealed) = (listed, listed, listed);
    }
}

/// The path of the seal `number` of `node`.
pub(crate) fn seal_path(root: &SealedRoot, node: &str, number: u64) -> String {
    let seals = root.seals();
    seals.iter().find(|(_, seal)| seal.node == node && seal.seal == number).map(|(path, _)| path.clone()).unwrap()
}

/// The seal `number` of `node`.
pub(crate) fn seal(root: &SealedRoot, node: &str, number: u64) -> Seal {
    root.seals().into_iter().map(|(_, seal)| seal).find(|seal| seal.node == node && seal.seal == number).unwrap()
}
