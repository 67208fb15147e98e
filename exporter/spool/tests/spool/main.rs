//! What the spool promises, through its public interface.

mod golden;
mod known_errors;
mod look;
mod model;
mod ordinary;
mod removed;
mod samples;
mod trails;
