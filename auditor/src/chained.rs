//! What seals and deletions have in common: each is a document of a chain.

use podwitness_schemas::layout;
use podwitness_seals::deletion::Deletion;
use podwitness_seals::document::Document;
use podwitness_seals::key::KeyId;
use podwitness_seals::seal::Seal;

/// A document of a chain.
pub(crate) trait Chained: Document {
    /// The path that follows from its content.
    fn path(&self) -> String;
    /// Its number in the chain.
    fn number(&self) -> u64;
    /// The hash of the one before.
    fn previous(&self) -> Option<&str>;
    /// Who signs it.
    fn key_id(&self) -> &KeyId;
    /// Who signs from the next on, where that is another.
    fn next_key_id(&self) -> Option<&KeyId>;

    /// Who signs the next one.
    fn signer_of_next(&self) -> &KeyId {
        self.next_key_id().unwrap_or(self.key_id())
    }
}

impl Chained for Seal {
    fn path(&self) -> String {
        layout::seal_path(&self.cluster, &self.node, &self.boot, self.seal)
    }

    fn number(&self) -> u64 {
        self.seal
    }

    fn previous(&self) -> Option<&str> {
        self.previous_sha256.as_deref()
    }

    fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    fn next_key_id(&self) -> Option<&KeyId> {
        self.next_key_id.as_ref()
    }
}

impl Chained for Deletion {
    fn path(&self) -> String {
        layout::deletion_path(&self.cluster, self.deletion)
    }

    fn number(&self) -> u64 {
        self.deletion
    }

    fn previous(&self) -> Option<&str> {
        self.previous_sha256.as_deref()
    }

    fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    fn next_key_id(&self) -> Option<&KeyId> {
        self.next_key_id.as_ref()
    }
}
