//! What the limits of a report left out.

use super::super::LeftOut;

/// The list of it.
#[derive(Debug, Default)]
pub(super) struct LeftOuts(pub(super) Vec<LeftOut>);

impl LeftOuts {
    pub(super) fn add(&mut self, what: &str, count: u64, limit: usize) {
        if count > 0 {
            self.0.push(LeftOut {
                what: what.to_owned(),
                count,
                limit: limit as u64,
            });
        }
    }
}
