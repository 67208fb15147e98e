//! The balance between what the kernel has counted and what has come out of it: the one place that makes it.
//!
//! What comes out is summed here, and the sums are committed to the spool together with the records that they count, so
//! that a crash makes them neither larger nor smaller. They belong to one ring and the tables made with it.
//!
//! The kernel counts while the agent reads. So each count is taken twice: one commit interval before a reading to the end,
//! and one after it. A program counts before it puts a denied attempt or a loss into its table, and after it has put an
//! event into the ring, and is not away in between for as long as that: so what was counted before has come out with the
//! reading, and what has come out is counted after it.

use std::time::{Duration, Instant};

use podwitness_datapath::Counters;
use podwitness_seals::balance::{Around, KernelBalance};
use podwitness_spool::{Checkpoint, Coverage, Record, Sums, words::CoverageEvent};
use podwitness_wire::Counter;

use crate::coverage::now_us;

/// The name of no ring: the kernel counts maps from 1 (`kernel/bpf/syscall.c`, `bpf_map_alloc_id`).
pub(crate) const NO_RING: u32 = 0;

/// What a commit takes out of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Events out of the ring.
    pub(crate) events: u64,
    /// Denied attempts that got a record.
    pub(crate) denied: u64,
    /// Losses that got a record.
    pub(crate) lost: u64,
}

/// How often it is stated, and how long before and after a reading the kernel's counts are taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Between two statements.
    pub(crate) interval: Duration,
    /// Between a count and a reading, and a reading and a count.
    pub(crate) settle: Duration,
}

/// The sums, and the statement that is being made.
#[derive(Debug)]
pub(crate) struct Balance {
    ring: String,
    /// `None` where what came out before this agent was not counted: then nothing can be stated of this ring.
    sums: Option<Sums>,
    times: Times,
    stage: Stage,
}

/// How far the next statement is.
#[derive(Debug)]
enum Stage {
    Due(Instant),
    Before { at: Instant, before: Counters },
    Read { at: Instant, reading: Box<Reading> },
}

/// What a reading to the end has found.
#[derive(Debug)]
struct Reading {
    /// Taken before it.
    before: Counters,
    /// Taken one after the other, behind the reading.
    counters: [Counters; 2],
    sums: Sums,
}

impl Balance {
    /// Goes on from the spool's last commit, or from nothing where that was of another ring.
    pub(crate) fn resume(ring: u32, checkpoint: Option<&Checkpoint>, times: Times) -> Self {
        let ring = ring.to_string();
        let sums = match checkpoint {
            None => Some(Sums::default()),
            Some(Checkpoint { sums: None, .. }) => {
                tracing::warn!(
                    "what earlier agents took out of the kernel is not known: the balance is stated again when the \
                     maps are made anew"
                );
                None
            }
            Some(Checkpoint { ring: of, sums: Some(sums), .. }) if *of == ring => Some(sums.clone()),
            Some(Checkpoint { sums: Some(sums), .. }) => {
                Some(Sums { spooled: sums.spooled.clone(), ..Sums::default() })
            }
        };
        Self { ring, sums, times, stage: Stage::Due(Instant::now()) }
    }

    /// What came out before is not known: nothing can be stated of this ring.
    pub(crate) fn forget(&mut self) {
        self.sums = None;
    }

    /// From here on everything comes out of another ring, whose maps were empty when they were made.
    pub(crate) fn change_ring(&mut self, ring: u32) {
        self.ring = ring.to_string();
        let spooled = self.sums.take().map(|sums| sums.spooled).unwrap_or_default();
        self.sums = Some(Sums { spooled, ..Sums::default() });
        self.stage = Stage::Due(Instant::now());
    }

