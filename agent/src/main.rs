//! `podwitness-agent`: see `--help`, and ARCHITECTURE.md for what happens inside.

use clap::Parser as _;
use podwitness_agent::cli::Cli;
use podwitness_runtime::exit::Exit;

fn main() -> Exit {
    Exit::of(podwitness_agent::run(&Cli::parse()))
}
