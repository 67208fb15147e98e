//! `podwitness-exporter`.

use clap::Parser as _;
use podwitness_exporter::cli::Arguments;
use podwitness_runtime::exit::Exit;

fn main() -> Exit {
    Exit::of(Arguments::parse().run().map(|()| Exit::Success))
}
