//! Whether the cluster's objects could all be read: from when to when policy was the last that was known.

use std::sync::Arc;

use podwitness_source::Update;
use podwitness_spool::{Coverage, words::CoverageEvent};

use super::Journal;

/// What was said of the source.
pub(crate) struct SourceState {
    journal: Arc<Journal>,
    /// Since when not all of it can be read, microseconds since 1970 in UTC.
    away_since_us: Option<i64>,
}

impl SourceState {
    /// Nothing was said yet.
    pub(crate) fn new(journal: Arc<Journal>) -> Self {
        Self { journal, away_since_us: None }
    }

    /// Looks at what the source says at this time, before it is in force.
    pub(crate) fn learn(&mut self, now_us: i64, update: &Update) {
        let unread: Vec<_> = update.faults.iter().filter(|fault| fault.effect.is_none()).collect();
        if update.complete || unread.is_empty() || self.away_since_us.is_some() {
            return;
        }
        self.away_since_us = Some(now_us);
        self.journal.coverage(Coverage {
            time_us: now_us,
            event: CoverageEvent::SourceAway.number().into(),
            detail: unread.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            ..Coverage::default()
        });
    }

    /// All that the source says is in force.
    pub(crate) fn in_force(&mut self, now_us: i64) {
        let Some(since_us) = self.away_since_us.take() else { return };
        self.journal.coverage(Coverage {
            time_us: now_us,
            event: CoverageEvent::SourceBack.number().into(),
            since_us: Some(since_us),
            ..Coverage::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use podwitness_source::{Effect, Fault};
    use podwitness_spool::Record;

    use super::*;

    fn update(complete: bool, faults: &[(&str, Option<Effect>)]) -> Update {
        let fault = |&(message, effect): &(&str, _)| Fault {
            origin: "https://api".to_owned(),
            document: None,
            message: message.to_owned(),
            effect,
        };
        let faults = faults.iter().map(fault).collect();
        Update { cluster: None, faults, complete, received: Instant::now() }
    }

    #[test]
    fn a_time_in_which_the_source_was_away_is_told_once_from_when_to_when() {
        let journal = Arc::new(Journal::default());
        let mut state = SourceState::new(Arc::clone(&journal));
        state.learn(1, &update(false, &[]));
        state.in_force(2);
        assert!(journal.oldest(9).is_empty(), "it was not read yet, or was whole");
        let away = update(false, &[("it is away", None), ("a pod cannot be used", Some(Effect::LeftOut))]);
        state.learn(3, &away);
        state.learn(4, &away);
        state.learn(5, &update(true, &[]));
        state.in_force(6);
        state.in_force(7);
        let told: Vec<_> = journal
            .oldest(9)
            .into_iter()
            .map(|record| match record {
                Record::Coverage(row) => (row.time_us, row.event, row.since_us, row.detail),
                other => panic!("{other:?}"),
            })
            .collect();
        let (gone, back) = (CoverageEvent::SourceAway.number(), CoverageEvent::SourceBack.number());
        let detail = away.faults[0].to_string();
        assert_eq!(told, [(3, gone.into(), None, detail), (6, back.into(), Some(3), String::new())]);
    }
}
