//! `tcpstate`: arguments, one call, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use tcpstate::cli::Cli;
use tcpstate::commands;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "tcpstate: {}",
                tcpstate::printable::printable(&format!("{error:#}"))
            );
            ExitCode::from(2)
        }
    }
}
