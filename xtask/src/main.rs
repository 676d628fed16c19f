//! Tasks around the repository. `cargo xtask` alone lists them.

mod ebpf;

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
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Ebpf(args) => ebpf::run(&args),
    }
}
