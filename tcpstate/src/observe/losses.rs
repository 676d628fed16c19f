//! Events that the kernel program could not write: reported within a second,
//! and made up for by a snapshot.

use anyhow::Result;

use super::Live;
use crate::clock;
use crate::event::{Body, Loss, LossStage, SeenHolder};

/// A snapshot that took this long is followed by ten times as long without
/// one: while events are lost all the time, keys are still answered.
const REST_FACTOR: u64 = 10;
/// Between two counts that failed calls ask for: each reads a file for every program.
const COUNT_AGAIN_NS: u64 = 10_000_000;

/// What was lost so far.
#[derive(Debug, Default)]
pub(in crate::commands) struct Losses {
    reported: u64,
    counted_ns: u64,
    asked_ns: u64,
    is_table_doubtful: bool,
    rest_until_ns: u64,
}

impl Losses {
    pub(super) fn is_due(&mut self, now_ns: u64, every_ns: u64) -> bool {
        is_time(&mut self.counted_ns, now_ns, every_ns)
    }

    fn may_be_asked(&mut self, now_ns: u64) -> bool {
        is_time(&mut self.asked_ns, now_ns, COUNT_AGAIN_NS)
    }
}

/// Whether so much time has gone by since the last time, which is now then.
fn is_time(last_ns: &mut u64, now_ns: u64, every_ns: u64) -> bool {
    let is_time = now_ns.saturating_sub(*last_ns) >= every_ns;
    if is_time {
        *last_ns = now_ns;
    }
    is_time
}

impl Live {
    /// Reads the kernel program's counters; after a loss, puts the table right
    /// as soon as that is affordable.
    pub(super) fn count_losses(&mut self, now_ns: u64) -> Result<()> {
        self.report_losses(now_ns)?;
        if self.losses.is_table_doubtful && now_ns >= self.losses.rest_until_ns {
            self.put_table_right(now_ns)?;
        }
        Ok(())
    }

    /// Reads the counters before a failed call is explained of whose holders history alone
    /// can say whose they were: with an event lost it may say nothing, or something wrong.
    pub(super) fn count_losses_before(&mut self, mono_ns: u64, body: &Body) -> Result<()> {
        if leans_on_history(body) && self.losses.may_be_asked(clock::monotonic_ns()) {
            self.report_losses(mono_ns)?;
        }
        Ok(())
    }

    /// The same at the end of the run, when there is no later.
    pub(super) fn settle_losses(&mut self, now_ns: u64) -> Result<()> {
        self.report_losses(now_ns)?;
        if self.losses.is_table_doubtful {
            self.put_table_right(now_ns)?;
        }
        Ok(())
    }

    fn report_losses(&mut self, now_ns: u64) -> Result<()> {
        let lost = self.observer.lost()?;
        let count = lost.saturating_sub(self.losses.reported);
        if count > 0 {
            self.losses.reported = lost;
            self.losses.is_table_doubtful = true;
            self.pipeline.feed(
                now_ns,
                Body::Loss(Loss {
                    stage: LossStage::Kernel,
                    count,
                    resynced: false,
                }),
            )?;
        }
        Ok(())
    }

    fn put_table_right(&mut self, began_ns: u64) -> Result<()> {
        let is_right = self.resync()?;
        let now_ns = clock::monotonic_ns();
        self.losses.rest_until_ns = now_ns + (now_ns - began_ns) * REST_FACTOR;
        if is_right {
            self.losses.is_table_doubtful = false;
            self.pipeline.feed(
                now_ns,
                Body::Loss(Loss {
                    stage: LossStage::Kernel,
                    count: 0,
                    resynced: true,
                }),
            )?;
        }
        Ok(())
    }
}

/// Whether it is a failed call with a holder that no process was found to have open.
fn leans_on_history(body: &Body) -> bool {
    let (Body::Bind(call) | Body::Listen(call) | Body::Connect(call)) = body else {
        return false;
    };
    let is_nobodys = |holder: &SeenHolder| holder.processes.as_ref().is_none_or(Vec::is_empty);
    !call.ok
        && call
            .seen
            .iter()
            .flat_map(|seen| &seen.holders)
            .any(is_nobodys)
}
