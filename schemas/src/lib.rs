//! The evidence contract: what a file, its columns, its metadata and its place in the store are called, in one place.
//!
//! Everything here is a promise to people who read the evidence without our programs. Two rules keep it:
//!
//! - A published shape is never changed, only added to; `golden/` holds every published version as text, and a test
//!   fails when the code says something else.
//! - Readers are told to join files by column name, so a later version may add columns anywhere.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`verdicts`] | the columns of the `verdicts` table, each with a description |
//! | [`coverage`] | the columns of the `coverage` table, and which rows follow each other |
//! | [`policies`] | the columns of the `policies` table, and how a verdict joins to the text that was in force |
//! | [`column`] | what columns are made of |
//! | [`metadata`] | the key-value metadata of each file |
//! | [`layout`] | where objects stand below the evidence root |
//! | [`views`] | the `DuckDB` statements that open a root |
//!
//! `REASONS.md` beside this crate lists the closed vocabularies; a test keeps it equal to the code.
#![forbid(unsafe_code)]

pub mod column;
pub mod coverage;
pub mod layout;
pub mod metadata;
pub mod policies;
pub mod verdicts;
pub mod views;
