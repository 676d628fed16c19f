//! What a guest said about its tests, and whether that is all that it should
//! have said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};

use super::kernels::Kernel;

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

/// Tests that a guest cannot run.
pub(super) struct NotHere {
    /// How their names begin.
    pub(super) test: &'static str,
    /// Only on kernels before this one.
    before: Option<(u32, u32)>,
    pub(super) why: &'static str,
}

const NOT_HERE: &[NotHere] = &[
    NotHere {
        test: "load::",
        before: None,
        why: "measures cost and loss, which emulation decides",
    },
    NotHere {
        test: "mirror::cost::",
        before: None,
        why: "measures cost, which emulation decides",
    },
    NotHere {
        test: "mirror::starved::",
        before: None,
        why: "fills the buffer at full speed, and more TIME_WAITs than a small machine keeps",
    },
    NotHere {
        test: "other_tools::",
        before: None,
        why: "jq and the like read what the program wrote, where no kernel has a part",
    },
    NotHere {
        test: "advice::systemd::",
        before: None,
        why: "systemd manages services, where no kernel has a part, and is not in the guest",
    },
    NotHere {
        test: "advice::table::",
        before: None,
        why: "looks at processes with procps, in whose place the guest's shell runs its own ps",
    },
    NotHere {
        test: "mirror::churning::",
        before: Some((5, 12)),
        why: "compares sockets by their cookies, which hooks are given since Linux 5.12",
    },
    NotHere {
        test: "traces::connections_end_the_ways_that_are_recorded",
        before: Some((6, 10)),
        why: "Linux 6.10 began to tell of an RST that no open socket sends, which is in the first \
              of its ways",
    },
    NotHere {
        test: "resets::a_reset_after_silence_has_its_reason",
        before: Some((6, 10)),
        why: "Linux 6.10 began to say why it sends an RST",
    },
    NotHere {
        test: "explain::so_reuseaddr_of_a_time_wait_is_read_and_decides",
        before: Some((6, 0)),
        why: "destroys a TIME_WAIT to begin anew, which Linux 6.0 brought",
    },
    NotHere {
        test: "time_wait::a_time_wait_that_is_destroyed_is_missed",
        before: Some((6, 0)),
        why: "destroys a TIME_WAIT, which Linux 6.0 brought",
    },
    NotHere {
        test: "transitions::a_time_wait_that_is_destroyed_is_seen_to_end_before_its_time",
        before: Some((6, 0)),
        why: "destroys a TIME_WAIT, which Linux 6.0 brought",
    },
    NotHere {
        test: "explain::a_namespace_is_named_by_path_and_the_fix_runs_in_it",
        before: Some((6, 0)),
        why: "its fix destroys a TIME_WAIT, which Linux 6.0 brought",
    },
    NotHere {
        test: "causes::time_wait::a_busy_servers_time_waits_are_counted_and_the_odd_one_is_found",
        before: Some((6, 8)),
        why: "Linux 6.8 began to list sockets that are bound only; before, \
              nothing says when a port with more sockets than the walk takes is free",
    },
    NotHere {
        test: "causes::fixes::a_connection_in_the_way_of_another_is_destroyed_alone",
        before: Some((6, 0)),
        why: "destroys a TIME_WAIT, which Linux 6.0 brought",
    },
    NotHere {
        test: "causes::fixes::destroying_frees_the_port_whatever_state_holds_it",
        before: Some((6, 0)),
        why: "destroys a TIME_WAIT, which Linux 6.0 brought",
    },
    NotHere {
        test: "causes::time_wait::so_reuseaddr_that_the_holder_cleared_after_its_bind",
        before: Some((6, 12)),
        why: "5.10 and 6.1 let that bind in: they go by the bucket's memory of the option",
    },
    NotHere {
        test: "explain::without_privilege_",
        before: Some((6, 8)),
        why: "Linux 6.8 began to list sockets that are bound only; before, the answer is \"unknown\"",
    },
    NotHere {
        test: "explain::a_port_with_more_sockets_than_the_walk_takes_is_answered_all_the_same",
        before: Some((6, 8)),
        why: "Linux 6.8 began to list sockets that are bound only; before, the answer is \"unknown\"",
    },
];

/// The tests that a guest with this kernel cannot run.
pub(super) fn not_here(kernel: &Kernel) -> impl Iterator<Item = &'static NotHere> {
    NOT_HERE
        .iter()
        .filter(|not| not.before.is_none_or(|series| kernel.is_before(series)))
}

/// What a test may give as its reason not to run.
struct MaySkip {
    /// How the reason begins.
    why: &'static str,
    /// Only on kernels before this one.
    before: Option<(u32, u32)>,
}

const MAY_SKIP: &[MaySkip] = &[
    MaySkip {
        why: "tmux is not installed",
        before: None,
    },
    MaySkip {
        why: "nginx is not installed",
        before: None,
    },
    MaySkip {
        why: "this machine has one processor",
        before: None,
    },
    MaySkip {
        why: "this kernel has no MPTCP",
        before: Some((5, 15)),
    },
    MaySkip {
        why: "this kernel opens no socket of its own for an MPTCP endpoint",
        before: Some((6, 1)),
    },
    MaySkip {
        why: "this kernel does not bind through io_uring",
        before: Some((6, 11)),
    },
];

