//! What earlier agents had kept, and is gone.
//!
//! A file beside the definitions says that the spool is in use: made behind the first commit to it, and before one that will
//! tell of a loss; taken away before a new loss of the definitions is marked. Where it is there, a spool without a segment
//! has lost what it had: the exporter never removes the newest. Where it is gone too, the
//! [definitions](crate::definitions) know of the loss.

use std::{
    io,
    path::{Path, PathBuf},
};

use podwitness_runtime::durable;
use podwitness_spool::Recovered;

const FILE_NAME: &str = "spool-in-use";

/// What no record says to be lost yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The spool's records, and perhaps what numbers in the kernel's tables mean.
    Spool,
    /// What numbers mean, alone.
    Names,
}

impl Loss {
    /// What is lost, by what a spool has `recovered`, whether the definitions are lost, and whether the spool is noted to
    /// be in use.
    pub(crate) fn of(recovered: &Recovered, are_definitions_lost: bool, is_in_use: bool) -> Option<Self> {
        if recovered.checkpoint.is_none() && are_definitions_lost || recovered.is_empty && is_in_use {
            return Some(Self::Spool);
        }
        // An agent that was killed behind a commit that tells of the loss has left the note.
        (are_definitions_lost && !is_in_use).then_some(Self::Names)
    }
}

/// The note that the spool is in use.
#[derive(Debug)]
pub(crate) struct InUse {
    path: PathBuf,
    is_noted: bool,
}

impl InUse {
    /// Looks for it in the folder of what agents keep.
    pub(crate) fn find(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE_NAME);
        let is_noted = path.try_exists()?;
        Ok(Self { path, is_noted })
    }

    /// Takes the note away, where there is one: what it says of a loss that was told must not hold of another.
    pub(crate) fn forget(folder: &Path) -> io::Result<()> {
        match durable::remove(&folder.join(FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Whether an agent has noted it.
    pub(crate) fn is_noted(&self) -> bool {
        self.is_noted
    }

    /// Notes it durably, unless it is noted.
    pub(crate) fn note(&mut self) -> io::Result<()> {
        if !self.is_noted {
            durable::replace(&self.path, b"", 0o644)?;
            self.is_noted = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use podwitness_spool::Checkpoint;

    use super::*;

    #[test]
    fn what_is_gone_is_known_by_what_is_left() {
        let empty = Recovered { is_empty: true, ..Recovered::default() };
        let of_another_boot = Recovered::default();
        let whole = Recovered { checkpoint: Some(Checkpoint::default()), ..Recovered::default() };
        for (recovered, are_definitions_lost, is_in_use, expected, why) in [
            (&empty, false, false, None, "there was none"),
            (&whole, false, true, None, "all is there"),
            (&of_another_boot, false, true, None, "the node was started again"),
            (&empty, true, false, Some(Loss::Spool), "the whole folder"),
            (&empty, true, true, Some(Loss::Spool), "the same, found once more after a kill"),
            (&whole, true, true, None, "the same, and the first commit has told"),
            (&empty, false, true, Some(Loss::Spool), "the segments"),
            (&whole, true, false, Some(Loss::Names), "what agents keep"),
        ] {
            assert_eq!(Loss::of(recovered, are_definitions_lost, is_in_use), expected, "{why}");
        }
    }

    #[test]
    fn a_note_stays_until_it_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let mut note = InUse::find(folder.path()).unwrap();
        assert!(!note.is_noted());
        for _ in 0..2 {
            note.note().unwrap();
            assert!(note.is_noted());
        }
        assert!(InUse::find(folder.path()).unwrap().is_noted());
        for _ in 0..2 {
            InUse::forget(folder.path()).unwrap();
            assert!(!InUse::find(folder.path()).unwrap().is_noted());
        }
    }
}
