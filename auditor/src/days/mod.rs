//! A day in a minute: a simulated clock drives 400 days of seals, restarts, rotations of keys, wishes of namespaces and deletions,
//! through the exporter's own sealing and through `retain`; `verify` finds nothing at any time, and what is left is what a model
//! says. A run is named by its seed; `PODWITNESS_TEST_SEED` gives one, `PODWITNESS_TEST_DAYS` another number of days.

mod checks;
mod model;
mod world;

use std::env;

use world::World;

/// So many in an ordinary run.
const DAYS: u64 = 400;
/// `verify.py` looks on each of these days too.
const DAYS_BETWEEN_SECOND_OPINIONS: u64 = 80;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn four_hundred_days_verify_and_leave_what_they_must() {
    let seed = number("PODWITNESS_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let days = number("PODWITNESS_TEST_DAYS").unwrap_or(DAYS);
    println!("PODWITNESS_TEST_SEED={seed}");
    let mut world = World::begin(seed);
    for day in 0..days {
        world.live(day);
        world.verify_newest();
        if day % DAYS_BETWEEN_SECOND_OPINIONS == DAYS_BETWEEN_SECOND_OPINIONS - 1 || day + 1 == days {
            world.verify();
            world.second_opinion();
        }
    }
    let told = world.told;
    println!("{told:?}");
    // A run that did not do what it is for shows nothing.
    if days == DAYS {
        assert!(told.seals > 1500 && told.files > 2000 && told.deleted > 1000 && told.kept > 1000, "{told:?}");
        assert!(told.rotations > 10 && told.reboots > 10 && told.restarts > 20 && told.lost_states > 3, "{told:?}");
        assert!(told.runs > 20 && told.interrupted > 2 && told.key_turns > 1, "{told:?}");
        assert!(told.raised > 5 && told.lowered > 5 && told.held > 2 && told.lifted > 2, "{told:?}");
    }
}
