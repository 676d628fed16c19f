//! What came of the matrix.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::ask::Change;

/// Wrong cases that are printed in full.
const MAX_PRINTED: usize = 100;

/// Counts, and what was wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) cases: usize,
    pub(crate) calls: usize,
    pub(crate) refused: usize,
    /// `would_work` answers, and how many of them were `unknown`.
    pub(crate) would_work: (usize, usize),
    pub(crate) causes: BTreeMap<String, usize>,
    pub(crate) wrong: Vec<(String, Vec<String>)>,
}

impl Report {
    /// Counts what a diagnosis said.
    pub(crate) fn count(&mut self, diagnosis: &Value) {
        self.refused += 1;
        let cause = diagnosis["cause"].as_str().unwrap_or("?").to_owned();
        *self.causes.entry(cause).or_default() += 1;
        for change in Change::ALL {
            self.would_work.0 += 1;
            self.would_work.1 += usize::from(diagnosis["would_work"][change.name()] == "unknown");
        }
    }

    /// Panics where something was wrong.
    #[track_caller]
    pub(crate) fn verdict(&self) {
        assert!(self.wrong.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answers, unknown) = self.would_work;
        let share = if answers == 0 {
            0.0
        } else {
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            let share = unknown as f64 / answers as f64;
            share * 100.0
        };
        writeln!(
            f,
            "matrix: {} cases, {} calls, {} refused, {} wrong, {unknown} of {answers} would_work unknown ({share:.2} %)",
            self.cases,
            self.calls,
            self.refused,
            self.wrong.len(),
        )?;
        for (cause, count) in &self.causes {
            writeln!(f, "  {cause}: {count}")?;
        }
        for (name, complaints) in self.wrong.iter().take(MAX_PRINTED) {
            writeln!(f, "WRONG {name}")?;
            for complaint in complaints {
                writeln!(f, "    {complaint}")?;
            }
        }
        if self.wrong.len() > MAX_PRINTED {
            writeln!(f, "and {} more", self.wrong.len() - MAX_PRINTED)?;
        }
        Ok(())
    }
}
