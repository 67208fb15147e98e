//! Why a command did not succeed, which decides its exit code.

use std::fmt::Display;
use std::process::ExitCode;

/// A failure, with a sentence for the person who gave the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command worked, and what it found is bad; or it could not be completed.
    #[error("{0}")]
    Answer(String),
    /// The command cannot be carried out as it was given, or not here.
    #[error("{0}")]
    Question(String),
    /// The person has changed their mind.
    #[error("interrupted; everything is cleaned up")]
    Interrupted,
}

impl Failure {
    pub(crate) fn answer(why: impl Display) -> Self {
        Self::Answer(why.to_string())
    }

    pub(crate) fn question(why: impl Display) -> Self {
        Self::Question(why.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Answer(_) => 1,
            Self::Question(_) => 2,
            // As a shell reports a program that SIGINT (2) has ended.
            Self::Interrupted => 128 + 2,
        })
    }
}
