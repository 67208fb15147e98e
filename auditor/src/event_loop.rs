//! The event loop of the commands that use a network.

use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;

/// Starts one, on the thread that calls it.
pub(crate) fn start() -> Result<Runtime, Failure> {
    let loop_of_this_thread = Builder::new_current_thread().enable_all().build();
    loop_of_this_thread.map_err(|error| Failure::answer(format_args!("cannot start the event loop: {error}")))
}
