//! The balance between what the kernel has counted and what came out of it, and what else the agent says of itself.

use anyhow::{Context as _, Result, ensure};
use podwitness_policy::generate::Random;
use podwitness_seals::balance::KernelBalance;
use podwitness_tests::scenario::Scenario;
use podwitness_wire::Counter;

use crate::coverage::Desk;
use crate::field::{Field, openings, reconcile, seed};
use crate::killed::{kill, random_pause};

/// How often the agent is killed.
const KILLS: usize = 8;

#[test]
fn the_balance_holds_through_kills_under_traffic_and_is_exact_at_the_end() -> Result<()> {
    let mut random = Random::new(seed()?);
    // A statement needs a reading to the end, and an agent does not live for long here.
    let mut scenario = Scenario::new()?.set("seal.interval", "1s").set("events.drainInterval", "100ms");
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let sent = field.send_while(|| kill_and_wait_for_a_statement(&mut scenario, &mut random))?;
    scenario.wait_settled(openings(&sent))?;
    ensure!(scenario.agent_metric("podwitness_agent_balance_differences")? == 0);
    let counted = |counter| scenario.kernel(counter);
    let (accepted, denied) = (counted(Counter::EventsAccepted)?, counted(Counter::DeniedAttempts)?);
    reconcile(&scenario.stop_now()?, &sent)?;

    let desk = Desk::over(&scenario)?;
    let texts = desk.texts("SELECT balance FROM coverage WHERE event = 'balance' ORDER BY seq")?;
    ensure!(texts.len() > KILLS / 2, "only {} statements were made", texts.len());
    let statements: Vec<KernelBalance> =
        texts.iter().map(|text| Ok(KernelBalance::from_text(text)?)).collect::<Result<_>>()?;
    for statement in &statements {
        ensure!(statement.differences().is_empty(), "{:?} of {statement:#?}", statement.differences());
    }
    let grows = statements.windows(2).all(|pair| pair[0].events_read <= pair[1].events_read);
    ensure!(grows && statements.iter().all(|statement| statement.ring == statements[0].ring), "{statements:#?}");
    let last = statements.last().context("one is made at the end")?;
    ensure!(last.events_accepted.before == last.events_accepted.after && last.events_read >= accepted, "{last:#?}");
    ensure!(last.events_read == last.events_accepted.after && last.events_offered >= last.events_read, "{last:#?}");
    ensure!(last.denied_attempts.before == last.denied_recorded && last.denied_recorded >= denied, "{last:#?}");
    let rows = desk.texts("SELECT count(*) FROM verdicts")?;
    ensure!(rows == [last.spooled["verdicts"].to_string()], "{rows:?} rows, {last:#?}");

    // Each kill is told by the start after it, with the agent's last sign of life.
    let crashes = desk.texts(
        "SELECT concat_ws(' ', event, reason, since <= time AND time - since < INTERVAL 1 MINUTE) FROM coverage WHERE event \
         IN ('agent-crashed', 'agent-stopped') ORDER BY seq",
    )?;
    ensure!(crashes.last().is_some_and(|last| last.starts_with("agent-stopped")), "{crashes:?}");
    ensure!(crashes.len() > 1 && crashes[..crashes.len() - 1].iter().all(|crash| crash == "agent-crashed agent true"));
    let clock =
        desk.texts("SELECT DISTINCT clock_error_us >= 0 AND clock_step_us = 0 FROM coverage WHERE event = 'clock'")?;
    ensure!(clock == ["true"], "{clock:?}");
    Ok(())
}

fn kill_and_wait_for_a_statement(scenario: &mut Scenario, random: &mut Random) -> Result<()> {
    for _ in 0..KILLS {
        scenario.wait_agent()?;
        random_pause(random);
        kill(&mut scenario.agent)?;
        random_pause(random);
        scenario.start_agent()?;
    }
    scenario.wait_agent()
}
