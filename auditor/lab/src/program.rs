//! One of the node's programs while it runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::error::LabError;
use crate::lab::Inner;

/// How often something is looked at that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How many lines of a log an error shows.
const TAIL: usize = 20;

/// A running program of the node. It is killed on drop.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Child,
    listen: SocketAddr,
    log: PathBuf,
    lab: Arc<Inner>,
}

impl Program {
    pub(crate) fn new(name: &'static str, child: Child, listen: SocketAddr, log: PathBuf, lab: Arc<Inner>) -> Self {
        Self { name, child, listen, log, lab }
    }

    /// The program's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file with what it, and those before it that were started as it, have written to standard output and error.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.child.try_wait().map_err(LabError::system(format!("look after {}", self.name)))
    }

    /// The status and the body of what it serves at `path`, such as `/metrics`, on the node.
    pub fn get(&self, path: &str) -> Result<(u16, String), LabError> {
        let action = || format!("ask {} for http://{}{path}", self.name, self.listen);
        let limit = Duration::from_secs(5);
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.listen, limit)?;
            stream.set_read_timeout(Some(limit))?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.listen);
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = self.lab.node.run(ask)?.map_err(LabError::system(action()))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status
            .map(|status| (status, body.to_owned()))
            .ok_or_else(|| LabError::Unusable(format!("cannot {}: {head}", action())))
    }

    /// Whether it says that it is ready. A program that has ended will never be, which is an error.
    pub fn is_ready(&mut self) -> Result<bool, LabError> {
        self.require_running("it was waited for to become ready")?;
        Ok(self.get("/readyz").is_ok_and(|(status, _)| status == 200))
    }

    /// Waits until it says that it is ready.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<(), LabError> {
        let started = Instant::now();
        while !self.is_ready()? {
            if started.elapsed() > limit {
                let said = self
                    .get("/readyz")
                    .map_or_else(|error| error.to_string(), |(status, body)| format!("{status} {body}"));
                return Err(self.late(started, &format!("waiting for /readyz ({})", said.trim_end())));
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        kill(self.process(), signal).map_err(LabError::system(format!("send {signal} to {}", self.name)))
    }

    /// Whether it stands still (`SIGSTOP`). A program that has ended does not.
    pub fn is_held(&self) -> Result<bool, LabError> {
        let path = Path::new("/proc").join(self.child.id().to_string()).join("stat");
        let stat = fs::read_to_string(&path).map_err(LabError::path("read", &path))?;
        // The state follows the name, which is in parentheses and may hold any character.
        Ok(stat.rsplit_once(") ").is_some_and(|(_, behind)| behind.starts_with('T')))
    }

    /// Asks it to stop (`SIGTERM`), and waits until it has.
    pub fn terminate(mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        self.require_running("it was about to be stopped")?;
        self.signal(Signal::SIGTERM)?;
        self.wait_end(limit)
    }

    /// Waits until it ends by itself.
    pub fn wait_end(mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                return Err(self.late(started, "waiting for it to end"));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Kills it (`SIGKILL`), and waits until it is gone.
    pub fn kill(mut self) -> Result<(), LabError> {
        self.end().map_err(LabError::system(format!("kill {}", self.name)))
    }

    /// Ends it with all of its process group, which it leads, unless it has ended by itself.
    fn end(&mut self) -> std::io::Result<()> {
        if self.child.try_wait()?.is_none() {
            killpg(self.process(), Signal::SIGKILL)?;
        }
        self.child.wait().map(|_| ())
    }

    fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids are positive 32-bit integers"))
    }

    fn require_running(&mut self, awaited: &str) -> Result<(), LabError> {
        let Some(status) = self.ended()? else { return Ok(()) };
        Err(LabError::Ended {
            program: self.name.to_owned(),
            status: status.to_string(),
            awaited: awaited.to_owned(),
            log: self.log_tail(TAIL),
        })
    }

    fn late(&self, started: Instant, awaited: &str) -> LabError {
        LabError::Late {
            program: self.name.to_owned(),
            seconds: started.elapsed().as_secs_f64(),
            awaited: awaited.to_owned(),
            log: self.log_tail(TAIL),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; that it is waited for is what matters, so that no zombie stays.
        let _ = self.end();
    }
}
