//! The words for what can be found, and what each means; `schemas/FORMAT.md`, section 7, is their list.

/// Makes an enum of words: each has its code and a sentence.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $code:literal, $meaning:literal;)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum $name {
            $(#[doc = $meaning] $variant,)+
        }

        impl $name {
            /// The word.
            pub(super) fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// What it means to a person.
            pub(super) fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }

            /// Every one.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)+];
        }
    };
}

words! {
    /// Something is missing, altered or contradicts itself.
    FindingCode {
        Layout = "layout", "It cannot be said that this is an evidence root of layout 1.";
        KeyUnreadable = "key-unreadable", "A key in the evidence is not what its name says.";
        KeyMissing = "key-missing", "Nobody can say who signed it: its key is neither trusted nor in the evidence.";
        KeyUntrusted = "key-untrusted", "It is signed by somebody whom the trusted keys do not vouch for.";
        DocumentMalformed = "document-malformed", "It is no document that our programs could have written; what it says is not used.";
        DocumentMisplaced = "document-misplaced", "It was moved, or says what it is not; what it says is not used.";
        SignatureMissing = "signature-missing", "Anybody could have written it.";
        SignatureWrong = "signature-wrong", "It was changed after it was signed, or its signature was.";
        SignatureStray = "signature-stray", "What was signed is gone.";
        ChainBeginsLate = "chain-begins-late", "What came before it in its chain is gone.";
        SealMissing = "seal-missing", "Seals are gone, and nobody knows what they listed.";
        DeletionMissing = "deletion-missing", "Deletions are gone, and nobody knows what they listed.";
        ChainForked = "chain-forked", "One of them was put in another's place, or two nodes have one name.";
        ChainBroken = "chain-broken", "It does not follow the one before it: one of them was replaced, or others are gone.";
        ChainEndsEarly = "chain-ends-early", "The newest seals are gone, or the node has stopped sealing without saying so.";
        ObjectMissing = "object-missing", "Evidence was taken away, and no signed deletion says so.";
        ObjectAltered = "object-altered", "Evidence was changed after it was sealed.";
        ObjectTwice = "object-twice", "Two seals claim one object.";
        ObjectUnsealed = "object-unsealed", "Nobody has signed that it belongs here: it was added, moved, or its seal is gone.";
        ObjectContradicts = "object-contradicts", "What it holds is not what its seal or its path says.";
        SequenceGap = "sequence-gap", "Records are missing, and nothing says why.";
        SequenceOverlap = "sequence-overlap", "Records have numbers that were given before.";
        Balance = "balance", "What was counted on the way differs: records were lost or made up between two counts.";
        RetentionEarly = "retention-early", "It was deleted when it must not be.";
        RetentionShortened = "retention-shortened", "It may be deleted sooner than its namespace asked for.";
        RetentionDisregarded = "retention-disregarded", "It deleted what the node still had to keep, by what that node had sealed before and sealed after.";
        Stray = "stray", "It is no evidence, and stands where evidence alone does.";
        VersionHidden = "version-hidden", "The store has another version of it, which somebody has hidden.";
        ChainMissing = "chain-missing", "All seals of this node are gone, or it never sealed.";
        PinMissing = "pin-missing", "The chain is not the one from which the hash was taken: it was written anew or rolled back.";
    }
}

words! {
    /// The evidence itself says that it does not know something.
    AdmissionCode {
        Loss = "loss", "records could not be kept, and the evidence counts them";
        Crash = "crash", "a program began again without having ended";
        Silence = "silence", "nothing was sealed for longer than two intervals and a minute";
        Clock = "clock", "the node's clock was not synchronised, or was set back";
        ChainResumed = "chain-resumed", "the sealer did not know the chain before, or had lost what it knew";
        NotClean = "not-clean", "a program or the node stopped without saying so, and began again";
    }
}

words! {
    /// Something that is no fault and that one should know.
    NoteCode {
        NotSealedYet = "not-sealed-yet", "objects wait for the next seal";
        SignatureAhead = "signature-ahead", "signatures wait for their documents, which are next in their chains";
        NotDeletedYet = "not-deleted-yet", "objects are listed by a deletion and still there";
        NotInPart = "not-in-part", "objects are listed by seals and not in this part";
        NotLocked = "not-locked", "no lock was asked for these, and they must be kept still: who may delete there can do it early";
        LockShorter = "lock-shorter", "the store locks these for a shorter time than their seals say, or not at all: who may delete there can do it early";
        NotChecked = "not-checked", "this kind of store is not asked for older versions and delete markers: it may hide some";
    }
}

#[cfg(test)]
mod tests {
    use super::{AdmissionCode, FindingCode, NoteCode};

    /// The words in the first column of the tables of section 7 that begin behind `heading`.
    fn listed(heading: &str) -> Vec<String> {
        let format = include_str!("../../../schemas/FORMAT.md");
        let table = format.split_once(heading).expect("the table is there").1;
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.flat_map(|row| {
            row.split('|').nth(1).unwrap().split(',').map(|word| word.trim().trim_matches('`').to_owned())
        })
        .collect()
    }

    #[test]
    fn the_words_are_those_of_the_format() {
        let sorted = |mut words: Vec<String>| {
            words.sort_unstable();
            words
        };
        let findings = FindingCode::ALL.iter().map(|code| code.code().to_owned()).collect();
        assert_eq!(sorted(findings), sorted(listed("| code | finding |")));
        let admissions = AdmissionCode::ALL.iter().map(|code| code.code().to_owned()).collect();
        assert_eq!(sorted(admissions), sorted(listed("| code | admission |")));
        for note in NoteCode::ALL {
            assert!(include_str!("../../../schemas/FORMAT.md").contains(&format!("`{}`", note.code())), "{note:?}");
        }
    }
}
