//! Whether the agent before had ended in good order, and when it last gave a sign of life.
//!
//! A file says that an agent runs: made at the start, touched while it works, removed when its `agent-stopped` is in the
//! spool. An agent that finds one knows that the one before was killed, or its node was.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use podwitness_runtime::durable;
use podwitness_spool::{Coverage, words::CoverageEvent};

use crate::coverage::now_us;

const FILE_NAME: &str = "running";

/// How often the file is touched.
const SIGN_EVERY: Duration = Duration::from_secs(1);

/// That this agent runs.
#[derive(Debug)]
pub(crate) struct Life {
    folder: PathBuf,
    next_sign: Instant,
}

/// An agent that had not ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    /// Its last sign of life, microseconds since 1970 in UTC.
    seen_us: i64,
    /// Whether the node's kernel has ended with it.
    of_node: bool,
}

impl Life {
    /// Says that an agent runs from now on, and whether the one before had ended otherwise than in good order.
    pub(crate) fn begin(folder: &Path, boot: &str) -> io::Result<(Self, Option<Crash>)> {
        let path = folder.join(FILE_NAME);
        let crash = match fs::read_to_string(&path) {
            Ok(of) => Some(Crash { seen_us: changed_us(&path)?, of_node: of != boot }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        durable::replace(&path, boot.as_bytes(), 0o644)?;
        Ok((Self { folder: folder.to_owned(), next_sign: Instant::now() + SIGN_EVERY }, crash))
    }

    /// Gives a sign of life.
    pub(crate) fn go_on(&mut self) {
        let now = Instant::now();
        if now < self.next_sign {
            return;
        }
        self.next_sign = now + SIGN_EVERY;
        let touched = File::options().append(true).open(self.folder.join(FILE_NAME));
        if let Err(error) = touched.and_then(|file| file.set_modified(SystemTime::now())) {
            // A crash would then be said to have been earlier than it was.
            tracing::debug!(%error, "cannot give a sign of life");
        }
    }

    /// The agent ends in good order, and its last record is in the spool.
    pub(crate) fn end(self) -> io::Result<()> {
        fs::remove_file(self.folder.join(FILE_NAME))?;
        File::open(&self.folder)?.sync_all()
    }
}

impl Crash {
    /// The record of it.
    pub(crate) fn row(self) -> Coverage {
        let (reason, detail) = if self.of_node {
            ("node", "the node was restarted under it: in between nothing was enforced or witnessed")
        } else {
            ("agent", "it was killed or has failed: what was in force went on, and is collected now")
        };
        Coverage {
            time_us: now_us(),
            event: CoverageEvent::AgentCrashed.number().into(),
            since_us: Some(self.seen_us),
            reason: reason.to_owned(),
            detail: detail.to_owned(),
            ..Coverage::default()
        }
    }
}

fn changed_us(path: &Path) -> io::Result<i64> {
    let since = fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_last_record_is_found_by_the_next_start_with_the_last_sign_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let (first, crash) = Life::begin(folder.path(), "boot-1").unwrap();
        assert_eq!(crash, None, "there was none before");
        first.end().unwrap();
        let (mut killed, crash) = Life::begin(folder.path(), "boot-1").unwrap();
        assert_eq!(crash, None);
        let path = folder.path().join(FILE_NAME);
        File::options().append(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        killed.next_sign = Instant::now();
        let before = now_us();
        killed.go_on();
        drop(killed);
        let (lost, crash) = Life::begin(folder.path(), "boot-1").unwrap();
        let crash = crash.unwrap();
        assert!(!crash.of_node && crash.seen_us >= before, "{crash:?}");
        assert_eq!((crash.row().since_us, crash.row().reason.as_str()), (Some(crash.seen_us), "agent"));
        drop(lost);
        let (_, crash) = Life::begin(folder.path(), "boot-2").unwrap();
        assert_eq!(crash.unwrap().row().reason, "node");
    }
}