/// How the tests of one guest came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// In which mode the program works there, by its own `doctor`.
    pub(super) mode: String,
    pub(super) passed: BTreeSet<String>,
    pub(super) failed: BTreeSet<String>,
    /// Test and reason.
    pub(super) skipped: BTreeMap<String, String>,
    /// What tests have counted and measured.
    pub(super) told: Vec<String>,
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
        let mut status = None;
        let mut begun = None;
        for line in lines {
            if let Some(skip) = line.strip_prefix("SKIPPED ") {
                let (test, why) = skip.split_once(": ").unwrap_or((skip, ""));
                outcome.skipped.insert(test.to_owned(), why.to_owned());
            } else if let Some(told) = line.strip_prefix("TOLD ") {
                outcome.told.push(told.to_owned());
            } else if let Some(text) = line.strip_prefix("STATUS ") {
                status = Some(text);
            } else if let Some(mode) = line
                .strip_suffix(" mode.")
                .and_then(|line| line.rsplit_once("works here, in "))
            {
                mode.1.clone_into(&mut outcome.mode);
            } else {
                let (test, result) = match (line.strip_prefix("test "), begun) {
                    (Some(line), before) if line.contains(" ...") => {
                        if let Some(test) = before {
                            bail!("{test} has no result");
                        }
                        line.split_once(" ...").unwrap_or_default()
                    }
                    (_, Some(test)) => (test, line),
                    (_, None) => continue,
                };
                // Where one test runs at a time, what it prints comes before its result.
                begun = None;
                match result.trim_start() {
                    "ok" => outcome.passed.insert(test.to_owned()),
                    "FAILED" => outcome.failed.insert(test.to_owned()),
                    _ => {
                        begun = Some(test);
                        true
                    }
                };
            }
        }
        if let Some(test) = begun {
            bail!("{test} has no result");
        }
        let status = status.context("the guest did not say how the tests ended")?;
        ensure!(
            (status == "0") == outcome.failed.is_empty(),
            "the test program ended with {status}, and {} tests failed",
            outcome.failed.len()
        );
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
        kernel: &Kernel,
        mode: Mode,
    ) -> Vec<String> {
        let mut complaints: Vec<String> = self
            .failed
            .iter()
            .map(|test| format!("{test} failed"))
            .collect();
        for (test, why) in &self.skipped {
            if !may_skip(why, kernel) {
                complaints.push(format!("{test} should have run here: {why}"));
            }
        }
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

fn may_skip(why: &str, kernel: &Kernel) -> bool {
    MAY_SKIP.iter().any(|may| {
        why.starts_with(may.why) && may.before.is_none_or(|series| kernel.is_before(series))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::kernels::KERNELS;

    const NONCE: &str = "1f";

    fn kernel(series: &str) -> &'static Kernel {
        KERNELS
            .iter()
            .find(|kernel| kernel.series == series)
            .unwrap()
    }

    fn guest(status: &str, lines: &str) -> String {
        format!(
            "BEGIN 1f 5.10.0-46-cloud-amd64\r\n\
             `tcpstate watch` works here, in tracepoint mode.\r\n\
             {lines}STATUS {status}\r\nEND 1f\r\n"
        )
    }

    fn wanted(tests: &[&str]) -> BTreeSet<String> {
        tests.iter().map(|&test| test.to_owned()).collect()
    }

    #[test]
    fn all_that_should_run_and_passed_is_a_success() {
        let text = guest(
            "0",
            "test a::b ... ok\ntest a::c ... ok\nSKIPPED a::c: this kernel has no MPTCP\n",
        );

        let outcome = Outcome::read(&text, NONCE, kernel("5.10")).unwrap();

        assert_eq!(outcome.mode, "tracepoint");
        assert_eq!((outcome.passed.len(), outcome.skipped.len()), (1, 1));
        assert!(
            outcome
                .complaints(&wanted(&["a::b", "a::c"]), kernel("5.10"), Mode::Tracepoint)
                .is_empty()
        );
        assert_eq!(
            outcome.complaints(&wanted(&["a::b", "a::c"]), kernel("5.10"), Mode::Function),
            ["it works in tracepoint mode, not in function mode"]
        );
    }

    #[test]
    fn what_a_test_prints_may_come_before_its_result() {
        let text = guest(
            "101",
            "test a::b ... counted 3\nand 4\nok\ntest a::c ... \nFAILED\ntest a::d ... ok\n",
        );
        let outcome = Outcome::read(&text, NONCE, kernel("5.10")).unwrap();
        assert_eq!(outcome.passed, wanted(&["a::b", "a::d"]));
        assert_eq!(outcome.failed, wanted(&["a::c"]));

        for text in [
            "test a::b ... counted 3\n",
            "test a::b ... 3\ntest a::c ... ok\n",
        ] {
            let why = Outcome::read(&guest("0", text), NONCE, kernel("5.10")).unwrap_err();
            assert_eq!(why.to_string(), "a::b has no result");
        }
    }

    #[test]
    fn a_test_that_did_not_run_or_had_no_right_to_skip_is_complained_of() {
        let text = guest(
            "0",
            "test a::c ... ok\nSKIPPED a::c: this kernel has no MPTCP\n",
        );
        let outcome = Outcome::read(&text, NONCE, kernel("5.10")).unwrap();

        let complaints =
            outcome.complaints(&wanted(&["a::b", "a::c"]), kernel("6.12"), Mode::Tracepoint);

        assert_eq!(
            complaints,
            [
                "a::c should have run here: this kernel has no MPTCP",
                "a::b did not run"
            ]
        );
    }

    #[test]
    fn a_guest_that_stopped_in_between_is_no_success() {
        let whole = guest("0", "test a::b ... ok\n");
        let cut = whole.replace("END 1f", "");
        let other = whole.replace("BEGIN 1f", "BEGIN 2e");
        let silent = guest("101", "test a::b ... ok\n");

        assert!(Outcome::read(&whole, NONCE, kernel("5.10")).is_ok());
        assert!(Outcome::read(&whole, NONCE, kernel("6.12")).is_err());
        for text in [cut, other, silent, String::new()] {
            assert!(
                Outcome::read(&text, NONCE, kernel("5.10")).is_err(),
                "{text}"
            );
        }
    }
}
