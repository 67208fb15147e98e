//! The whole chain on the real kernel: packets between network namespaces, the agent and the exporter as they run on a
//! node, and the Parquet that they leave.
//!
//! Run as root under `unshare --net --mount --propagation private`, as `make test` does; the programs must be built.

mod agent_steps;
mod balance;
mod cases;
mod churn;
mod coverage;
mod demo;
mod duckdb;
mod full_disk;
mod kept;
mod killed;
mod lost_spool;
mod matrix;
mod modes;
mod moves;
mod overload;
mod pairs;
mod random;
mod restart;
mod services;
mod services_asked;
mod services_exact;
mod small_disk;
mod stage;
mod told;
mod walk;

use podwitness_tests::field;
