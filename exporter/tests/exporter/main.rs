//! The exporter over a spool that is written as the agent writes it.

mod file;
mod kill;
mod matrix;
mod program;
mod seals;
mod support;
