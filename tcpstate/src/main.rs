//! `tcpstate`: arguments, one call, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use tcpstate::cli::Cli;
use tcpstate::commands;
use tcpstate::memory::{self, OrEnd};

#[global_allocator]
static ALLOCATOR: OrEnd = OrEnd;

fn main() -> ExitCode {
    memory::raise_descriptor_limit();
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
    // Whatever was being done then, one thing helps.
    let too_many = std::io::Error::from_raw_os_error(EMFILE).to_string();
    if sentence.contains(&too_many) {
        return format!(
            "this process may not have enough files open at one time; raise the limit \
             (ulimit -n 1024) and try again: {sentence}"
        );
    }
    sentence
}

/// Too many open files: of `errno.h`, the same on every Linux that we run on.
const EMFILE: i32 = 24;
