//! Each fault at each step of the agent's protocol, under traffic and with the exporter at work: every connection is in the
//! evidence once on each side, every denied attempt is counted once, and everything that is said of it is right.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use podwitness_agent::step::Step;
use podwitness_tests::scenario::{LIMIT, Scenario, wait};

use crate::field::Field;
use crate::small_disk::SmallDisk;
use crate::stage::{Gate, Stage};

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// kill -9.
    Kill,
    /// The disk of the spool has no room for a while.
    DiskFull,
    /// The spool's folders take no new file for a while, and let none go.
    SpoolRefuses,
}

/// In which state the node is when the step is come to, and what happens to the agent when a fault has lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// Everything is made anew, the step is come to for the first time, and the agent goes on.
    First,
    /// What a stop in good order has left is there, the step is come to again, and the agent is killed.
    Later,
}

/// What brings an agent to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its start, once.
    Start,
    /// A change of the cluster, and its start.
    Change,
    /// Traffic, and time.
    Work,
    /// SIGTERM.
    Stop,
    /// `--detach`.
    Detach,
}

/// A step that is added needs its way here.
pub(crate) fn way_to(step: Step) -> Way {
    match step {
        Step::SpoolOpened | Step::DefinitionsOpened | Step::MapsOpened | Step::Begun | Step::TakenUp => Way::Start,
        Step::TrailsKept | Step::Defined | Step::Filled | Step::Switched | Step::Hooked => Way::Change,
        Step::Swept
        | Step::JournalRead
        | Step::JournalCommitted
        | Step::EventsRead
        | Step::EventsCommitted
        | Step::EventsAcknowledged
        | Step::EpochTurned
        | Step::DenialsRead
        | Step::DenialsCommitted
        | Step::DenialsRemoved
        | Step::SegmentBegun
        | Step::BalanceStated => Way::Work,
        Step::Stopping | Step::BroughtOut | Step::StopCommitted | Step::Ended => Way::Stop,
        Step::Unhooked | Step::Detached | Step::DetachTold => Way::Detach,
    }
}

/// Nodes at a time: most of the time they wait.
const NODES: usize = 3;
/// A fault lasts until the spool has refused so many commits.
const REFUSALS: u64 = 4;
/// Or for so long, where there is nothing more to commit.
const FAULT_LASTS: Duration = Duration::from_secs(2);
/// After this time without a packet the connections of a [`Scenario`] are over.
const OVER_AFTER: Duration = Duration::from_millis(1600);

#[test]
fn a_kill_at_any_step_of_the_agent_loses_and_doubles_nothing() -> Result<()> {
    everywhere(Fault::Kill)
}

#[test]
fn a_full_disk_at_any_step_of_the_agent_costs_nothing() -> Result<()> {
    everywhere(Fault::DiskFull)
}

#[test]
fn a_spool_that_refuses_at_any_step_of_the_agent_costs_nothing() -> Result<()> {
    everywhere(Fault::SpoolRefuses)
}

