//! `cargo xtask lint`: formatting, clippy with warnings denied, licences and
//! advisories.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Runs all checks that need no kernel.
pub(crate) fn run(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"])?;
    cargo(
        root,
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    deny(root)
}

/// `cargo deny`. Its advisories come from a database on the network; where
/// that cannot be had, the other checks still hold, and this says so.
fn deny(root: &Path) -> Result<()> {
    let is_installed = Command::new(env!("CARGO"))
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_installed {
        bail!(
            "cargo-deny is not installed; install it with: cargo install cargo-deny --locked --version 0.19.0"
        );
    }
    cargo(
        root,
        &[
            "deny",
            "--all-features",
            "check",
            "licenses",
            "bans",
            "sources",
        ],
    )?;
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["deny", "--all-features", "check", "advisories"])
        .output()
        .context("cannot start cargo deny")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        println!("advisories ok");
    } else if said.contains("failed to fetch advisory database")
        || said.contains("failed to load advisory database")
    {
        println!("advisories not checked: the advisory database cannot be fetched from here");
    } else {
        eprint!("{said}");
        bail!("cargo deny check advisories found problems");
    }
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    println!("cargo {}", arguments.join(" "));
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start cargo {}", arguments[0]))?;
    if !status.success() {
        bail!("cargo {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}
