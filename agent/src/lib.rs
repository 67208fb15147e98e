//! The node agent: enforces NetworkPolicy in the kernel and witnesses every verdict.
//!
//! Two threads do the work, and share [`definitions`] and the journal of [`coverage`] alone: the [`controller`] turns the
//! cluster and the node's endpoints into kernel tables and says so in the journal, the [`witness`] brings what the kernel
//! saw, and the journal, into the spool. Neither waits for the other, nor the controller for the thread of the [`hooker`].
//! [`step`] lists the places at which a fault is tried.

mod balance;
#[cfg(feature = "bench")]
pub mod bench;
mod changes;
pub mod cli;
mod clock;
mod controller;
mod coverage;
mod definitions;
mod detach;
mod folders;
mod full_tables;
mod hooker;
mod life;
mod losses;
mod metrics;
mod numbering;
mod privacy;
mod run;
mod settings;
mod startup_taint;
pub mod step;
mod trails;
mod wall_clock;
mod witness;

pub use run::run;
