//! `tcpstate`: arguments, one call, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use tcpstate::cli::Cli;
use tcpstate::commands;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&sentence(&error));
            ExitCode::from(2)
        }
    }
}

/// The error and its causes as one sentence; a cause that the sentence names
/// already is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence.push_str(": ");
            sentence.push_str(&cause);
        }
    }
    sentence
}
