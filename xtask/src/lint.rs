//! `cargo xtask lint`: formatting, clippy with warnings denied, licences and
//! advisories.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// Runs all checks that need no kernel.
pub(crate) fn run(root: &Path) -> Result<()> {
    format(root)?;
    clippy(root)?;
    deny(root)
}

pub(crate) fn format(root: &Path) -> Result<()> {
    cargo::run(root, &["fmt", "--all", "--check"])
}

pub(crate) fn clippy(root: &Path) -> Result<()> {
    let checks = ["clippy", "--workspace", "--all-targets"];
    cargo::run(root, &[&checks[..], &["--", "-D", "warnings"]].concat())
}

/// `cargo deny`. Its advisories come from a database on the network; where
/// that cannot be had, the other checks still hold, and this says so.
pub(crate) fn deny(root: &Path) -> Result<()> {
    cargo::require("deny", "0.19.0")?;
    cargo::run(
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
