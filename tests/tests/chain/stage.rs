//! A node with a small disk, on which programs are stopped at the steps of their protocols under traffic, and what must hold
//! of it whenever both have ended in good order.

use std::collections::BTreeSet;
use std::fs;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::Programs;
use podwitness_seals::document;
use podwitness_seals::seal::Seal;
use podwitness_tests::evidence::Evidence;
use podwitness_tests::scenario::{LIMIT, Scenario, wait};
use podwitness_tests::traffic::{PROTOCOLS, Sent};

use crate::coverage::Desk;
use crate::field::{Field, OPEN, SHUT, openings, reconcile_part};
use crate::small_disk::SmallDisk;

/// Between two probes of one sender.
const PACE: Duration = Duration::from_millis(40);

/// The node. Its programs do not run, and what they have left is whole.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) field: Field,
    pub(crate) disk: SmallDisk,
    /// Files of evidence that were looked at.
    known: BTreeSet<PathBuf>,
    /// Connections that were opened since the maps were made, at the least.
    opened: usize,
}

/// Whether probes are sent: only where policy is enforced do they meet what it says.
#[derive(Default)]
pub(crate) struct Gate {
    is_open: AtomicBool,
    is_over: AtomicBool,
    sent: AtomicUsize,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Waits until as many more probes have met their end.
    pub(crate) fn wait_more(&self, probes: usize) -> Result<()> {
        let before = self.sent.load(Ordering::Relaxed);
        wait("there is traffic", || Ok(self.sent.load(Ordering::Relaxed) >= before + probes))
    }
}

impl Stage {
    /// Segments are so small that one ends every few seconds; statements come as often.
    pub(crate) fn new() -> Result<Self> {
        let scenario = Scenario::new()?
            .set("spool.segmentBytes", "64KiB")
            .set("spool.maxBytes", "4MiB")
            .set("seal.interval", "1s")
            .set("events.drainInterval", "100ms")
            .set("events.sweepInterval", "100ms");
        let disk = SmallDisk::at(&scenario.installation.spool_path())?;
        let field = Field::make(&scenario)?;
        let mut stage = Self { scenario, field, disk, known: BTreeSet::new(), opened: 0 };
        stage.scenario.start()?;
        stage.check(&[])?;
        Ok(stage)
    }

    /// Takes everything away, with no fault.
    pub(crate) fn detach(&mut self) -> Result<()> {
        self.scenario.start_detach(None)?;
        let ended = self.scenario.agent.take().context("it was started")?.wait_end(LIMIT)?;
        ensure!(ended.success(), "to detach ended with {ended}");
        self.opened = 0;
        Ok(())
    }

    /// Whether every pod has both of its hooks.
    pub(crate) fn is_hooked(scenario: &Scenario, field: &Field) -> bool {
        let links = scenario.lab.bpffs_path().join("podwitness/links");
        fs::read_dir(links).is_ok_and(|links| links.count() == 2 * field.pods.len())
    }

