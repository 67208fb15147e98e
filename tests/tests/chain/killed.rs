//! kill -9 of the programs at random moments, under traffic: every connection is in the evidence exactly once, every denied
//! attempt is counted once, and nobody on the wire notices.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::Program;
use podwitness_policy::generate::Random;
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{PROTOCOLS, Sent};
use podwitness_wire::Counter;

use crate::field::{Field, OPEN, SHUT, openings, reconcile, seed};

/// How often each of the agent alone, the exporter alone and both together are killed.
const KILLS: usize = 15;
/// The longest that a program lives, unless it is waited for.
const LONGEST_LIFE_MS: usize = 900;
/// Kills a program that must not have ended by itself.
pub(crate) fn kill(program: &mut Option<Program>) -> Result<()> {
    let mut program = program.take().context("it was not started")?;
    let ended = program.ended()?;
    ensure!(ended.is_none(), "{} ended by itself with {ended:?}:\n{}", program.name(), program.log_tail(20));
    Ok(program.kill()?)
}

pub(crate) fn random_pause(random: &mut Random) {
    // It is the randomness of the moment that is wanted here, not that anything has come about.
    thread::sleep(Duration::from_millis(random.below(LONGEST_LIFE_MS) as u64));
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_at_random_moments() -> Result<()> {
    let mut random = Random::new(seed()?);
    let mut scenario = Scenario::new()?;
    let field = Field::make(&scenario)?;
    scenario.start()?;

    let sent = field.send_while(|| kill_often(&mut scenario, &mut random))?;
    let opened = openings(&sent);
    println!("{} probes, {opened} openings", sent.len());
    ensure!(sent.len() > 1000, "there was too little traffic");
    let evidence = scenario.stop(opened)?;
    reconcile(&evidence, &sent)
}

fn kill_often(scenario: &mut Scenario, random: &mut Random) -> Result<()> {
    let mut victims: Vec<(bool, bool)> =
        [(true, false), (false, true), (true, true)].into_iter().flat_map(|victim| [victim; KILLS]).collect();
    while !victims.is_empty() {
        let (agent, exporter) = victims.swap_remove(random.below(victims.len()));
        // Half of them in the middle of their work, the others while they start, or soon after.
        if random.percent(50) {
            scenario.wait_agent()?;
        }
        random_pause(random);
        if agent {
            kill(&mut scenario.agent)?;
        }
        if exporter {
            kill(&mut scenario.exporter)?;
        }
        if random.percent(20) {
            random_pause(random);
        }
        if agent {
            scenario.start_agent()?;
        }
        if exporter {
            scenario.start_exporter()?;
        }
    }
    scenario.wait_agent()
}

#[test]
fn a_dead_agent_enforces_and_records_and_what_it_missed_arrives_later() -> Result<()> {
    let mut scenario = Scenario::new()?;
    let field = Field::make(&scenario)?;
    scenario.start()?;
    let mut sent = Vec::new();
    let round = |sent: &mut Vec<Sent>| -> Result<()> {
        for from in 0..field.pods.len() {
            for turn in 0..2 * field.pods.len() {
                for protocol in PROTOCOLS {
                    sent.push(field.send(from, turn, protocol, OPEN)?);
                }
            }
            for protocol in PROTOCOLS {
                sent.push(field.send(from, from, protocol, SHUT)?);
            }
        }
        Ok(())
    };
    round(&mut sent)?;
    for _ in 0..2 {
        kill(&mut scenario.agent)?;
        round(&mut sent)?;
        scenario.start_agent()?;
        scenario.wait_agent()?;
    }
    let opened = openings(&sent);
    scenario.wait_settled(opened)?;
    ensure!(scenario.kernel(Counter::ConnectionsOpened)? == opened as u64);
    reconcile(&scenario.stop_now()?, &sent)
}
