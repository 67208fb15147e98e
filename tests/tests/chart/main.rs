//! The Helm chart: what it renders, what it refuses, and whether the programs are as it says: the capabilities that it gives,
//! and the metrics that its alerts and its dashboard ask for.
//!
//! Needs `helm` and `promtool`, which `deploy/dev/setup --cluster` gets; the rest as `tests/chain`.

mod expressions;
mod helm;
mod monitoring;
mod privileges;
mod refusals;
mod rendering;
