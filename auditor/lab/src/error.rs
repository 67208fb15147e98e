//! What can go wrong in the lab itself. What the network did to a probe is no error: see [`crate::Outcome`].

use std::io;
use std::path::{Path, PathBuf};

/// Why the lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces, interfaces and mounts need root.
    #[error("this makes network namespaces and loads BPF programs, so it must run as root: run it again with sudo")]
    NotRoot,

    /// The mounts of the lab would be seen by the whole machine.
    #[error(
        "the lab's mounts would be seen by the whole machine: call isolate() first, or run under `unshare --net --mount`"
    )]
    SharedMounts,

    /// `unshare` moves one thread only, so it must be called before there are others.
    #[error("isolate() was called while the process had {threads} threads; it must be called first thing in main")]
    NotSingleThreaded {
        /// How many threads there were.
        threads: usize,
    },

    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Path {
        /// The verb and its object, to be followed by the path.
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A call to the system failed that has no path.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// What the system said.
        source: io::Error,
    },

    /// A program that the lab runs is not there.
    #[error("the program `{program}` cannot be started ({source}): install {package}")]
    Missing {
        /// The program's name.
        program: String,
        /// What to install.
        package: &'static str,
        /// What the system said.
        source: io::Error,
    },

    /// `ip` refused a command.
    #[error("`ip {command}` failed: {said}")]
    Ip {
        /// The arguments of the one command that failed.
        command: String,
        /// What `ip` wrote to stderr.
        said: String,
    },

    /// `nft` refused a ruleset.
    #[error("`nft` does not take the rules of the lab's Services: {said}")]
    Nft {
        /// What `nft` wrote to stderr.
        said: String,
    },

    /// What was asked for makes no sense.
    #[error("{0}")]
    Unusable(String),

    /// A program ended while it was waited for.
    #[error("{program} ended with {status} while {awaited}; its log ends:\n{log}")]
    Ended {
        /// The program's name.
        program: String,
        /// How it ended.
        status: String,
        /// What was waited for.
        awaited: String,
        /// The last lines of its log.
        log: String,
    },

    /// What was waited for did not happen in time.
    #[error("gave up after {seconds:.1} s while {awaited}; the log of {program} ends:\n{log}")]
    Late {
        /// The program that was waited for.
        program: String,
        /// How long it was waited for.
        seconds: f64,
        /// What was waited for.
        awaited: String,
        /// The last lines of its log.
        log: String,
    },
}

impl LabError {
    /// Turns the error of a call on `path` into a sentence.
    pub(crate) fn path(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Path { action, path: path.to_owned(), source }
    }

    /// The same for the errors of `nix`.
    pub(crate) fn path_errno(action: &'static str, path: &Path) -> impl FnOnce(nix::Error) -> Self {
        move |errno| Self::path(action, path)(errno.into())
    }

    /// Turns the error of a call without a path into a sentence.
    pub(crate) fn system<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System { action, source: source.into() }
    }
}
