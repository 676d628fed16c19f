//! `cargo xtask test`: every test there is, with one line at the end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::installed;

/// Programs that live tests run, with the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("ss", "iproute2"),
    ("python3", "python3"),
    ("socat", "socat"),
    ("nginx", "nginx-light"),
    ("tmux", "tmux"),
    ("jq", "jq"),
    ("sysctl", "procps"),
    ("setcap", "libcap2-bin"),
    ("setpriv", "util-linux"),
];

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs all tests. Those that cannot run here say why; with
/// `TCPSTATE_REQUIRE_LIVE=1`, as in CI, they fail instead.
pub(crate) fn run(root: &Path, filter: &[String]) -> Result<()> {
    name_missing_programs();
    let skipped_list = root.join("target").join("skipped-tests.txt");
    fs::create_dir_all(root.join("target")).context("cannot make the folder target")?;
    if skipped_list.exists() {
        fs::remove_file(&skipped_list)
            .with_context(|| format!("cannot remove {}", skipped_list.display()))?;
    }

    let told_list = root.join("target").join("told-by-tests.txt");
    if told_list.exists() {
        fs::remove_file(&told_list)
            .with_context(|| format!("cannot remove {}", told_list.display()))?;
    }

    let mut child = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(filter)
        .env("TCPSTATE_SKIPPED", &skipped_list)
        .env("TCPSTATE_TOLD", &told_list)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let mut counts = Counts::default();
    let stdout = child.stdout.take().context("cargo test has no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo test prints")?;
        println!("{line}");
        counts.add(&line);
    }
    let status = child.wait().context("cargo test went away")?;

    print!("{}", fs::read_to_string(&told_list).unwrap_or_default());
    let skipped: Vec<String> = fs::read_to_string(&skipped_list)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    for test in &skipped {
        println!("skipped: {test}");
    }
    let skipped = skipped.len() as u64 + counts.ignored;
    let passed = counts.passed.saturating_sub(skipped - counts.ignored);
    println!(
        "{passed} passed, {} failed, {skipped} skipped",
        counts.failed
    );
    if !status.success() {
        bail!("cargo test ended with {status}");
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

impl Counts {
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
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        }
    }
}

fn name_missing_programs() {
    let packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| installed::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !packages.is_empty() {
        println!(
            "Some tests need programs that are not installed and will be skipped; to run them too:"
        );
        println!("    sudo apt-get install -y {}", packages.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let mut counts = Counts::default();

        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        counts.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        counts.add("running 5 tests");

        assert_eq!((counts.passed, counts.failed, counts.ignored), (15, 2, 1));
    }
}
