//! Tasks around the repository. `cargo xtask` alone lists them.

mod bench;
mod cargo;
mod clock;
mod dist;
mod ebpf;
mod fuzz;
mod installed;
mod lint;
mod requirement;
mod soak;
mod stages;
mod suite;
mod try_dist;
mod vm;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Tasks around the tcpstate repository",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the kernel program, or prove that the committed one is up to date.
    Ebpf(ebpf::Args),
    /// Check formatting, clippy with warnings denied, licences and advisories.
    Lint,
    /// Run all tests; as root also those on the live kernel.
    Test {
        /// Further arguments of `cargo nextest run`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Let fuzzers look for bytes that break what reads recordings and records.
    Fuzz(fuzz::Args),
    /// Measure what watching costs, beside the peers that are installed; as root.
    Bench(bench::Args),
    /// Hold the table against the kernel for minutes of random churn; as root.
    Soak(soak::Args),
    /// Run the live tests on other kernels, each in a virtual machine.
    Vm(vm::Args),
    /// Make what is handed out: static programs, archives, packages, sums.
    Dist(dist::Args),
    /// Install what `dist` has made in roots of several distributions, ask it, remove it; as root.
    TryDist(try_dist::Args),
    /// Run what CI runs: lint, `ebpf verify`, test, other kernels, the benchmark's counts.
    Ci,
    /// Run what takes hours: every case, all kernels, random churn, fuzzers.
    Nightly,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Ebpf(args) => ebpf::run(&args),
        Task::Lint => lint::run(&root()?),
        Task::Test { arguments } => suite::run(&root()?, &arguments).map(drop),
        Task::Fuzz(args) => fuzz::run(&root()?, &args),
        Task::Bench(args) => bench::run(&root()?, &args),
        Task::Soak(args) => soak::run(&root()?, &args),
        Task::Vm(args) => vm::run(&root()?, &args),
        Task::Dist(args) => dist::run(&root()?, &args),
        Task::TryDist(args) => try_dist::run(&root()?, &args),
        Task::Ci => stages::ci(&root()?),
        Task::Nightly => stages::nightly(&root()?),
    }
}

/// The top of the checkout.
fn root() -> anyhow::Result<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(top
        .context("xtask lies below the top of the checkout")?
        .to_owned())
}
