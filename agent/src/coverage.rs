//! What is enforced and witnessed on this node, from when to when, and by which policies: the records of `coverage` and
//! `policies`.
//!
//! The controller knows and writes into the [`Journal`], the witness commits from there: neither waits for the other.
//! Which rows follow each other is written with the columns (`schemas/src/coverage.rs`, `schemas/src/policies.rs`).

mod account;
mod journal;
mod source;
mod statements;
#[cfg(test)]
mod tests;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use podwitness_spool::{
    Coverage,
    words::{CoverageEvent, WitnessMode},
};
use podwitness_wire::Verdict;

pub(crate) use account::{Account, InForce, Seen};
pub(crate) use journal::Journal;
pub(crate) use source::SourceState;
pub(crate) use statements::Statements;

/// Microseconds since 1970 in UTC.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The same of a moment in the past.
pub(crate) fn utc_us(moment: Instant) -> i64 {
    now_us() - i64::try_from(moment.elapsed().as_micros()).unwrap_or(0)
}

/// The record of an agent that begins to witness.
pub(crate) fn agent_started(time_us: i64, mode: WitnessMode, unknown_endpoints: Verdict) -> Coverage {
    Coverage {
        time_us,
        event: CoverageEvent::AgentStarted.number().into(),
        mode: mode.number().into(),
        unknown_endpoints: unknown_endpoints.number().into(),
        ..Coverage::default()
    }
}

/// The record of an agent that ends in good order.
pub(crate) fn agent_stopped(started_us: i64) -> Coverage {
    Coverage {
        time_us: now_us(),
        event: CoverageEvent::AgentStopped.number().into(),
        since_us: Some(started_us),
        ..Coverage::default()
    }
}

/// The record of a spool that was lost under a node that went on, and of whether what numbers mean was lost with it.
pub(crate) fn spool_lost(are_names_lost: bool) -> Coverage {
    let names = if are_names_lost { "what numbers in older connections meant is not known any more, and " } else { "" };
    Coverage {
        time_us: now_us(),
        event: CoverageEvent::RecordsLost.number().into(),
        reason: "spool".to_owned(),
        detail: format!(
            "the spool was lost, and with it all that was not in the store yet; {names}the balance is stated again when \
             the maps are made anew"
        ),
        ..Coverage::default()
    }
}

/// The record of numbers in the kernel's tables whose meaning was lost, while the spool was not.
pub(crate) fn names_lost() -> Coverage {
    Coverage {
        time_us: now_us(),
        event: CoverageEvent::NamesLost.number().into(),
        detail: "found at the start of this agent: somebody has removed what the one before had written down"
            .to_owned(),
        ..Coverage::default()
    }
}

/// The record of the end of enforcement on this node; `detail` says what was lost with it, where something was.
pub(crate) fn agent_detached(detail: String) -> Coverage {
    Coverage { time_us: now_us(), event: CoverageEvent::AgentDetached.number().into(), detail, ..Coverage::default() }
}

/// The same, of an end that nobody has recorded: somebody has removed the pins, or was killed while it detached.
pub(crate) fn found_detached() -> Coverage {
    agent_detached(
        "found at the start of this agent: at some moment after the last record of the one before, the hooks and maps that it \
         had left were taken away, with what was counted in them and not brought out"
            .to_owned(),
    )
}