    /// The sums as they are when these records are committed too.
    pub(crate) fn with(&self, taken: Taken, records: &[Record]) -> Option<Sums> {
        let mut sums = self.sums.clone()?;
        sums.events_read += taken.events;
        sums.denied_recorded += taken.denied;
        sums.lost_recorded += taken.lost;
        let mut add = |table: &str, is: fn(&Record) -> bool| {
            let count = records.iter().filter(|record| is(record)).count() as u64;
            if count > 0 {
                *sums.spooled.entry(table.to_owned()).or_default() += count;
            }
        };
        add("verdicts", |record| matches!(record, Record::Verdict(_)));
        add("coverage", |record| matches!(record, Record::Coverage(_)));
        add("policies", |record| matches!(record, Record::Policy(_)));
        Some(sums)
    }

    /// The records are committed.
    pub(crate) fn committed(&mut self, sums: Option<Sums>) {
        self.sums = sums;
    }

    /// Begins the next statement at once.
    pub(crate) fn hasten(&mut self) {
        self.stage = Stage::Due(Instant::now());
    }

    /// Goes a step on towards the next statement, and returns it when it is made. `read_since` is the moment at which a
    /// reading began that has brought out everything up to now, where there was one; `count` reads the kernel's counters.
    pub(crate) fn step<E>(
        &mut self,
        read_since: Option<Instant>,
        mut count: impl FnMut() -> Result<Option<Counters>, E>,
    ) -> Result<Option<KernelBalance>, E> {
        let (now, settle) = (Instant::now(), self.times.settle);
        let Some(sums) = &self.sums else { return Ok(None) };
        match &self.stage {
            Stage::Due(due) if now >= *due => {
                if let Some(before) = count()? {
                    self.stage = Stage::Before { at: Instant::now(), before };
                }
            }
            Stage::Before { at, before } if read_since.is_some_and(|since| since >= *at + settle) => {
                if let (Some(first), Some(second)) = (count()?, count()?) {
                    let reading = Reading { before: before.clone(), counters: [first, second], sums: sums.clone() };
                    self.stage = Stage::Read { at: Instant::now(), reading: Box::new(reading) };
                }
            }
            Stage::Read { at, reading } if now >= *at + settle => {
                if let Some(after) = count()? {
                    let statement = state(&self.ring, reading, &after);
                    self.stage = Stage::Due(now + self.times.interval);
                    return Ok(Some(statement));
                }
            }
            _ => {}
        }
        Ok(None)
    }
}

fn state(ring: &str, reading: &Reading, after: &Counters) -> KernelBalance {
    let Reading { before, counters: [first, second], sums } = reading;
    let around = |counter| Around { before: before.get(counter), after: after.get(counter) };
    let events_accepted = around(Counter::EventsAccepted);
    let events_refused = first.get(Counter::EventsRefused);
    // Offers go on while counters are read one after the other. When the refused were read, the offered lay between these
    // two; at quiet they are one.
    let (least, most) = (first.get(Counter::EventsOffered), second.get(Counter::EventsOffered));
    let events_offered = events_accepted.before.saturating_add(events_refused).clamp(least, most);
    KernelBalance {
        ring: ring.to_owned(),
        events_offered,
        events_accepted,
        events_refused,
        events_read: sums.events_read,
        denied_attempts: around(Counter::DeniedAttempts),
        denied_recorded: sums.denied_recorded,
        // The kernel counts as denied attempts those alone that are in the table; others are losses from the beginning.
        denied_lost: 0,
        records_lost: around(Counter::RecordsLost),
        lost_recorded: sums.lost_recorded,
        lost_unattributed: first.get(Counter::LossesUnattributed),
        spooled: sums.spooled.clone(),
    }
}

