//! `cargo xtask bench`: what watching costs, measured side by side with the peers
//! that are installed, on the same load, in turn. Writes the tables of
//! `docs/performance.md` and machine-readable results.
//!
//! No test depends on a time. The short form is there for its
//! counts: each event is seen or counted as lost, and the books of the ring buffer
//! balance.

mod load;
mod machine;
mod measure;
mod observer;
mod process;
mod results;
mod stage;
mod stopwatch;
mod table;
mod terminal;
mod written;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use machine::Machine;
use measure::Bench;
use results::Results;
pub(crate) use stage::on_stage;

const PAGE: &str = "docs/performance.md";
const RESULTS: &str = "docs/performance.json";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Half a minute instead of a quarter of an hour: only the parts that count, for the
    /// counts and not for the times. Writes nothing into the docs.
    #[arg(long)]
    short: bool,
    /// Only this; may be repeated. Writes nothing into the docs.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Measures the programs in this folder instead of building them: two builds can be
    /// measured in turn. Writes nothing into the docs.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Where the machine-readable results go.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    load: Option<LoadCommand>,
}

#[derive(clap::Subcommand)]
enum LoadCommand {
    /// The load by itself, in this network namespace.
    #[command(subcommand, hide = true)]
    Load(load::Load),
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Connections a second with and without an observer.
    FullSpeed,
    /// Nanoseconds per event in the kernel.
    Kernel,
    /// Cost by events a second.
    Rates,
    /// From the start to the first event.
    Start,
    /// The first table, by sockets.
    Populations,
    /// A process that never touches a socket.
    Syscalls,
    /// A process that binds sockets.
    Binds,
    /// From a failed bind to its diagnosis.
    Diagnoses,
    /// A server beside whoever fails calls as fast as he can.
    FailedCalls,
    /// Drawing a frame, by sockets.
    Frames,
    /// From a key to the screen that it asks for.
    Keys,
}

impl Part {
    const ALL: [Self; 11] = [
        Self::FullSpeed,
        Self::Kernel,
        Self::Rates,
        Self::Start,
        Self::Populations,
        Self::Syscalls,
        Self::Binds,
        Self::Diagnoses,
        Self::FailedCalls,
        Self::Frames,
        Self::Keys,
    ];

    /// Those in which something is counted.
    const THAT_COUNT: [Self; 4] = [
        Self::FullSpeed,
        Self::Rates,
        Self::Diagnoses,
        Self::FailedCalls,
    ];
}

/// Measures.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    if let Some(LoadCommand::Load(load)) = &args.load {
        return load::run(load);
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "loading BPF programs needs root: sudo cargo xtask bench"
    );
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => build(root, args.short)?,
    };
    let tcpstate = programs.join("tcpstate");
    let files = observer::Files::new()?;
    let bench = Bench {
        programs: &programs,
        tcpstate: &tcpstate,
        files: &files,
        short: args.short,
    };
    let mut results = Results {
        machine: Machine::here(args.short),
        ..Results::default()
    };
    eprintln!("{}", results.machine.line());
    let mut failed = Vec::new();
    for part in Part::ALL {
        let is_asked_for = match args.only.as_slice() {
            [] => !args.short || Part::THAT_COUNT.contains(&part),
            only => only.contains(&part),
        };
        if !is_asked_for {
            continue;
        }
        if let Err(error) = measure(part, &bench, &mut results) {
            eprintln!("{part:?}: {error:#}");
            failed.push(part);
        }
        // What is measured is kept, whatever comes after it.
        let json = serde_json::to_string_pretty(&results).context("results are plain data")? + "\n";
        if let Some(path) = &args.json {
            write(path, &json)?;
        }
        if !args.short && args.only.is_empty() && args.programs.is_none() {
            write(&root.join(RESULTS), &json)?;
            let page = root.join(PAGE);
            let text = fs::read_to_string(&page).with_context(|| format!("cannot read {PAGE}"))?;
            write(&page, &table::put_into(&text, &table::tables(&results))?)?;
        }
    }
    println!("{}", table::tables(&results));
    ensure!(failed.is_empty(), "could not be measured: {failed:?}");
    Ok(())
}

fn measure(part: Part, bench: &Bench<'_>, results: &mut Results) -> Result<()> {
    match part {
        Part::FullSpeed => results.full_speed = bench.full_speed(&mut results.absent)?,
        Part::Kernel => results.kernel = bench.kernel()?,
        Part::Rates => results.rates = bench.rates()?,
        Part::Start => results.start = Some(bench.start()?),
        Part::Populations => results.populations = bench.populations()?,
        Part::Syscalls => results.syscalls = bench.syscalls()?,
        Part::Binds => results.binds = bench.binds(&mut results.absent)?,
        Part::Diagnoses => results.diagnoses = bench.diagnoses()?,
        Part::FailedCalls => results.failed_calls = bench.failed_calls()?,
        Part::Frames if bench.short => {}
        Part::Keys => results.keys = Some(bench.keys()?),
        Part::Frames => results.frames = bench.frames()?,
    }
    Ok(())
}

/// Builds the product as it is shipped and the example that draws frames; for the
/// short form, whose times mean nothing, the product as the tests have it. Gives
/// the folder.
fn build(root: &Path, short: bool) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root)
        .args(["build", "-p", "tcpstate", "--bin", "tcpstate"]);
    if !short {
        cargo.args(["--release", "--example", "frame_cost"]);
    }
    let status = cargo.status().context("cannot start cargo build")?;
    ensure!(status.success(), "cargo build: {status}");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(if short { "debug" } else { "release" }))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
