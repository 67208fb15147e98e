//! Whether the agent before had ended in good order, and up to when what it had to say is in the spool.
//!
//! A file says that an agent runs: made at the start, touched while the spool takes what the agent says of the node, removed
//! when its `agent-stopped` is in the spool. An agent that finds one knows that the one before was killed, or its node was.
//! It leaves the file as it was until that is in the spool too: an agent that is killed before it has said so must not
//! make its own start the end of the one before.

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
    path: PathBuf,
    boot: String,
    /// Whether the file is that of this boot.
    is_ours: bool,
    next_sign: Instant,
    /// Of the round before.
    said_until: Option<SystemTime>,
}

/// An agent that had not ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    /// Up to when all that it had to say is in the spool, microseconds since 1970 in UTC.
    said_until_us: i64,
    /// Whether the node's kernel has ended with it.
    of_node: bool,
}

impl Life {
    /// Says that an agent runs from now on, and whether the one before had ended otherwise than in good order.
    pub(crate) fn begin(folder: &Path, boot: &str) -> io::Result<(Self, Option<Crash>)> {
        let path = folder.join(FILE_NAME);
        let crash = match fs::read_to_string(&path) {
            Ok(of) => Some(Crash { said_until_us: changed_us(&path)?, of_node: of != boot }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                durable::replace(&path, boot.as_bytes(), 0o644)?;
                None
            }
            Err(error) => return Err(error),
        };
        let is_ours = crash.is_none_or(|crash| !crash.of_node);
        let life = Self { path, boot: boot.to_owned(), is_ours, next_sign: Instant::now(), said_until: None };
        Ok((life, crash))
    }

    /// A round of the witness that began at `round` has brought everything into the spool that was to be said by then. What
    /// is noted is the beginning of the round before: a record is a moment older than its way into the journal.
    pub(crate) fn go_on(&mut self, round: SystemTime) {
        let Some(said_until) = self.said_until.replace(round) else { return };
        let now = Instant::now();
        if now < self.next_sign {
            return;
        }
        self.next_sign = now + SIGN_EVERY;
        if let Err(error) = self.note(said_until) {
            // A crash would then be said to have been earlier than it was.
            tracing::debug!(%error, "cannot give a sign of life");
        }
    }

    fn note(&mut self, said_until: SystemTime) -> io::Result<()> {
        if !self.is_ours {
            durable::replace(&self.path, self.boot.as_bytes(), 0o644)?;
            self.is_ours = true;
        }
        File::options().append(true).open(&self.path)?.set_modified(said_until)
    }

    /// The agent ends in good order, and its last record is in the spool.
    pub(crate) fn end(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        File::open(self.path.parent().expect("the file is in a folder"))?.sync_all()
    }
}

impl Crash {
    /// The record of it.
    pub(crate) fn row(self) -> Coverage {
        let (reason, detail) = if self.of_node {
            ("node", "the node was restarted under it: in between nothing was enforced or witnessed")
        } else {
            (
                "agent",
                "it was killed or has failed: where its hooks are on still, what was in force went on, and is collected now",
            )
        };
        Coverage {
            time_us: now_us(),
            event: CoverageEvent::AgentCrashed.number().into(),
            since_us: Some(self.said_until_us),
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

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_end_without_a_last_record_is_found_by_the_next_start_with_the_moment_up_to_which_all_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (first, crash) = Life::begin(folder.path(), "boot-1").unwrap();
        assert_eq!(crash, None, "there was none before");
        first.end().unwrap();
        let (mut killed, crash) = Life::begin(folder.path(), "boot-1").unwrap();
        assert_eq!(crash, None);
        killed.go_on(at(7));
        killed.go_on(at(8));
        drop(killed);
        let (lost, crash) = Life::begin(folder.path(), "boot-1").unwrap();
        assert_eq!(crash, Some(Crash { said_until_us: 7_000_000, of_node: false }), "the round before the last");
        let row = crash.unwrap().row();
        assert_eq!((row.since_us, row.reason.as_str()), (Some(7_000_000), "agent"));
        drop(lost);
        let (_, crash) = Life::begin(folder.path(), "boot-2").unwrap();
        assert_eq!(crash.unwrap().row().reason, "node");
    }

    #[test]
    fn a_crash_is_found_again_until_the_spool_has_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, _) = Life::begin(folder.path(), "boot-1").unwrap();
        first.go_on(at(7));
        first.go_on(at(8));
        drop(first);
        let found = Some(Crash { said_until_us: 7_000_000, of_node: true });
        let (mut silent, crash) = Life::begin(folder.path(), "boot-2").unwrap();
        assert_eq!(crash, found);
        // It had begun a round, and not finished another.
        silent.go_on(at(9));
        drop(silent);
        let (mut telling, crash) = Life::begin(folder.path(), "boot-2").unwrap();
        assert_eq!(crash, found);
        telling.go_on(at(20));
        telling.go_on(at(21));
        drop(telling);
        let (_, crash) = Life::begin(folder.path(), "boot-2").unwrap();
        assert_eq!(crash, Some(Crash { said_until_us: 20_000_000, of_node: false }));
    }
}
