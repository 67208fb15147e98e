//! The sequences of a chain: numbers that grow by one a record, over all objects that its seals list.

use std::collections::HashMap;

use podwitness_seals::seal::{Gap, Seal, SealedObject};

use super::context::Context;
use super::finding::FindingCode;

/// A run of numbers, both ends included.
pub(super) type Run = (i64, i64);

/// The name of a sequence within a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SequenceName {
    pub(super) table: String,
    pub(super) namespace: Option<String>,
    pub(super) boot: String,
}

impl SequenceName {
    /// The sequence of what a seal lists.
    pub(super) fn of(object: &SealedObject) -> Self {
        Self { table: object.table.clone(), namespace: object.namespace.clone(), boot: object.boot.clone() }
    }

    fn of_gap(gap: &Gap) -> Self {
        Self { table: gap.table.clone(), namespace: gap.namespace.clone(), boot: gap.boot.clone() }
    }
}

#[derive(Default)]
struct Sequence {
    /// The highest number so far.
    last: i64,
    /// What will never come.
    gaps: Vec<Run>,
}

/// How far each sequence of a chain is.
#[derive(Default)]
pub(super) struct Sequences(HashMap<SequenceName, Sequence>);

impl Sequences {
    /// The number with which the sequence goes on.
    pub(super) fn next(&self, name: &SequenceName) -> i64 {
        self.0.get(name).map_or(1, |sequence| sequence.last.saturating_add(1))
    }

    /// The gaps behind the last number of the sequence, as far as seals list them.
    pub(super) fn gaps(&self, name: &SequenceName) -> &[Run] {
        self.0.get(name).map_or(&[], |sequence| &sequence.gaps)
    }

    /// Goes on with what `seal` lists, and tells where a sequence does not. Gives the objects, each with the gaps that
    /// are known within it.
    pub(super) fn advance(&mut self, context: &Context<'_>, seal: &Seal, path: &str) -> Vec<(SealedObject, Vec<Run>)> {
        for gap in &seal.gaps {
            self.0.entry(SequenceName::of_gap(gap)).or_default().gaps.push((gap.first_seq, gap.last_seq));
        }
        let mut objects: Vec<_> = seal.objects.clone();
        objects.sort_by(|a, b| (SequenceName::of(a), a.first_seq).cmp(&(SequenceName::of(b), b.first_seq)));
        let with_gaps = objects.into_iter().map(|object| {
            let sequence = self.0.entry(SequenceName::of(&object)).or_default();
            let tell = |code, why: String| context.report.finding(code, &object.path, Some(path), why);
            let expected = sequence.last.saturating_add(1);
            if object.first_seq < expected {
                let why = format!("it begins at {}, and the sequence is at {} already", object.first_seq, expected - 1);
                tell(FindingCode::SequenceOverlap, why);
            }
            for (first, last) in without(expected, object.first_seq.saturating_sub(1), &sequence.gaps) {
                tell(FindingCode::SequenceGap, format!("the records {first} to {last} before it are in no object"));
            }
            sequence.last = sequence.last.max(object.last_seq);

            let gaps: Vec<Run> = sequence
                .gaps
                .iter()
                .map(|&(first, last)| (first.max(object.first_seq), last.min(object.last_seq)))
                .filter(|(first, last)| first <= last)
                .collect();
            let there = without(object.first_seq, object.last_seq, &gaps);
            let rows: u64 = there.iter().map(|(first, last)| last.abs_diff(*first) + 1).sum();
            if object.rows != rows {
                let code = if object.rows < rows { FindingCode::SequenceGap } else { FindingCode::SequenceOverlap };
                let why = format!(
                    "its seal says {} rows, and from {} to {} there should be {rows}",
                    object.rows, object.first_seq, object.last_seq
                );
                tell(code, why);
            }
            // What lies before can explain nothing more.
            let last = sequence.last;
            sequence.gaps.retain(|gap| gap.1 > last);
            (object, gaps)
        });
        with_gaps.collect()
    }
}

/// The runs of `first..=last` that are not in `gaps`.
pub(super) fn without(first: i64, last: i64, gaps: &[Run]) -> Vec<Run> {
    let mut gaps = gaps.to_vec();
    gaps.sort_unstable();
    let mut runs = Vec::new();
    let mut next = first;
    for (from, to) in gaps {
        if from > last {
            break;
        }
        if from > next {
            runs.push((next, from - 1));
        }
        next = next.max(to.saturating_add(1));
    }
    if next <= last {
        runs.push((next, last));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn a_run_without_gaps_is_what_is_left_of_it() {
        assert_eq!(without(1, 10, &[]), [(1, 10)]);
        assert_eq!(without(5, 4, &[]), []);
        assert_eq!(without(1, 10, &[(7, 8), (3, 3)]), [(1, 2), (4, 6), (9, 10)]);
        assert_eq!(without(1, 10, &[(-5, 2), (2, 4), (9, 90)]), [(5, 8)]);
        assert_eq!(without(1, 10, &[(11, 12)]), [(1, 10)]);
        assert_eq!(without(1, 10, &[(1, i64::MAX)]), []);
    }
}
