//! Cargo and its subcommands.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Runs cargo at the top of the checkout; fails if it does.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    println!("cargo {}", arguments.join(" "));
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start cargo {}", arguments[0]))?;
    ensure!(
        status.success(),
        "cargo {} ended with {status}",
        arguments.join(" ")
    );
    Ok(())
}

/// Fails where there is no such subcommand, and says how to install the version that was
/// tried.
pub(crate) fn require(name: &str, version: &str) -> Result<()> {
    let is_there = Command::new(env!("CARGO"))
        .args([name, "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    ensure!(
        is_there,
        "cargo-{name} is not installed; install it with: \
         cargo install cargo-{name} --locked --version {version}"
    );
    Ok(())
}
