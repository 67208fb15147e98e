//! How far the work is, for a person at a terminal.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// A bar of bytes; nothing where nobody looks.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A bar of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let bar = if stderr().is_terminal() { ProgressBar::new(bytes) } else { ProgressBar::hidden() };
        Self(bar.with_style(ProgressStyle::with_template(TEMPLATE).expect("the template is valid")))
    }

    /// So many bytes more are done.
    pub(super) fn done(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// The bar goes away.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
