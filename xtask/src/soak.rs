//! `cargo xtask soak`: minutes of random churn in a private namespace, while the
//! program's table is held against what the kernel lists.
//!
//! The same test as in CI, only longer. It fails at the first difference that
//! the program has not announced, and if its memory grows.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const TEST: &str = "mirror::churning::the_table_is_what_the_kernel_lists_after_any_churn";

/// How long, and which churn.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Length of the run.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Repeats the churn of an earlier run; it is printed at the start.
    #[arg(long)]
    seed: Option<u64>,
    /// A user without privileges fails calls beside it as fast as he can.
    #[arg(long)]
    attacker: bool,
}

/// Runs it as root; prints a line per minute.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(["test", "-p", "tcpstate", "--test", "live"])
        .args(["--", "--exact", "--nocapture", TEST])
        .env("TCPSTATE_REQUIRE_LIVE", "1")
        .env("TCPSTATE_CHURN_SECONDS", (args.minutes * 60).to_string());
    if let Some(seed) = args.seed {
        command.env("TCPSTATE_CHURN_SEED", seed.to_string());
    }
    if args.attacker {
        command.env("TCPSTATE_CHURN_ATTACKER", "1");
    }
    let status = command.status().context("cannot start cargo test")?;
    if !status.success() {
        bail!("the soak failed; the seed above repeats it: cargo xtask soak --seed SEED");
    }
    Ok(())
}
