//! The program and its tests, built for guests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What was built for the guest.
pub(super) struct Programs {
    /// Where the tests look for the program.
    pub(super) built_at: PathBuf,
    pub(super) tcpstate: PathBuf,
    /// Where the tests look for the recordings that they read.
    pub(super) sources: PathBuf,
    /// The tests.
    pub(super) tests: PathBuf,
}

impl Programs {
    /// Builds the program and a program of tests, and puts them into `folder`
    /// without what only a debugger reads.
    pub(super) fn build(root: &Path, folder: &Path, tests: &str) -> Result<Self> {
        // Of the whole workspace, as `cargo xtask test` builds them.
        let output = Command::new(env!("CARGO"))
            .current_dir(root)
            .args(["test", "--workspace", "--test", tests, "--no-run"])
            .arg("--message-format=json-render-diagnostics")
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
            built_at: executable("tcpstate")?,
            tcpstate: stripped(&executable("tcpstate")?, &folder.join("tcpstate"))?,
            tests: stripped(&executable(tests)?, &folder.join("tests"))?,
        })
    }

    /// The names of the tests that the guest is to run.
    pub(super) fn list(&self, arguments: &[String]) -> Result<BTreeSet<String>> {
        let output = Command::new(&self.tests)
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

fn stripped(program: &Path, to: &Path) -> Result<PathBuf> {
    let status = Command::new("strip")
        .arg("-o")
        .args([to, program])
        .status()
        .context("cannot start strip; install it with: apt-get install binutils")?;
    ensure!(status.success(), "strip ended with {status}");
    Ok(to.to_owned())
}
