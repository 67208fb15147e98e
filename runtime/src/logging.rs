//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How and how much to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The form of a line.
    pub format: Format,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or any filter that `tracing-subscriber` knows, such as
    /// `info,podwitness_agent=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; times are UTC.
    Json,
    /// One line for a person, in colour on a terminal.
    Text,
}

/// Why logging did not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be understood.
    #[error("log filter `{filter}` is not a level or a list of target=level")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The process logs already.
    #[error("logging was begun twice")]
    Twice(#[source] TryInitError),
}

/// Begins logging for the whole process, once.
pub fn init(options: &LogOptions) -> Result<(), LogError> {
    let filter = EnvFilter::builder()
        .parse(&options.filter)
        .map_err(|source| LogError::Filter { filter: options.filter.clone(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match options.format {
        Format::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init(),
        Format::Text => lines.with_ansi(stderr().is_terminal()).finish().try_init(),
    }
    .map_err(LogError::Twice)
}
