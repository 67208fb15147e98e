//! `podwitness`: the command for people.

// The clock of `doctor` alone asks the kernel directly.
#![deny(unsafe_code)]

mod await_daemonset;
mod chain;
mod chained;
#[cfg(test)]
mod days;
mod demo;
mod doctor;
mod event_loop;
mod evidence;
mod failure;
mod interrupt;
mod output;
mod retain;
mod running;
mod sql;
mod status;
mod table;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Evidence of every NetworkPolicy verdict: who could talk to whom, who tried, and what the policy said at the time.
///
/// Exit codes: 0 for success, 1 when the answer is bad, 2 when the question was.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    AwaitDaemonset(await_daemonset::Arguments),
    Demo(demo::Arguments),
    Doctor(doctor::Arguments),
    Retain(retain::Arguments),
    Sql(sql::Arguments),
    Status(status::Arguments),
    Verify(verify::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::AwaitDaemonset(arguments) => await_daemonset::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Retain(arguments) => retain::run(&arguments),
        Command::Sql(arguments) => sql::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("podwitness: {failure}");
            failure.exit_code()
        }
    }
}
