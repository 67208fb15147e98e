//! The lab's node with the two programs on it, and their own words on how far they are.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use podwitness_lab::{Cluster, Installation, Lab, Pod, PodSpec, Program, Programs};
use podwitness_wire::Counter;

use crate::evidence::Evidence;

/// How long anything is waited for.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How often something is looked at that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The kernel's counters, by the metric that shows them.
pub const KERNEL_EVENTS: &str = "podwitness_agent_kernel_events_total";

/// A node with its programs. They are killed on drop, and everything that was made goes.
#[derive(Debug)]
pub struct Scenario {
    /// The running agent.
    pub agent: Option<Program>,
    /// The running exporter.
    pub exporter: Option<Program>,
    /// The installed programs; its settings hold for what is started next.
    pub installation: Installation,
    /// The objects of the cluster.
    pub cluster: Cluster,
    /// The node.
    pub lab: Lab,
}

impl Scenario {
    /// A node whose programs are installed with times that tests can wait for. No program runs yet.
    pub fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let mut installation = lab
            .install(&Programs::beside_this()?, None)?
            .set("connections.closeAfter", "300ms")
            .set("events.drainInterval", "200ms")
            .set("events.sweepInterval", "200ms")
            .set("spool.commitInterval", "50ms")
            .set("labels.columns", vec!["app"]);
        for state in ["tcpSyn", "tcpFin", "tcpTimeWait", "tcpClose", "udp", "udpStream", "icmp"] {
            installation = installation.set(&format!("connections.timeouts.{state}"), "1500ms");
        }
        let cluster = lab.cluster();
        cluster.node()?;
        Ok(Self { agent: None, exporter: None, installation, cluster, lab })
    }

    /// The same with another value of a configuration key.
    #[must_use]
    pub fn set(self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        Self { installation: self.installation.set(key, value), ..self }
    }

    /// Makes a pod, and its object with it.
    pub fn pod(&self, spec: PodSpec) -> Result<Pod> {
        self.cluster.pod(&spec)?;
        Ok(self.lab.pod(spec)?)
    }

    /// Starts the agent and does not wait for it.
    pub fn start_agent(&mut self) -> Result<&mut Program> {
        Ok(self.agent.insert(self.installation.start_agent()?))
    }

    /// Starts the exporter and does not wait for it.
    pub fn start_exporter(&mut self) -> Result<&mut Program> {
        Ok(self.exporter.insert(self.installation.start_exporter()?))
    }

    /// Starts an agent that stands still at a step, as [`podwitness_runtime::step`] says, and does not wait for it.
    pub fn start_agent_to(&mut self, step: &str) -> Result<&mut Program> {
        Ok(self.agent.insert(self.installation.start_agent_with(|command| stop_at(command, step))?))
    }

    /// The same of an exporter.
    pub fn start_exporter_to(&mut self, step: &str) -> Result<&mut Program> {
        Ok(self.exporter.insert(self.installation.start_exporter_with(|command| stop_at(command, step))?))
    }

    /// Starts an agent that takes everything away, and stands still at a step if one is given.
    pub fn start_detach(&mut self, step: Option<&str>) -> Result<&mut Program> {
        let detach = self.installation.start_agent_with(|command| {
            command.arg("--detach");
            if let Some(step) = step {
                stop_at(command, step);
            }
        })?;
        Ok(self.agent.insert(detach))
    }

    /// Starts both, and waits until both are ready.
    pub fn start(&mut self) -> Result<()> {
        self.start_agent()?;
        self.start_exporter()?;
        self.wait_agent()?;
        Ok(self.exporter()?.wait_ready(LIMIT)?)
    }

    /// Waits until the agent is ready.
    pub fn wait_agent(&mut self) -> Result<()> {
        Ok(self.agent()?.wait_ready(LIMIT)?)
    }

    /// The running agent.
    pub fn agent(&mut self) -> Result<&mut Program> {
        self.agent.as_mut().context("the agent was not started")
    }

    /// The running exporter.
    pub fn exporter(&mut self) -> Result<&mut Program> {
        self.exporter.as_mut().context("the exporter was not started")
    }

    /// The agent's metric that begins a line: its name, with its labels where it has some.
    pub fn agent_metric(&self, name: &str) -> Result<u64> {
        metric(self.agent.as_ref().context("the agent was not started")?, name)
    }

    /// The exporter's metric, likewise.
    pub fn exporter_metric(&self, name: &str) -> Result<u64> {
        metric(self.exporter.as_ref().context("the exporter was not started")?, name)
    }

    /// What the kernel has counted, as the agent shows it.
    pub fn kernel(&self, counter: Counter) -> Result<u64> {
        self.agent_metric(&format!("{KERNEL_EVENTS}{{what=\"{}\"}}", counter.name()))
    }

    /// The revision of the policy in force.
    pub fn policy_revision(&self) -> Result<u64> {
        self.agent_metric("podwitness_agent_policy_revision")
    }

    /// Waits until another policy is in force than that of the revision `before`.
    pub fn wait_other_revision(&mut self, before: u64) -> Result<u64> {
        wait("another policy is in force", || Ok(self.policy_revision()? != before))?;
        self.wait_agent()?;
        self.policy_revision()
    }

    /// Waits until so many connections were opened, since the maps were made and at the least, each has its close record
    /// on the way, and the kernel owes none.
    pub fn wait_settled(&self, opened: usize) -> Result<()> {
        use Counter::{ConnectionsClosed, ConnectionsOpened, EventsAccepted, RecordsLost, RecordsOwed};
        wait("every connection is closed and every record out", || {
            Ok(self.kernel(ConnectionsOpened)? >= opened as u64
                && self.kernel(ConnectionsClosed)? == self.kernel(ConnectionsOpened)?
                && self.kernel(RecordsOwed)? == self.kernel(EventsAccepted)? + self.kernel(RecordsLost)?
                && self.agent_metric("podwitness_agent_ring_waiting_bytes")? == 0)
        })
        .with_context(|| self.agent.as_ref().map_or(String::new(), balance))
    }

    /// Stops the agent in good order.
    pub fn stop_agent(&mut self) -> Result<()> {
        let agent = self.agent.take().context("the agent was not started")?;
        let status = agent.terminate(LIMIT)?;
        ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }

    /// Stops the exporter in good order.
    pub fn stop_exporter(&mut self) -> Result<()> {
        let exporter = self.exporter.take().context("the exporter was not started")?;
        let status = exporter.terminate(LIMIT)?;
        ensure!(status.success(), "the exporter ended with {status}");
        Ok(())
    }

    /// Waits as [`Scenario::wait_settled`], stops both programs, and reads what they have left.
    pub fn stop(&mut self, opened: usize) -> Result<Evidence> {
        self.wait_settled(opened)?;
        self.stop_now()
    }

    /// Stops both programs, and reads what they have left.
    pub fn stop_now(&mut self) -> Result<Evidence> {
        self.stop_agent()?;
        self.stop_exporter()?;
        self.evidence()
    }

    /// What is in the evidence root now.
    pub fn evidence(&self) -> Result<Evidence> {
        Evidence::read(&self.installation.evidence_path())
    }

    /// Holds the agent still (`SIGSTOP`), or has it go on (`SIGCONT`).
    pub fn hold_agent(&mut self, held: bool) -> Result<()> {
        Ok(self.agent()?.signal(if held { Signal::SIGSTOP } else { Signal::SIGCONT })?)
    }
}

fn stop_at(command: &mut Command, step: &str) {
    command.env(podwitness_runtime::step::STOP_AT, step);
}

/// Waits until the condition holds.
pub fn wait(what: &str, holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_within(LIMIT, what, holds)
}

/// The same, for what may take longer.
pub fn wait_within(limit: Duration, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds().with_context(|| format!("while waiting until {what}"))? {
        if Instant::now() > deadline {
            bail!("gave up waiting until {what}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn metric(program: &Program, name: &str) -> Result<u64> {
    let (_, body) = program.get("/metrics")?;
    let value = body
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .with_context(|| format!("{} has no metric {name} in:\n{body}", program.name()))?;
    value.parse().with_context(|| format!("{name} is {value}"))
}

fn balance(agent: &Program) -> String {
    let (_, body) = agent.get("/metrics").unwrap_or_default();
    let lines: Vec<&str> = body.lines().filter(|line| line.starts_with("podwitness_agent")).collect();
    lines.join("\n")
}
