//! Takes everything away: the hooks first, and the maps when what they hold is in the spool.
//!
//! Where it is killed on the way, the next `--detach` goes on; an agent that is started in its place finds the maps, or that
//! they are gone, which it says in a record.

use anyhow::{Result, bail};
use podwitness_config::Config;
use podwitness_runtime::{exit::sentence, readiness::Readiness, shutdown::Shutdown};
use podwitness_spool::{Checkpoint, Record};
use podwitness_wire::Settings;
use prometheus_client::registry::Registry;

use crate::{
    balance::{self, Balance, Taken},
    coverage,
    definitions::{Definitions, LedgerError},
    metrics::Metrics,
    run::{STATE_FOLDER, TakenUp, boot_id, open_spool, take_up},
    settings,
    step::Step,
    witness::WitnessError,
};

/// Connections whose totals were told longer ago than this have them told once more: a little time, so that a table that
/// is told in several rounds is told to its end.
const TOTALS_ARE_OLD_NS: u64 = 1_000_000_000;

/// Removes every hook, map and pin, and leaves a record of it where there is a spool.
pub(crate) fn detach(config: &Config) -> Result<()> {
    let has_maps = podwitness_datapath::unhook(&config.bpffs)?;
    Step::Unhooked.reached();
    let mut detail = String::new();
    if has_maps && config.spool.path.exists() {
        match bring_out(config) {
            Ok(true) => {}
            Err(error) if is_unreadable(&error) => {
                let cause = sentence(&*error);
                tracing::warn!(cause, "what the kernel had recorded and no agent has read is lost");
                detail = format!("what was counted in the maps and not brought out is lost: {cause}");
            }
            waits => {
                let cause = waits.err().map_or_else(|| "it takes nothing now".to_owned(), |error| sentence(&*error));
                bail!(
                    "the hooks are gone and nothing is enforced, but what the kernel has recorded waits in the maps under \
                     {} for the spool {} ({cause}): detach again when that takes it, or remove the spool first to give it up",
                    config.bpffs.display(),
                    config.spool.path.display()
                )
            }
        }
    }
    podwitness_datapath::detach(&config.bpffs)?;
    Step::Detached.reached();
    tracing::info!(bpffs = %config.bpffs.display(), "detached: nothing is enforced or recorded on this node");
    if config.spool.path.exists()
        && let Err(error) = tell(config, detail)
    {
        tracing::warn!(%error, "the evidence will not say so, because the spool does not take it");
    }
    Step::DetachTold.reached();
    Ok(())
}

/// Whether what the maps hold cannot be read or understood, and waiting would not help.
fn is_unreadable(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<podwitness_datapath::Error>()
        .is_some_and(|error| !matches!(error, podwitness_datapath::Error::InUse { .. }))
        || matches!(error.downcast_ref(), Some(LedgerError::Damaged { .. }))
        || error.is::<WitnessError>()
}

/// Brings everything that the maps hold into the spool; false where that takes nothing.
fn bring_out(config: &Config) -> Result<bool> {
    let settings = Settings { close_after: 0, progress: TOTALS_ARE_OLD_NS, ..settings::kernel(&config.connections) };
    let metrics = Metrics::register(&mut Registry::default());
    let is_keeping_up = Readiness::new().condition("the spool takes verdicts");
    let TakenUp { witness, .. } = take_up(config, &boot_id()?, settings, &metrics, is_keeping_up)?;
    let shutdown = Shutdown::new();
    shutdown.request();
    let witness = witness.run(&shutdown)?;
    let is_taken = witness.is_taken();
    witness.finish(is_taken);
    Ok(is_taken)
}

fn tell(config: &Config, detail: String) -> Result<()> {
    let boot = boot_id()?;
    let (mut spool, recovered) = open_spool(config, &boot)?;
    let definitions = Definitions::open(&config.spool.path.join(STATE_FOLDER), &boot, None)?;
    let records = vec![Record::Coverage(coverage::agent_detached(detail))];
    // The maps are gone, and with them the ring that the position is of; rows are counted on.
    let balance = Balance::resume(balance::NO_RING, recovered.checkpoint.as_ref(), balance::Times::default());
    let sums = balance.with(Taken::default(), &records);
    let ring = balance::NO_RING.to_string();
    spool.commit(records, &definitions, &Checkpoint { ring, sums, ..Checkpoint::default() })?;
    Ok(())
}
