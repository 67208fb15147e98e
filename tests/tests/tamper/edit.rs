//! Tamperings as data, so that a third party can apply them too.

use anyhow::{Context as _, Result, ensure};
use podwitness_tests::sealed_root::SealedRoot;
use serde::{Deserialize, Serialize};

/// One change of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Edit {
    /// Bit 0 of the byte `at` is another one.
    Flip { path: String, at: usize },
    /// Only the first `bytes` are left.
    Truncate { path: String, bytes: usize },
    /// It is gone.
    Delete { path: String },
    /// It stands elsewhere.
    Move { from: String, to: String },
    /// It stands elsewhere too, in the place of what stood there.
    Copy { from: String, to: String },
    /// Each stands where the other stood.
    Swap { one: String, other: String },
    /// It has this text.
    Text { path: String, text: String },
    /// It has these bytes, in hexadecimal.
    Bytes { path: String, hex: String },
}

impl Edit {
    /// Puts bytes, as text where they are.
    pub(crate) fn put(path: &str, bytes: &[u8]) -> Self {
        let path = path.to_owned();
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text { path, text: text.to_owned() },
            Err(_) => Self::Bytes { path, hex: podwitness_seals::hex(bytes) },
        }
    }

    /// Changes `root`; an edit that would change nothing is an error.
    pub(crate) fn apply(&self, root: &mut SealedRoot) -> Result<()> {
        let before = root.clone();
        let objects = &mut root.objects;
        match self {
            Self::Flip { path, at } => {
                *objects.get_mut(path).and_then(|bytes| bytes.get_mut(*at)).context("no such byte")? ^= 1;
            }
            Self::Truncate { path, bytes } => objects.get_mut(path).context("no such object")?.truncate(*bytes),
            Self::Delete { path } => {
                objects.remove(path);
            }
            Self::Move { from, to } => {
                let bytes = objects.remove(from).with_context(|| format!("no {from}"))?;
                ensure!(objects.insert(to.clone(), bytes).is_none(), "{to} is there");
            }
            Self::Copy { from, to } => {
                let bytes = objects.get(from).with_context(|| format!("no {from}"))?.clone();
                objects.insert(to.clone(), bytes);
            }
            Self::Swap { one, other } => {
                let first = objects.remove(one).with_context(|| format!("no {one}"))?;
                let second = objects.insert(other.clone(), first).with_context(|| format!("no {other}"))?;
                objects.insert(one.clone(), second);
            }
            Self::Text { path, text } => {
                objects.insert(path.clone(), text.clone().into_bytes());
            }
            Self::Bytes { path, hex } => {
                let bytes = podwitness_seals::unhex(hex).with_context(|| format!("{hex} is not hexadecimal"))?;
                objects.insert(path.clone(), bytes);
            }
        }
        ensure!(*root != before, "{self:?} changes nothing");
        Ok(())
    }
}
