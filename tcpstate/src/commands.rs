//! One file per command: the only place that wires parts together.

mod config;
mod demo;
mod doctor;
mod explain;
mod header;
mod live;
mod release;
mod replay;
mod report;
mod restart_test;
mod run;
mod serve;
mod wait;
mod watch;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::cli::{Cli, Command};
use crate::confine;
use crate::export::schema;
use crate::printable::printable;
use crate::stdio::Stream;

/// Runs the command and gives its exit code. An error is one sentence that says
/// what to do.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let capture = cli.capture.asked();
    match cli.command {
        Command::Explain(args) => return explain::run(&args),
        Command::Wait(args) => return wait::run(&args),
        Command::Release(args) => return release::run(&args),
        Command::ReleaseHelper => return release::serve(),
        Command::Run(args) => return run::run(&args, cli.verbose),
        Command::RestartTest(args) => return restart_test::run(&args, cli.verbose, capture),
        Command::Watch(args) => watch::run(&args, cli.verbose, capture),
        Command::Demo(args) => demo::run(&args, cli.verbose, capture),
        Command::Replay(args) => replay::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Serve(args) => serve::run(&args, cli.verbose, capture),
        Command::Doctor(args) => doctor::run(args, capture),
        Command::Config(args) => config::run(&args),
        Command::Schema => {
            let text = serde_json::to_string_pretty(&schema::schema())
                .context("cannot print the schema")?;
            print(text.as_bytes(), b"\n")
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tcpstate", &mut script);
            print(&script, b"")
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .context("cannot make the manual page")?;
            print(&page, b"")
        }
        Command::Pass => run::pass(),
        Command::BindOnce => run::bind_once(),
        Command::Actor { child } => {
            crate::demo::actor::play(child).context("the demo's actor lost its stage")
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Says something on stderr; nobody can be told that nobody listens there.
pub fn complain(text: &str) {
    let line = format!("tcpstate: {}\n", printable(text));
    let _ = Stream::stderr().write_all(line.as_bytes());
}

/// Before the first byte of what a stranger may have recorded.
fn confine_reader(writable: &[PathBuf]) -> Result<()> {
    confine::read_only(writable)
        .map(drop)
        .context("cannot give up the privileges that reading a recording does not need")
}

/// Prints to stdout; a reader that has gone is a clean end.
fn print(text: &[u8], end: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let result = stdout
        .write_all(text)
        .and_then(|()| stdout.write_all(end))
        .and_then(|()| stdout.flush());
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to the standard output"),
    }
}