    /// Sends probes while `work` is done and the gate is open.
    pub(crate) fn send_while(field: &Field, gate: &Gate, work: impl FnOnce() -> Result<()>) -> Result<Vec<Sent>> {
        let (worked, sent) = thread::scope(|scope| {
            let senders: Vec<_> = (0..field.pods.len())
                .map(|from| (from, OPEN))
                .chain([(0, SHUT), (2, SHUT)])
                .map(|(from, port)| scope.spawn(move || send_until_over(field, from, port, gate)))
                .collect();
            let worked = work();
            gate.is_over.store(true, Ordering::Relaxed);
            let sent: Vec<Result<Vec<Sent>>> =
                senders.into_iter().map(|sender| sender.join().unwrap_or_else(|panic| resume_unwind(panic))).collect();
            (worked, sent)
        });
        worked?;
        Ok(sent.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// Has both programs, which run, end in good order when everything is out, and checks what came of the probes since the
    /// last check: each connection once on each side, each denied attempt once, every count right, and nothing else.
    pub(crate) fn check(&mut self, sent: &[Sent]) -> Result<()> {
        self.opened += openings(sent);
        self.check_opened(sent)
    }

    /// The same where the maps that have seen the probes may be gone.
    pub(crate) fn check_brought_out(&mut self, sent: &[Sent]) -> Result<()> {
        self.opened = 0;
        self.check_opened(sent)
    }

    fn check_opened(&mut self, sent: &[Sent]) -> Result<()> {
        self.scenario.wait_settled(self.opened)?;
        let differences = self.scenario.agent_metric("podwitness_agent_balance_differences")?;
        ensure!(differences == 0, "the agent tells {differences} differences of the balance");
        self.scenario.stop_agent()?;
        if let Some(status) = self.scenario.exporter()?.ended()? {
            // It ends where its disk is full or refuses, and is started again by who looks after it.
            ensure!(!status.success(), "the exporter has ended as if it had been told to");
            self.scenario.start_exporter()?.wait_ready(LIMIT)?;
        }
        self.scenario.stop_exporter()?;

        let evidence = Evidence::read_but(&self.scenario.installation.evidence_path(), &self.known)?;
        self.known.extend(evidence.files.iter().map(|file| file.path.clone()));
        reconcile_part(&evidence, sent)?;

        let mut seals = self.seals()?;
        let seal = seals.last().context("there is a seal")?;
        ensure!(seal.last, "the last seal is not that of a clean stop: {seal:#?}");
        let stated = seals.iter_mut().rev().find_map(|seal| seal.balance.kernel.take());
        let kernel = stated.context("the agent has stated its balance")?;
        ensure!(kernel.differences().is_empty(), "{kernel:#?}");
        let (events, denied) = (kernel.events_accepted, kernel.denied_attempts);
        ensure!((events.before, events.after) == (kernel.events_read, kernel.events_read), "{kernel:#?}");
        ensure!((denied.before, denied.after) == (kernel.denied_recorded, kernel.denied_recorded), "{kernel:#?}");
        ensure!(
            (kernel.records_lost.after, kernel.lost_recorded, kernel.lost_unattributed) == (0, 0, 0),
            "{kernel:#?}"
        );
        Ok(())
    }

    /// All seals in the order of the chain.
    fn seals(&self) -> Result<Vec<Seal>> {
        let folder = self.scenario.installation.evidence_path().join("seals/cluster=lab/node=node-a");
        let mut seals: Vec<Seal> = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|is| is == "json") {
                seals.push(document::from_bytes(&fs::read(&path)?)?);
            }
        }
        seals.sort_unstable_by_key(|seal| seal.seal);
        Ok(seals)
    }

    /// Checks the whole of the evidence: `podwitness verify` finds nothing, and each life of an agent is told with the end
    /// of the one before.
    pub(crate) fn check_all(&self) -> Result<()> {
        let podwitness = Programs::beside_this()?.agent.with_file_name("podwitness");
        let root = self.scenario.installation.evidence_path();
        let output = Command::new(podwitness).arg("verify").arg(&root).args(["-o", "json"]).output()?;
        ensure!(output.status.success(), "verify says {}", String::from_utf8_lossy(&output.stdout));

        let untold = Desk::over(&self.scenario)?.texts(
            "SELECT concat_ws(' ', seq, before) FROM (SELECT *, lag(event) OVER (ORDER BY seq) AS before FROM coverage WHERE \
             starts_with(event, 'agent-')) WHERE event = 'agent-started' AND seq > 1 AND before NOT IN ('agent-stopped', \
             'agent-crashed', 'agent-detached')",
        )?;
        ensure!(untold.is_empty(), "agents have begun without the end of the one before: {untold:?}");
        Ok(())
    }
}

fn send_until_over(field: &Field, from: usize, port: u16, gate: &Gate) -> Result<Vec<Sent>> {
    let mut sent: Vec<Sent> = Vec::new();
    while !gate.is_over.load(Ordering::Relaxed) {
        if gate.is_open.load(Ordering::Relaxed) {
            let turn = sent.len();
            sent.push(field.send(from, turn / 4, PROTOCOLS[turn % 2], port)?);
            gate.sent.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(PACE);
    }
    Ok(sent)
}
