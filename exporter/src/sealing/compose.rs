//! A seal, made of what is known.

use std::time::Duration;

use podwitness_seals::balance::{Balance, TABLES};
use podwitness_seals::document::Document as _;
use podwitness_seals::key::KeyId;
use podwitness_seals::seal::{self, ClockState, Seal, Sealer};
use podwitness_seals::time::Time;

use super::state::State;

/// What holds at the moment of sealing.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The kernel's boot id.
    pub boot: String,
    /// The time.
    pub now: Time,
    /// How often this node seals.
    pub interval: Duration,
    /// Whether everything has ended in good order.
    pub is_last: bool,
    /// The program that seals.
    pub sealer: Sealer,
    /// What the kernel says of its clock.
    pub clock: Option<ClockState>,
    /// The key that signs.
    pub key_id: KeyId,
    /// The key that signs the next one, where it is another.
    pub next_key_id: Option<KeyId>,
}

/// The seal that says what `state` knows.
pub fn compose(state: &State, circumstances: &Circumstances) -> Seal {
    let Circumstances { boot, now, interval, is_last, sealer, clock, key_id, next_key_id } = circumstances.clone();
    let mut objects = state.window.objects.clone();
    objects.sort_by(|one, other| one.path.cmp(&other.path));
    for object in &mut objects {
        // What is asked for later extends, and never shortens.
        if let Some((_, until)) = object.asked(&state.retention) {
            object.retain_until = object.retain_until.max(until);
        }
    }
    let mut rows = state.window.rows.clone();
    for table in TABLES {
        rows.entry(table.to_owned()).or_default();
    }
    for object in &objects {
        rows.entry(object.table.clone()).or_default().sealed += object.rows;
    }
    let start = state.head.as_ref().map(|head| head.end).or(state.begun).unwrap_or(now);
    Seal {
        r#type: Seal::TYPE.to_owned(),
        version: 1,
        cluster: state.cluster.clone(),
        node: state.node.clone(),
        boot,
        seal: state.head.as_ref().map_or(1, |head| head.seal + 1),
        chain: state.chain,
        previous_sha256: state.head.as_ref().map(|head| head.sha256.clone()),
        window: seal::Window { start, end: now },
        interval_seconds: interval.as_secs().max(1),
        last: is_last,
        sealer,
        clock,
        objects,
        gaps: state.window.gaps.clone(),
        balance: Balance { rows, damaged_bytes: state.window.damaged_bytes, kernel: state.window.kernel.clone() },
        policy: state.policy.clone(),
        agent_version: state.agent_version.clone(),
        object_sha256: state.object_sha256.clone(),
        retention: state.retention.clone(),
        key_id,
        next_key_id,
    }
}
