//! The whole chain at once: agent and exporter are each killed at random steps of their protocols, one beside the other, under
//! traffic.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use podwitness_agent::step::Step as AgentStep;
use podwitness_exporter::step::Step as ExporterStep;
use podwitness_lab::Program;
use podwitness_policy::generate::Random;
use podwitness_tests::scenario::Scenario;

use crate::agent_steps::{Way, way_to};
use crate::field::seed;
use crate::killed::kill;
use crate::stage::{Gate, Stage};

/// How often each of the two is killed at the least.
const KILLS: usize = 20;
/// A step to which a program does not come within this time is given up: it is killed wherever it is then.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of the two, on its way to a step.
struct Walker {
    program: fn(&mut Scenario) -> &mut Option<Program>,
    start: fn(&mut Scenario, &str) -> Result<()>,
    /// Each with the number of times that it is come to within some seconds of a life.
    steps: Vec<(&'static str, usize)>,
    since: Instant,
    kills: usize,
    at_steps: usize,
}

impl Walker {
    fn set_out(&mut self, scenario: &mut Scenario, random: &mut Random) -> Result<()> {
        let (step, times) = self.steps[random.below(self.steps.len())];
        self.since = Instant::now();
        (self.start)(scenario, &format!("{step}:{}", 1 + random.below(times)))
    }

    /// Kills it where it stands at its step, and sends it out again.
    fn go_on(&mut self, scenario: &mut Scenario, random: &mut Random) -> Result<()> {
        let program = (self.program)(scenario);
        let is_there = program.as_ref().is_some_and(|program| program.is_held().unwrap_or(false));
        if !is_there && self.since.elapsed() < PATIENCE {
            return Ok(());
        }
        kill(program)?;
        self.kills += 1;
        self.at_steps += usize::from(is_there);
        self.set_out(scenario, random)
    }
}

#[test]
fn a_random_walk_of_both_programs_over_their_steps_loses_and_doubles_nothing() -> Result<()> {
    let mut random = Random::new(seed()?);
    let mut stage = Stage::new()?;
    let Stage { scenario, field, .. } = &mut stage;
    let began = Instant::now();
    let mut agent = Walker {
        program: |scenario| &mut scenario.agent,
        start: |scenario, step| scenario.start_agent_to(step).map(drop),
        steps: AgentStep::ALL
            .iter()
            .filter_map(|step| match way_to(*step) {
                Way::Start | Way::Change => Some((step.name(), 1)),
                Way::Work => Some((step.name(), 3)),
                Way::Stop | Way::Detach => None,
            })
            .collect(),
        since: began,
        kills: 0,
        at_steps: 0,
    };
    let mut exporter = Walker {
        program: |scenario| &mut scenario.exporter,
        start: |scenario, step| scenario.start_exporter_to(step).map(drop),
        steps: ExporterStep::ALL.iter().map(|step| (step.name(), 2)).collect(),
        since: began,
        kills: 0,
        at_steps: 0,
    };
    let gate = Gate::default();
    gate.open();
    let sent = Stage::send_while(field, &gate, || {
        agent.set_out(scenario, &mut random)?;
        exporter.set_out(scenario, &mut random)?;
        while agent.kills < KILLS || exporter.kills < KILLS {
            agent.go_on(scenario, &mut random)?;
            exporter.go_on(scenario, &mut random)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(&mut scenario.agent)?;
        kill(&mut scenario.exporter)?;
        scenario.start()
    })?;
    println!(
        "the agent was killed {} times, {} of them at its step, the exporter {} and {}; {} probes in {:.0?}",
        agent.kills,
        agent.at_steps,
        exporter.kills,
        exporter.at_steps,
        sent.len(),
        began.elapsed()
    );
    ensure!(agent.at_steps * 2 > agent.kills && exporter.at_steps * 2 > exporter.kills, "steps are hardly come to");
    stage.check(&sent)?;
    stage.check_all()
}
