//! `cargo xtask ci` and `cargo xtask nightly`: all checks, in stages whose times are
//! printed at the end.
//!
//! The cheapest come first, so that what is wrong is known early. CI proves each claim
//! once, within 45 minutes on two processors; the night repeats it at length.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{bench, clock, ebpf, fuzz, lint, soak, suite, vm};

/// On which kernels the tests run in CI: the oldest, one that many run, the newest; or the
/// next ones of the list where the archive has one of those no longer.
const OTHER_KERNELS: &[&str] = &[
    "--quick",
    "--machines=2",
    "--count=3",
    "--kernel=5.10,6.12,7.3,6.18,6.1",
];

/// The stages so far, with what each took.
#[derive(Default)]
struct Stages(Vec<(&'static str, Duration)>);

impl Stages {
    fn run<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n== {name}");
        let begin = clock::now();
        let done = stage().with_context(|| format!("the stage failed: {name}"));
        self.0.push((name, begin.elapsed()));
        if done.is_err() {
            self.print();
        }
        done
    }

    fn print(&self) {
        println!("\nstage                                  minutes");
        let mut total = Duration::ZERO;
        for (name, took) in &self.0 {
            println!("{name:38} {:>7}", minutes(*took));
            total += *took;
        }
        println!("{:38} {:>7}", "all", minutes(total));
    }
}

/// What CI runs.
pub(crate) fn ci(root: &Path) -> Result<()> {
    let mut stages = Stages::default();
    stages.run("format", || lint::format(root))?;
    stages.run("lint: clippy", || lint::clippy(root))?;
    stages.run("lint: licences and advisories", || lint::deny(root))?;
    // Before the tests are built: it may try another object, after which cargo builds anew.
    stages.run("kernel object", || ebpf::run(&ebpf::Args::verify()))?;
    stages.run("tests are built", || suite::build(root))?;
    stages.run("core's tests", || suite::run_core(root))?;
    let counts = stages.run("cargo xtask test", || suite::run(root, &[]))?;
    if is_live() {
        stages.run("other kernels", || vm::run(root, &parse(OTHER_KERNELS)?))?;
        stages.run("bench's counts", || {
            // The program that was tested, not one built with other features.
            let built = format!("--programs={}", root.join("target/debug").display());
            bench::run(root, &parse(&["--short", &built])?)
        })?;
    } else {
        println!("\nnot root: other kernels and the benchmark's counts are left out");
    }
    stages.print();
    println!("\n{counts}");
    Ok(())
}

/// What takes too long for CI: every case of the matrix and the tests that wait for
/// minutes, all tests and the matrix on all kernels, random churn and fuzzing.
pub(crate) fn nightly(root: &Path) -> Result<()> {
    let mut stages = Stages::default();
    let counts = stages.run("every test and case", || suite::run_all(root))?;
    stages.run("random churn", || {
        soak::run(root, &parse(&["--minutes=30"])?)
    })?;
    stages.run("fuzzers", || fuzz::run(root, &parse(&["--seconds=600"])?))?;
    stages.run("all kernels", || {
        vm::run(root, &parse(&["--machines=2", "--timeout=7200"])?)
    })?;
    stages.run("the matrix on all kernels", || {
        let matrix = ["--machines=2", "--timeout=14400", "--program=matrix"];
        vm::run(root, &parse(&matrix)?)
    })?;
    stages.print();
    println!("\n{counts}");
    Ok(())
}

/// Whether the tests of the live kernel must run.
fn is_live() -> bool {
    rustix::process::geteuid().is_root()
}

/// The arguments of another task.
fn parse<A: clap::Args + clap::FromArgMatches>(arguments: &[&str]) -> Result<A> {
    let command = A::augment_args(clap::Command::new("task").no_binary_name(true));
    let matches = command
        .try_get_matches_from(arguments)
        .context("a task has other arguments by now")?;
    Ok(A::from_arg_matches(&matches)?)
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_take_these_arguments() {
        parse::<vm::Args>(OTHER_KERNELS).unwrap();
        parse::<bench::Args>(&["--short"]).unwrap();
        parse::<soak::Args>(&["--minutes=30"]).unwrap();
        parse::<fuzz::Args>(&["--seconds=600"]).unwrap();
        parse::<vm::Args>(&["--machines=2", "--timeout=14400", "--program=matrix"]).unwrap();
    }

    #[test]
    fn a_time_is_minutes_and_seconds() {
        assert_eq!(minutes(Duration::from_secs(725)), "12:05");
    }
}
