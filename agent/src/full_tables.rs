//! Tells when a map had no room, and which key of the configuration gives it more.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use podwitness_datapath::{Counters, DenialRecord, LossRecord};
use podwitness_wire::{Counter, Reason, names};

/// A map that is full for long is told this often.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The key by which a map's size is set, where there is one.
pub(crate) fn key_of(map: &str) -> &'static str {
    match map {
        names::CONNECTIONS => "connections.max",
        names::DENIALS => "events.denials",
        names::EVENTS => "events.ringBytes",
        _ => "none",
    }
}

/// Which maps were told to be full, and when.
#[derive(Debug, Default)]
pub(crate) struct FullTables {
    told: HashMap<&'static str, Instant>,
    unattributed: Option<u64>,
}

impl FullTables {
    /// Looks at what was counted since the last look, and says which maps had no room for it.
    pub(crate) fn look(&mut self, counters: &Counters, denials: &[DenialRecord], losses: &[LossRecord]) {
        for (map, what) in self.full(Instant::now(), counters.get(Counter::LossesUnattributed), denials, losses) {
            tracing::warn!(map, key = key_of(map), "a map of the kernel was full: {what}");
        }
    }

    /// The maps to tell of, with what their being full has led to.
    fn full(
        &mut self,
        now: Instant,
        unattributed: u64,
        denials: &[DenialRecord],
        losses: &[LossRecord],
    ) -> Vec<(&'static str, &'static str)> {
        let has_lost = |reason: Reason| losses.iter().any(|(key, _)| key.reason == u32::from(reason.number()));
        let connections = Reason::ConnectionTableFull.number();
        let before = self.unattributed.replace(unattributed);
        let mut full = Vec::new();
        if denials.iter().any(|(key, _)| key.reason == connections) {
            full.push((names::CONNECTIONS, "new connections are denied, each counted in a record"));
        }
        if has_lost(Reason::DenialTableFull) {
            full.push((names::DENIALS, "denied attempts are counted without their details"));
        }
        if has_lost(Reason::RingFull) {
            full.push((names::EVENTS, "records could not be kept, and are counted"));
        }
        if before.is_some_and(|before| before < unattributed) {
            full.push((names::LOSSES, "losses are counted without the endpoint that they are of"));
        }
        full.retain(|(map, _)| self.told.get(map).is_none_or(|told| now - *told >= AGAIN_AFTER));
        self.told.extend(full.iter().map(|(map, _)| (*map, now)));
        full
    }
}

#[cfg(test)]
mod tests {
    use podwitness_wire::{Denial, DenialKey, Loss, LossKey};

    use super::*;

    fn denied(reason: Reason) -> DenialRecord {
        (DenialKey { reason: reason.number(), ..DenialKey::default() }, Denial::default())
    }

    fn lost(reason: Reason) -> LossRecord {
        (LossKey { reason: u32::from(reason.number()), ..LossKey::default() }, Loss::default())
    }

    #[test]
    fn each_full_map_is_told_once_and_again_only_after_a_while() {
        let mut tables = FullTables::default();
        let start = Instant::now();
        let denials = [denied(Reason::NoRule), denied(Reason::ConnectionTableFull)];
        let losses = [lost(Reason::DenialTableFull), lost(Reason::RingFull)];
        let mut full = |after, unattributed, denials: &[DenialRecord], losses: &[LossRecord]| -> Vec<&str> {
            tables.full(start + after, unattributed, denials, losses).into_iter().map(|(map, _)| map).collect()
        };
        assert_eq!(
            full(Duration::ZERO, 7, &denials[..1], &[]),
            [""; 0],
            "what was lost before the agent was told then"
        );
        assert_eq!(full(Duration::ZERO, 7, &denials, &[]), [names::CONNECTIONS]);
        assert_eq!(full(Duration::ZERO, 8, &denials, &losses), [names::DENIALS, names::EVENTS, names::LOSSES]);
        assert_eq!(full(AGAIN_AFTER / 2, 9, &denials, &losses), [""; 0]);
        assert_eq!(full(AGAIN_AFTER, 9, &denials, &[]), [names::CONNECTIONS]);
    }
}
