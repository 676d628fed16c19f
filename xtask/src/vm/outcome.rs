//! What a guest said about its tests, and whether that is all that it should
//! have said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result, ensure};

use super::kernels::Kernel;
use crate::requirement::{Machine, Skip};

/// How the program observes the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Mode {
    Tracepoint,
    Function,
}

impl Mode {
    pub(super) const ALL: [Self; 2] = [Self::Tracepoint, Self::Function];

    /// What the program's `--capture` calls it.
    pub(super) fn capture(self) -> &'static str {
        match self {
            Self::Tracepoint => "tracepoints",
            Self::Function => "functions",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tracepoint => "tracepoint",
            Self::Function => "function",
        })
    }
}

/// How the tests of one guest came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// In which mode the program works there, by its own `doctor`.
    pub(super) mode: String,
    pub(super) passed: BTreeSet<String>,
    pub(super) failed: BTreeSet<String>,
    pub(super) skipped: BTreeMap<String, Skip>,
    /// What tests have counted and measured.
    pub(super) figures: Vec<String>,
    /// What those have printed that failed.
    pub(super) output: Vec<String>,
}

impl Outcome {
    /// Reads the guest's second serial port.
    pub(super) fn read(text: &str, nonce: &str, kernel: &Kernel) -> Result<Self> {
        let begin = format!("BEGIN {nonce} {}", kernel.release);
        let end = format!("END {nonce}");
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        ensure!(
            lines.first() == Some(&begin.as_str()),
            "the guest did not reach the tests"
        );
        ensure!(
            lines.last() == Some(&end.as_str()),
            "the guest stopped before the tests had ended"
        );
        let mut outcome = Self::default();
        for line in lines {
            if let Some(skip) = line.strip_prefix("SKIPPED ") {
                let skip = Skip::parse(skip)
                    .with_context(|| format!("a skipped test gives no reason: {skip}"))?;
                outcome.skipped.insert(skip.test.clone(), skip);
            } else if let Some(figures) = line.strip_prefix("FIGURES ") {
                outcome.figures.push(figures.to_owned());
            } else if let Some(output) = line.strip_prefix("OUTPUT ") {
                outcome.output.push(output.to_owned());
            } else if let Some(mode) = line
                .strip_suffix(" mode.")
                .and_then(|line| line.rsplit_once("works here, in "))
            {
                mode.1.clone_into(&mut outcome.mode);
            } else if let Some((test, result)) = line
                .strip_prefix("test ")
                .and_then(|line| line.split_once(" ... "))
            {
                let results = match result {
                    "ok" => &mut outcome.passed,
                    _ => &mut outcome.failed,
                };
                results.insert(test.to_owned());
            }
        }
        // libtest takes a test that skipped itself for one that passed.
        outcome
            .passed
            .retain(|test| !outcome.skipped.contains_key(test));
        Ok(outcome)
    }

    /// Whatever keeps this from being a success, a line each.
    pub(super) fn complaints(
        &self,
        wanted: &BTreeSet<String>,
        machine: &Machine,
        mode: Mode,
    ) -> Vec<String> {
        let mut complaints: Vec<String> = self
            .failed
            .iter()
            .map(|test| format!("{test} failed"))
            .collect();
        complaints.extend(
            self.skipped
                .values()
                .filter_map(|skip| skip.complaint(machine)),
        );
        for test in wanted {
            let has_run = self.passed.contains(test) || self.failed.contains(test);
            if !has_run && !self.skipped.contains_key(test) {
                complaints.push(format!("{test} did not run"));
            }
        }
        if self.mode.is_empty() {
            complaints.push("`tcpstate doctor` does not say that watch works here".to_owned());
        } else if self.mode != mode.to_string() {
            complaints.push(format!(
                "it works in {} mode, not in {mode} mode",
                self.mode
            ));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::Programs;
    use crate::vm::kernels::KERNELS;

    const NONCE: &str = "1f";

    fn kernel(series: &str) -> &'static Kernel {
        KERNELS
            .iter()
            .find(|kernel| kernel.series == series)
            .unwrap()
    }

    fn guest(lines: &str) -> String {
        format!(
            "BEGIN 1f 5.10.0-46-cloud-amd64\r\n\
             `tcpstate watch` works here, in tracepoint mode.\r\n\
             {lines}END 1f\r\n"
        )
    }

    fn machine(series: &str) -> Machine {
        Machine {
            linux: kernel(series).version(),
            is_distribution: true,
            processors: 1,
            is_root: true,
            is_emulated: true,
            programs: Programs::Listed(BTreeSet::new()),
        }
    }

    fn wanted(tests: &[&str]) -> BTreeSet<String> {
        tests.iter().map(|&test| test.to_owned()).collect()
    }

    #[test]
    fn all_that_should_run_and_passed_is_a_success() {
        let text = guest(
            "test a::b ... ok\ntest a::c ... ok\nSKIPPED a::c\tfeature 5.15\tthis kernel has no MPTCP\n",
        );

        let outcome = Outcome::read(&text, NONCE, kernel("5.10")).unwrap();

        assert_eq!(outcome.mode, "tracepoint");
        assert_eq!((outcome.passed.len(), outcome.skipped.len()), (1, 1));
        assert!(
            outcome
                .complaints(
                    &wanted(&["a::b", "a::c"]),
                    &machine("5.10"),
                    Mode::Tracepoint
                )
                .is_empty()
        );
        assert_eq!(
            outcome.complaints(&wanted(&["a::b", "a::c"]), &machine("5.10"), Mode::Function),
            ["it works in tracepoint mode, not in function mode"]
        );
    }

    #[test]
    fn what_a_failed_test_printed_is_kept() {
        let text = guest(
            "test a::b ... FAILED\ntest a::c ... ok\nOUTPUT /run/output/a::b\nOUTPUT test x ... ok\n",
        );

        let outcome = Outcome::read(&text, NONCE, kernel("5.10")).unwrap();

        assert_eq!(outcome.failed, wanted(&["a::b"]));
        assert_eq!(outcome.passed, wanted(&["a::c"]));
        assert_eq!(outcome.output, ["/run/output/a::b", "test x ... ok"]);
    }

    #[test]
    fn a_test_that_did_not_run_or_had_no_right_to_skip_is_complained_of() {
        let text =
            guest("test a::c ... ok\nSKIPPED a::c\tfeature 5.15\tthis kernel has no MPTCP\n");
        let outcome = Outcome::read(&text, NONCE, kernel("5.10")).unwrap();

        let complaints = outcome.complaints(
            &wanted(&["a::b", "a::c"]),
            &machine("6.12"),
            Mode::Tracepoint,
        );

        assert_eq!(
            complaints,
            [
                "a::c should have run here: this kernel has no MPTCP (feature 5.15)",
                "a::b did not run"
            ]
        );
    }

    #[test]
    fn a_guest_that_stopped_in_between_is_no_success() {
        let whole = guest("test a::b ... ok\n");
        let cut = whole.replace("END 1f", "");
        let other = whole.replace("BEGIN 1f", "BEGIN 2e");

        assert!(Outcome::read(&whole, NONCE, kernel("5.10")).is_ok());
        assert!(Outcome::read(&whole, NONCE, kernel("6.12")).is_err());
        for text in [cut, other, String::new()] {
            assert!(
                Outcome::read(&text, NONCE, kernel("5.10")).is_err(),
                "{text}"
            );
        }
    }
}
