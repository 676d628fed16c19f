//! Events that the kernel program could not write: reported within a second,
//! and made up for by a snapshot.

use crate::event::{Body, Loss, LossStage, SeenHolder};
use crate::model::NS_PER_MS;
use crate::pace::{Limit, Pace};

/// How often the counters are read.
const COUNT_EVERY_NS: u64 = 250 * NS_PER_MS;
/// Between two counts that failed calls ask for: each reads a file for every program.
const COUNT_AGAIN_NS: u64 = 10 * NS_PER_MS;
/// A snapshot that took this long is followed by ten times as long without
/// one: while events are lost all the time, keys are still answered.
const RESYNC: Limit = Limit {
    least_ns: 0,
    factor: 10,
};

/// What was lost so far.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    reported: u64,
    is_table_doubtful: bool,
    counts: Pace,
    counts_of_calls: Pace,
    resyncs: Pace,
}

impl Losses {
    /// Whether the counters are to be read now.
    pub(crate) fn is_due(&mut self, now_ns: u64) -> bool {
        self.counts.take(now_ns, COUNT_EVERY_NS)
    }

    /// Whether they are to be read before that call is explained of whose holders history
    /// alone can say whose they were: with an event lost it may say nothing, or something
    /// wrong.
    pub(crate) fn is_due_before(&mut self, now_ns: u64, body: &Body) -> bool {
        leans_on_history(body) && self.counts_of_calls.take(now_ns, COUNT_AGAIN_NS)
    }

    /// What was lost since the last time, of so many in all.
    pub(crate) fn report(&mut self, lost: u64) -> Option<Body> {
        let count = lost.saturating_sub(self.reported);
        if count == 0 {
            return None;
        }
        self.reported = lost;
        self.is_table_doubtful = true;
        Some(loss(count, false))
    }

    /// Whether the table is to be put right.
    pub(crate) fn needs_resync(&self) -> bool {
        self.is_table_doubtful
    }

    /// Whether that is affordable now.
    pub(crate) fn may_resync(&self, now_ns: u64) -> bool {
        self.resyncs.is_due(now_ns)
    }

    /// The table was put right in that time, all of it or only a part.
    pub(crate) fn note_resync(
        &mut self,
        began_ns: u64,
        now_ns: u64,
        is_whole: bool,
    ) -> Option<Body> {
        let took_ns = now_ns.saturating_sub(began_ns);
        self.resyncs.pause(now_ns, RESYNC.pause_ns(took_ns));
        is_whole.then(|| {
            self.is_table_doubtful = false;
            loss(0, true)
        })
    }
}

fn loss(count: u64, resynced: bool) -> Body {
    Body::Loss(Loss {
        stage: LossStage::Kernel,
        count,
        resynced,
    })
}

/// Whether it is a failed call with a holder that no process was found to have open.
fn leans_on_history(body: &Body) -> bool {
    let (Body::Bind(call) | Body::Listen(call) | Body::Connect(call)) = body else {
        return false;
    };
    let is_unowned = |holder: &SeenHolder| holder.processes.as_ref().is_none_or(Vec::is_empty);
    !call.ok
        && call
            .seen
            .iter()
            .flat_map(|seen| &seen.holders)
            .any(is_unowned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = NS_PER_MS;

    #[test]
    fn what_was_lost_is_reported_once() {
        let mut losses = Losses::default();

        assert_eq!(losses.report(0), None);
        assert_eq!(losses.report(3), Some(loss(3, false)));
        assert_eq!(losses.report(3), None);
        assert_eq!(losses.report(4), Some(loss(1, false)));
    }

    #[test]
    fn a_resync_is_followed_by_ten_times_as_long_without_one() {
        let mut losses = Losses::default();
        assert!(!losses.needs_resync());
        losses.report(1);
        assert!(losses.needs_resync() && losses.may_resync(0));

        assert_eq!(losses.note_resync(0, 20 * MS, false), None);
        assert!(losses.needs_resync());
        assert!(!losses.may_resync(219 * MS) && losses.may_resync(220 * MS));

        assert_eq!(
            losses.note_resync(220 * MS, 221 * MS, true),
            Some(loss(0, true))
        );
        assert!(!losses.needs_resync());
    }

    #[test]
    fn the_counters_are_read_four_times_a_second() {
        let mut losses = Losses::default();
        let read = (0..1000).filter(|ms| losses.is_due(ms * MS));

        assert_eq!(read.count(), 4);
    }
}
