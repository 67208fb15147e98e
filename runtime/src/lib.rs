//! What both node programs need from their process: logging, metrics and health over HTTP, an orderly stop, and the
//! contract of exit codes, what the kernel says of the clock, memory that is not kept for nothing, files that are there
//! whole or not at all. Nothing here knows the configuration file, Kubernetes or the kernel.

pub mod clock;
pub mod durable;
pub mod exit;
pub mod http;
pub mod logging;
pub mod memory;
pub mod readiness;
pub mod shutdown;
pub mod step;
