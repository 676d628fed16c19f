//! Tells of failed calls that the kernel program counted once they have come to rest.

use anyhow::Result;

use super::Live;
use crate::clock;
use crate::event::{Body, Loss, LossStage};

/// How often the counts are read.
const READ_EVERY_NS: u64 = 1_000_000_000;

/// When they were read last.
#[derive(Debug, Default)]
pub(super) struct Counted {
    read_ns: u64,
}

impl Live {
    /// Tells of calls that were counted and that no later one has carried; only when
    /// no record of one waits.
    pub(super) fn emit_counted(&mut self, now_ns: u64) -> Result<()> {
        if now_ns.saturating_sub(self.counted.read_ns) < READ_EVERY_NS {
            return Ok(());
        }
        self.counted.read_ns = now_ns;
        self.feed_counted(false)
    }

    /// The same at the end of the run, for all of them.
    pub(super) fn emit_all_counted(&mut self) -> Result<()> {
        self.feed_counted(true)
    }

    fn feed_counted(&mut self, is_end: bool) -> Result<()> {
        let mut counted = Vec::new();
        let now_ns = clock::monotonic_ns();
        self.observer.take_counted(now_ns, is_end, &mut counted);
        for mut body in counted {
            if let Body::Bind(call) | Body::Listen(call) | Body::Connect(call) = &mut body {
                super::holders::name_namespace(call);
            }
            self.pipeline.feed(now_ns, body)?;
        }
        Ok(())
    }

    /// Counts as lost what there was no time to take in at the end.
    pub(super) fn count_left(&mut self, is_cut_short: bool) -> Result<()> {
        let count = if is_cut_short {
            self.observer.left()?
        } else {
            0
        };
        if count > 0 {
            let loss = Loss {
                stage: LossStage::User,
                count,
                resynced: false,
            };
            self.pipeline
                .feed(clock::monotonic_ns(), Body::Loss(loss))?;
        }
        Ok(())
    }
}
