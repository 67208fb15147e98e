//! From spool records to the columns of the tables.
//!
//! Rows stand in the order in which they are appended, which is that of `seq`. Strings become dictionaries as they
//! come, so a batch in memory is about as small as its columns.

mod addresses;
mod columns;
mod common;
mod coverage;
mod policies;
mod policy_list;
mod side;
mod verdicts;

pub(crate) use common::Common;
pub use common::Span;
pub(crate) use coverage::CoverageRows;
pub(crate) use policies::PolicyRows;
pub(crate) use verdicts::VerdictRows;
