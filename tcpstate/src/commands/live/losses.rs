//! Events that the kernel program could not write: reported within a second,
//! and made up for by a snapshot.

use anyhow::Result;

use super::Live;
use crate::clock;
use crate::event::{Body, Loss, LossStage};

/// What was lost so far.
#[derive(Debug, Default)]
pub(in crate::commands) struct Losses {
    reported: u64,
    counted_ns: u64,
}

impl Losses {
    pub(super) fn is_due(&mut self, now_ns: u64, every_ns: u64) -> bool {
        let is_due = now_ns.saturating_sub(self.counted_ns) >= every_ns;
        if is_due {
            self.counted_ns = now_ns;
        }
        is_due
    }
}

impl Live {
    /// Reads the kernel program's counters; after a loss, puts the table right.
    pub(super) fn count_losses(&mut self, now_ns: u64) -> Result<()> {
        let dropped = self.observer.counters()?.dropped;
        let count = dropped.saturating_sub(self.losses.reported);
        if count == 0 {
            return Ok(());
        }
        self.losses.reported = dropped;
        self.pipeline.feed(
            now_ns,
            Body::Loss(Loss {
                stage: LossStage::Kernel,
                count,
                resynced: false,
            }),
        )?;
        if self.resync()? {
            let loss = Loss {
                stage: LossStage::Kernel,
                count: 0,
                resynced: true,
            };
            self.pipeline
                .feed(clock::monotonic_ns(), Body::Loss(loss))?;
        }
        Ok(())
    }
}
