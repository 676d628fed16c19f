//! How all kernels did.

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
    println!("\nkernel  mode        passed  failed  skipped  seconds");
    for row in rows {
        let Row {
            series,
            mode,
            seconds,
            ..
        } = row;
        match &row.outcome {
            Some(outcome) => println!(
                "{series:6}  {:10}  {:6}  {:6}  {:7}  {seconds:7}",
                mode.to_string(),
                outcome.passed.len(),
                outcome.failed.len(),
                outcome.skipped.len(),
            ),
            None => println!(
                "{series:6}  {:10}  no outcome                {seconds:7}",
                mode.to_string()
            ),
        }
    }
}
