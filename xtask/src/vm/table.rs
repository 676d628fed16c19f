//! How all kernels did.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::outcome::{Mode, Outcome};

/// How one kernel did in one mode.
pub(super) struct Row {
    pub(super) series: &'static str,
    pub(super) mode: Mode,
    /// None: the guest did not come to an end.
    pub(super) outcome: Option<Outcome>,
    pub(super) is_right: bool,
    pub(super) seconds: u64,
}

pub(super) fn print(rows: &[Row]) {
    println!("\nkernel      mode        passed  failed  skipped  seconds");
    for row in rows {
        let Row {
            series,
            mode,
            seconds,
            ..
        } = row;
        match &row.outcome {
            Some(outcome) => println!(
                "{series:10}  {:10}  {:6}  {:6}  {:7}  {seconds:7}",
                mode.to_string(),
                outcome.passed.len(),
                outcome.failed.len(),
                outcome.skipped.len(),
            ),
            None => println!(
                "{series:10}  {:10}  no outcome                {seconds:7}",
                mode.to_string()
            ),
        }
    }
}

/// Each test on each kernel in each mode.
pub(super) fn by_test(rows: &[Row]) -> String {
    let tests: BTreeSet<&String> = rows
        .iter()
        .filter_map(|row| row.outcome.as_ref())
        .flat_map(|outcome| {
            let ran = outcome.passed.iter().chain(&outcome.failed);
            ran.chain(outcome.skipped.keys())
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let _ = write!(text, "{:22}", format!("{} {}", row.series, row.mode));
    }
    text.push_str("test\n");
    for test in tests {
        for row in rows {
            let _ = write!(text, "{:22}", row.result(test));
        }
        text.push_str(test);
        text.push('\n');
    }
    text
}

impl Row {
    fn result(&self, test: &String) -> &'static str {
        match &self.outcome {
            None => "?",
            Some(outcome) if outcome.passed.contains(test) => "ok",
            Some(outcome) if outcome.failed.contains(test) => "FAILED",
            Some(outcome) if outcome.skipped.contains_key(test) => "skipped",
            Some(_) => "-",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_has_its_result_on_each_kernel() {
        let row = |series, passed: &[&str], failed: &[&str]| Row {
            series,
            mode: Mode::Function,
            outcome: Some(Outcome {
                passed: passed.iter().map(ToString::to_string).collect(),
                failed: failed.iter().map(ToString::to_string).collect(),
                ..Outcome::default()
            }),
            is_right: failed.is_empty(),
            seconds: 1,
        };
        let silent = Row {
            outcome: None,
            ..row("7.3", &[], &[])
        };

        let text = by_test(&[row("5.10", &["a"], &["b"]), row("6.1", &["b"], &[]), silent]);

        assert_eq!(
            text,
            "5.10 function         6.1 function          7.3 function          test\n\
             ok                    -                     ?                     a\n\
             FAILED                ok                    ?                     b\n"
        );
    }
}
