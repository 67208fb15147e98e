//! The exporter: from the spool to Parquet files in an object store, each record exactly once.
//!
//! # Invariants
//!
//! 1. A record leaves the spool (the cursor passes it) only after the file that holds it is durable in the store.
//! 2. Objects are created, never replaced. An object that is there already with the same bytes counts as put.
//! 3. What is put are bytes that were staged durably before the first of them was put: a repeat puts the same bytes at
//!    the same paths.
//! 4. One exporter at a time has a spool (the spool's lock), and so its staging folder.
//!
//! # The life of a batch
//!
//! 1. *Gather*: committed spool batches after the cursor become rows, by table, until the oldest record is older
//!    than `batch.maxAge`, the records have `batch.maxBytes`, the origin changes, or the exporter is to stop.
//! 2. *Stage*: each namespace's verdicts, and each day's coverage and policies, are written and synced as a Parquet file in `<spool>/exporter/staging/`; then
//!    `plan.json` appears by a rename. It says what goes where, and at which position of the spool the batch ends.
//! 3. *Put*: each file goes into the store, create-only, repeated for ever while the store refuses.
//! 4. *Note*: what the next seal will say of it is on the disk ([`sealing`]).
//! 5. *Done*: the spool's cursor moves to the batch's end, and the spool reclaims what lies before it.
//! 6. *Clear*: the plan is removed, then its files.
//!
//! # A kill at any point
//!
//! | killed | found at the next start | what happens |
//! | --- | --- | --- |
//! | before the plan appears | files without a plan | they are removed; the batch is gathered again from the cursor |
//! | before everything is put | a plan | it is put again: what is there already is compared and counts as put |
//! | before it is noted | a plan, all of it in the store | the same, then it is noted |
//! | before the cursor moves | a plan that is noted | the same, not noted twice, then the cursor moves |
//! | before the plan is removed | a plan, the cursor at its end | the same, and the cursor is where it should be |
//! | before the files are removed | files without a plan | they are removed |
//!
//! The batch that is gathered again may be cut elsewhere. That doubles nothing, because nothing of the first cut was
//! put.
//!
//! # Modules
//!
//! `source` (the spool, read) -> `batch` and `rows` (records to columns, for each `table`) -> `file` (columns to Parquet) ->
//! `staging` (the plan) -> `delivery` (the plan to the store, which `podwitness-store` opens) -> `sealing` (what was put, signed);
//! `run` wires them, and `step` lists the places at which a fault is tried.
#![forbid(unsafe_code)]

pub mod batch;
pub mod cli;
mod delivery;
pub mod file;
pub mod metrics;
mod retention;
pub mod rows;
pub mod run;
pub mod sealing;
mod source;
pub mod staging;
pub mod step;
pub mod table;
mod words;
