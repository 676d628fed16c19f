//! The program and its tests, built for guests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::apt::Apt;
use super::architecture::Architecture;
use super::cross::CrossTools;

/// What was built for the guest.
pub(super) struct Programs {
    pub(super) tcpstate: PathBuf,
    /// Where the tests look for the recordings that they read.
    pub(super) sources: PathBuf,
    /// The tests.
    pub(super) tests: PathBuf,
    /// What they were built with, where the guest is not of the host's kind.
    cross: Option<CrossTools>,
}

impl Programs {
    /// Builds the program and a program of tests, and puts them into `folder`
    /// without what only a debugger reads.
    pub(super) fn build(
        root: &Path,
        folder: &Path,
        tests: &str,
        architecture: Architecture,
        apt: &Apt,
    ) -> Result<Self> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(root)
            .args(["test", "--test", tests, "--no-run"])
            .arg("--message-format=json-render-diagnostics");
        let (cross, ending) = match architecture {
            Architecture::X86_64 => {
                // Of the whole workspace, as `cargo xtask test` builds them.
                cargo.arg("--workspace");
                (None, "")
            }
            Architecture::Arm64 => {
                let cross = CrossTools::find(apt)?;
                cargo.args(["--package", "tcpstate"]);
                cross.build_with(&mut cargo);
                (Some(cross), "-arm64")
            }
        };
        let output = cargo
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        ensure!(
            output.status.success(),
            "cargo ended with {}",
            output.status
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let executable = |name: &str| {
            text.lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter(|message| message["target"]["name"] == name)
                .find_map(|message| message["executable"].as_str().map(PathBuf::from))
                .with_context(|| format!("cargo did not say where {name} is"))
        };
        Ok(Self {
            sources: root.join("tcpstate"),
            tcpstate: stripped(
                cross.as_ref(),
                &executable("tcpstate")?,
                &folder.join(format!("tcpstate{ending}")),
            )?,
            tests: stripped(
                cross.as_ref(),
                &executable(tests)?,
                &folder.join(format!("{tests}{ending}")),
            )?,
            cross,
        })
    }

    /// The names of the tests that the guest is to run. `tools`: the tree of
    /// what else runs there.
    pub(super) fn list(&self, arguments: &[String], tools: &Path) -> Result<BTreeSet<String>> {
        let mut tests = match &self.cross {
            Some(cross) => cross.run(&self.tests, tools),
            None => Command::new(&self.tests),
        };
        let output = tests
            .args(["--list", "--format", "terse"])
            .args(arguments)
            .output()
            .context("cannot start the test program")?;
        ensure!(output.status.success(), "the tests cannot be listed");
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect())
    }
}

fn stripped(cross: Option<&CrossTools>, program: &Path, to: &Path) -> Result<PathBuf> {
    let mut strip = match cross {
        Some(cross) => cross.command("strip"),
        None => Command::new("strip"),
    };
    let status = strip
        .arg("-o")
        .args([to, program])
        .status()
        .context("cannot start strip; install it with: apt-get install binutils")?;
    ensure!(status.success(), "strip ended with {status}");
    Ok(to.to_owned())
}
