//! `cargo xtask test`: every test there is, each in a process of its own, with one line
//! at the end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo;
use crate::requirement::{Machine, Skip};

/// The version that was tried.
const NEXTEST: &str = "0.9.143";
/// Of how many cases of the matrix one is run. Each flag, state and address is in every
/// half of them; `cargo xtask nightly` runs all.
const EVERY: &str = "TCPSTATE_EVERY";
const EVERY_SECOND: &str = "2";
/// Where nextest writes how each test came out (`.config/nextest.toml`).
const RESULTS: &str = "target/nextest/default/junit.xml";

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs all tests. Those that cannot run here say why; with
/// `TCPSTATE_REQUIRE_LIVE=1`, as in CI, they fail instead.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<Counts> {
    run_with(root, arguments, &[])
}

/// The same with every case of the matrix, and with the tests that wait for minutes.
pub(crate) fn run_all(root: &Path) -> Result<Counts> {
    run_with(root, &["--run-ignored=all".to_owned()], &[(EVERY, "1")])
}

/// The tests of the pure part, which take seconds.
pub(crate) fn run_core(root: &Path) -> Result<Counts> {
    let core = ["-E", "package(tcpstate-core)"].map(str::to_owned);
    run_with(root, &core, &[])
}

/// Builds all test programs.
pub(crate) fn build(root: &Path) -> Result<()> {
    cargo::require("nextest", NEXTEST)?;
    cargo::run(root, &["nextest", "run", "--workspace", "--no-run"])
}

fn run_with(root: &Path, arguments: &[String], environment: &[(&str, &str)]) -> Result<Counts> {
    cargo::require("nextest", NEXTEST)?;
    let target = root.join("target");
    fs::create_dir_all(&target).context("cannot make the folder target")?;
    let skips = target.join("skipped-tests.txt");
    let figures = target.join("figures-of-tests.txt");
    let results = root.join(RESULTS);
    for old in [&skips, &figures, &results] {
        if old.exists() {
            fs::remove_file(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }

    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["nextest", "run", "--workspace"])
        .args(arguments)
        .env("TCPSTATE_SKIPPED", &skips)
        .env("TCPSTATE_FIGURES", &figures)
        .env(
            EVERY,
            std::env::var_os(EVERY).unwrap_or(EVERY_SECOND.into()),
        )
        .envs(environment.iter().copied())
        .status()
        .context("cannot start cargo nextest")?;
    let results =
        fs::read_to_string(&results).context("nextest ran no test: it has left no results")?;
    let mut counts = Counts::read_junit(&results)?;
    let mut is_right = status.success();
    if arguments.is_empty() {
        // nextest runs no examples of documentation.
        is_right &= run_examples(root, &mut counts)?;
    }

    print!("{}", fs::read_to_string(&figures).unwrap_or_default());
    let skips: Vec<Skip> = fs::read_to_string(&skips)
        .unwrap_or_default()
        .lines()
        .filter_map(Skip::parse)
        .collect();
    // What runs a test takes one that skipped itself for one that passed.
    counts.skip(skips.len() as u64);
    let machine = Machine::this();
    for skip in &skips {
        println!("skipped: {}: {}", skip.test, skip.why);
    }
    let complaints: Vec<String> = skips
        .iter()
        .filter_map(|skip| skip.complaint(&machine))
        .collect();
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("{counts}");
    ensure!(is_right, "some tests failed");
    ensure!(complaints.is_empty(), "tests that can run here did not");
    ensure!(counts.passed > 0, "no test ran");
    Ok(counts)
}

/// The examples in the documentation. Whether all of them passed.
fn run_examples(root: &Path, counts: &mut Counts) -> Result<bool> {
    let mut child = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["test", "--workspace", "--doc", "--no-fail-fast"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo test prints")?;
        println!("{line}");
        counts.add(&line);
    }
    Ok(child.wait().context("cargo test went away")?.success())
}

impl Counts {
    /// Reads `<testsuites name="…" tests="…" failures="…" errors="…" …>`.
    fn read_junit(text: &str) -> Result<Self> {
        let Some((_, head)) = text.split_once("<testsuites ") else {
            bail!("nextest's results are not in the JUnit format");
        };
        let head = head.split('>').next().unwrap_or_default();
        let number = |name: &str| -> Result<u64> {
            head.split_once(&format!("{name}=\""))
                .and_then(|(_, rest)| rest.split('"').next())
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("nextest's results do not say how many {name}"))
        };
        let failed = number("failures")? + number("errors")?;
        Ok(Self {
            passed: number("tests")?.saturating_sub(failed),
            failed,
            skipped: 0,
        })
    }

    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in rest.split(['.', ';']) {
            let mut words = part.split_whitespace();
            if let (Some(Ok(count)), Some(what)) =
                (words.next().map(str::parse::<u64>), words.next())
            {
                match what {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.skipped += count,
                    _ => {}
                }
            }
        }
    }

    fn skip(&mut self, count: u64) {
        self.passed = self.passed.saturating_sub(count);
        self.skipped += count;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut counts = Counts::read_junit(
            r#"<?xml version="1.0"?><testsuites name="nextest-run" tests="20" failures="2" errors="1" uuid="1"><testsuite tests="3">"#,
        )
        .unwrap();
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        counts.add("running 5 tests");
        counts.skip(2);

        assert_eq!(counts.to_string(), "27 passed, 3 failed, 3 skipped");
    }
}