/// The row of a statement.
pub(crate) fn row(statement: &KernelBalance) -> Coverage {
    Coverage {
        time_us: now_us(),
        event: CoverageEvent::Balance.number().into(),
        balance: statement.to_text(),
        ..Coverage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(offered: u64, accepted: u64, refused: u64, denied: u64, lost: u64) -> Counters {
        Counters::of(&[
            (Counter::EventsOffered, offered),
            (Counter::EventsAccepted, accepted),
            (Counter::EventsRefused, refused),
            (Counter::DeniedAttempts, denied),
            (Counter::RecordsLost, lost),
        ])
    }

    fn balance(checkpoint: Option<&Checkpoint>) -> Balance {
        let times = Times { interval: Duration::from_secs(3600), settle: Duration::ZERO };
        Balance::resume(7, checkpoint, times)
    }

    /// Makes a statement of what the kernel counted before, with and after a reading.
    fn stated(balance: &mut Balance, counted: [Counters; 3]) -> Option<KernelBalance> {
        let [before, with, after] = counted;
        let mut counted = [before, with.clone(), with, after].into_iter().map(Some);
        let mut count = || Ok::<_, std::convert::Infallible>(counted.next().unwrap());
        assert_eq!(balance.step(None, &mut count).unwrap(), None);
        assert_eq!(balance.step(None, &mut count).unwrap(), None, "nothing was read yet");
        assert_eq!(balance.step(Some(Instant::now()), &mut count).unwrap(), None);
        balance.step(None, &mut count).unwrap()
    }

    #[test]
    fn what_came_out_lies_between_the_kernels_counts_and_a_lost_event_or_attempt_is_told() {
        let mut balance = balance(None);
        let records = [Record::Coverage(Coverage::default()), Record::Verdict(podwitness_spool::Verdict::default())];
        let sums = balance.with(Taken { events: 5, denied: 3, lost: 2 }, &records);
        balance.committed(sums);
        let kernel = [counters(6, 4, 2, 3, 2), counters(7, 5, 2, 3, 2), counters(9, 6, 3, 4, 2)];
        let statement = stated(&mut balance, kernel).unwrap();
        assert_eq!((statement.ring.as_str(), statement.events_read, statement.events_offered), ("7", 5, 7));
        assert_eq!(statement.spooled, [("coverage".to_owned(), 1), ("verdicts".to_owned(), 1)].into());
        assert_eq!(statement.differences(), Vec::<String>::new());
        assert_eq!(KernelBalance::from_text(&row(&statement).balance).unwrap(), statement);
        let nothing = || -> Result<Option<Counters>, std::convert::Infallible> { panic!("it is not due") };
        assert_eq!(balance.step(Some(Instant::now()), nothing).unwrap(), None, "once an interval");

        balance.hasten();
        let more = counters(9, 7, 2, 5, 2);
        let differences = stated(&mut balance, [more.clone(), more.clone(), more]).unwrap().differences();
        assert_eq!(differences.len(), 2, "{differences:?}");
    }

    #[test]
    fn sums_go_on_with_the_same_ring_begin_anew_with_another_and_are_unknown_where_nobody_counted() {
        let sums = Sums { events_read: 9, denied_recorded: 8, lost_recorded: 7, spooled: [("x".to_owned(), 6)].into() };
        let checkpoint = |ring: &str, sums: Option<&Sums>| Checkpoint {
            ring: ring.to_owned(),
            sums: sums.cloned(),
            ..Checkpoint::default()
        };
        let resumed = |ring, sums| balance(Some(&checkpoint(ring, sums)));
        assert_eq!(resumed("7", Some(&sums)).sums.as_ref(), Some(&sums));
        let anew = Sums { spooled: sums.spooled.clone(), ..Sums::default() };
        assert_eq!(resumed("6", Some(&sums)).sums.as_ref(), Some(&anew), "the boot is the same");
        let mut unknown = resumed("7", None);
        assert_eq!(unknown.with(Taken::default(), &[]), None);
        let nothing = || -> Result<Option<Counters>, std::convert::Infallible> { panic!("nothing can be stated") };
        assert_eq!(unknown.step(Some(Instant::now()), nothing).unwrap(), None);
        unknown.change_ring(8);
        assert_eq!((unknown.ring.as_str(), unknown.sums), ("8", Some(Sums::default())));
    }
}
