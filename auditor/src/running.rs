//! The node's two programs on a lab, started, waited for and stopped.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use podwitness_lab::{Installation, LabError, Program};

use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// How long a program may take to become ready, or to stop.
const PROGRAM_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The two programs while they run.
#[derive(Debug)]
pub(crate) struct Running {
    agent: Program,
    exporter: Program,
}

impl Running {
    /// Starts both.
    pub(crate) fn start(installation: &Installation) -> Result<Self, Failure> {
        let start = || -> Result<Self, LabError> {
            Ok(Self { agent: installation.start_agent()?, exporter: installation.start_exporter()? })
        };
        start().map_err(Failure::answer)
    }

    /// Waits until both are ready.
    pub(crate) fn wait_ready(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let deadline = Instant::now() + PROGRAM_LIMIT;
        for program in [&mut self.agent, &mut self.exporter] {
            while !program.is_ready().map_err(Failure::answer)? {
                interrupt.check()?;
                if Instant::now() > deadline {
                    let said = program.get("/readyz").map_or_else(|error| error.to_string(), |(_, body)| body);
                    return Err(Failure::answer(format_args!("{} did not become ready: {said}", program.name())));
                }
                thread::sleep(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    /// Stops both: the agent first, so that the exporter finds all there is in the spool.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        for program in [self.agent, self.exporter] {
            let (name, log) = (program.name(), program.log_path().to_owned());
            let status = program.terminate(PROGRAM_LIMIT).map_err(Failure::answer)?;
            if !status.success() {
                let log = fs::read_to_string(log).unwrap_or_default();
                return Err(Failure::answer(format_args!("{name} ended with {status}; its log:\n{log}")));
            }
        }
        Ok(())
    }

    /// The last lines of what each has said.
    pub(crate) fn log_tails(&self) -> String {
        let tail = |program: &Program| format!("The last lines of {}:\n{}\n", program.name(), program.log_tail(20));
        [&self.agent, &self.exporter].map(tail).join("\n")
    }
}