fn everywhere(fault: Fault) -> Result<()> {
    // `PODWITNESS_TEST_STEP` has one step tried alone.
    let wanted = std::env::var("PODWITNESS_TEST_STEP").ok();
    let steps = Step::ALL.iter().filter(|step| wanted.as_ref().is_none_or(|wanted| wanted == step.name()));
    let attempts = steps.flat_map(|step| [(*step, Occasion::First), (*step, Occasion::Later)]);
    let attempts: Vec<_> = attempts.collect();
    let nodes = NODES.min(attempts.len());
    let attempts = Mutex::new(attempts.into_iter());
    let next = || attempts.lock().ok().and_then(|mut attempts| attempts.next());
    let began = Instant::now();
    let work = || -> Result<usize> {
        let mut stage = Stage::new()?;
        let mut count = 0;
        while let Some((step, occasion)) = next() {
            let began = Instant::now();
            let tried = attempt(&mut stage, step, occasion, fault);
            tried.with_context(|| format!("{fault:?} at {}, {occasion:?}", step.name()))?;
            println!("{fault:?} at {}, {occasion:?}: {:.1?}", step.name(), began.elapsed());
            count += 1;
        }
        if count > 0 {
            stage.check_all()?;
        }
        Ok(count)
    };
    let counts = thread::scope(|scope| {
        let nodes: Vec<_> = (0..nodes).map(|_| scope.spawn(work)).collect();
        let join =
            |node: thread::ScopedJoinHandle<'_, Result<usize>>| node.join().map_err(|_| anyhow!("a node panicked"))?;
        nodes.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    println!("{fault:?}: {} runs in {:.0?}", counts.iter().sum::<usize>(), began.elapsed());
    Ok(())
}

fn attempt(stage: &mut Stage, step: Step, occasion: Occasion, fault: Fault) -> Result<()> {
    if occasion == Occasion::First {
        stage.detach()?;
    }
    let way = way_to(step);
    let Stage { scenario, field, disk, .. } = stage;
    scenario.start_exporter()?;
    let gate = Gate::default();
    let sent = Stage::send_while(field, &gate, || {
        if way == Way::Detach {
            scenario.start_agent()?;
            scenario.wait_agent()?;
            gate.open();
            gate.wait_more(20)?;
            // What happens now waits in the maps for whoever takes them away.
            scenario.stop_agent()?;
            return gate.wait_more(20);
        }
        if occasion == Occasion::Later {
            gate.open();
        }
        let is_again = occasion == Occasion::Later && matches!(way, Way::Change | Way::Work);
        scenario.start_agent_to(&format!("{}:{}", step.name(), if is_again { 2 } else { 1 }))?;
        bring(scenario, field, &gate, way)?;
        strike(scenario, disk, fault, occasion)?;
        if way == Way::Stop {
            end(scenario)?;
        }
        revive(scenario)?;
        gate.open();
        gate.wait_more(10)
    })?;
    if way == Way::Detach {
        thread::sleep(OVER_AFTER);
        scenario.start_detach(Some(step.name()))?;
        wait("to detach has come to the step", || Ok(scenario.agent()?.is_held()?))?;
        strike(scenario, disk, fault, occasion)?;
        end(scenario)?;
        if occasion == Occasion::First {
            stage.detach()?;
        }
        stage.scenario.start_agent()?;
        stage.scenario.wait_agent()?;
        return stage.check_brought_out(&sent);
    }
    stage.check(&sent)
}

/// Waits until the agent stands at the step.
fn bring(scenario: &mut Scenario, field: &Field, gate: &Gate, way: Way) -> Result<()> {
    const BETWEEN_CHANGES: Duration = Duration::from_millis(200);
    let mut changed = Instant::now();
    let mut port = 1000;
    let mut is_told = false;
    wait("the agent has come to the step", || {
        if let Some(status) = scenario.agent()?.ended()? {
            return Err(anyhow!("the agent ended with {status}:\n{}", scenario.agent()?.log_tail(20)));
        }
        if scenario.agent()?.is_held()? {
            return Ok(true);
        }
        if Stage::is_hooked(scenario, field) {
            gate.open();
        }
        if way == Way::Change && changed.elapsed() >= BETWEEN_CHANGES {
            // About nobody, so that what the probes meet is the same.
            let spec =
                format!("{{podSelector: {{matchLabels: {{app: nobody}}}}, ingress: [{{ports: [{{port: {port}}}]}}]}}");
            scenario.cluster.policy("shop", "nobody", &spec)?;
            (changed, port) = (Instant::now(), port + 1);
        }
        if way == Way::Stop && !is_told && scenario.agent()?.is_ready()? {
            gate.open();
            gate.wait_more(10)?;
            scenario.agent()?.signal(Signal::SIGTERM)?;
            is_told = true;
        }
        Ok(false)
    })
}

/// Has the fault happen to the agent, which stands at a step.
fn strike(scenario: &mut Scenario, disk: &SmallDisk, fault: Fault, occasion: Occasion) -> Result<()> {
    if fault == Fault::Kill {
        return crate::killed::kill(&mut scenario.agent);
    }
    if fault == Fault::SpoolRefuses {
        disk.refuse(true)?;
    } else {
        disk.fill()?;
    }
    scenario.hold_agent(false)?;
    let began = Instant::now();
    let has_felt_it = |scenario: &Scenario| {
        scenario.agent_metric("podwitness_agent_spool_refusals_total").is_ok_and(|refusals| refusals >= REFUSALS)
    };
    while began.elapsed() < FAULT_LASTS && scenario.agent()?.ended()?.is_none() && !has_felt_it(scenario) {
        if fault == Fault::DiskFull {
            disk.fill()?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    if occasion == Occasion::Later {
        scenario.agent = None;
    }
    if fault == Fault::SpoolRefuses { disk.refuse(false) } else { disk.free() }
}

/// Waits for the end of an agent that was not killed and is to end by itself, in good order or not.
fn end(scenario: &mut Scenario) -> Result<()> {
    if let Some(agent) = scenario.agent.take() {
        agent.wait_end(LIMIT)?;
    }
    Ok(())
}

/// Has a ready agent run: the one that goes on, or another one.
fn revive(scenario: &mut Scenario) -> Result<()> {
    if scenario.agent.is_some() {
        let mut has_ended = false;
        wait("the agent is ready or has ended", || {
            has_ended = scenario.agent()?.ended()?.is_some();
            Ok(has_ended || scenario.agent()?.is_ready()?)
        })?;
        if !has_ended {
            return Ok(());
        }
        ensure!(!scenario.agent()?.ended()?.is_some_and(|status| status.success()), "it ended as if nothing had been");
    }
    scenario.start_agent()?;
    scenario.wait_agent()
}
