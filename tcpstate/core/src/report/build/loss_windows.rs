//! Stretches of a recording that losses make uncertain.

use super::super::head_tail::HeadTail;
use super::super::{Clock, LossWindow};
use super::failures::ListedFailure;
use crate::event::Loss;

/// Losses that are listed, half of them at each end.
pub(super) const MAX_LOSSES: usize = 128;

/// A stretch that losses make uncertain.
#[derive(Debug)]
struct Window {
    from_ns: u64,
    to_ns: Option<u64>,
    count: u64,
}

/// The stretches so far, and the one that no resync has ended yet.
#[derive(Debug)]
pub(super) struct LossWindows {
    closed: HeadTail<Window>,
    open: Option<Window>,
}

impl LossWindows {
    pub(super) fn new() -> Self {
        Self {
            closed: HeadTail::new(MAX_LOSSES / 2),
            open: None,
        }
    }

    pub(super) fn note(&mut self, at_ns: u64, loss: &Loss) {
        if loss.count > 0 || !loss.resynced {
            let window = self.open.get_or_insert(Window {
                from_ns: at_ns,
                to_ns: None,
                count: 0,
            });
            window.count = window.count.saturating_add(loss.count);
        }
        if loss.resynced
            && let Some(window) = self.open.take()
        {
            self.closed.push(Window {
                to_ns: Some(at_ns),
                ..window
            });
        }
    }

    /// Ends the last one with the recording; gives how many there is no room for.
    pub(super) fn end(&mut self) -> u64 {
        if let Some(window) = self.open.take() {
            self.closed.push(window);
        }
        self.closed.left_out()
    }

    /// All of them, each with the failed calls that are listed in it.
    pub(super) fn finish(self, failures: &[ListedFailure], clock: Clock) -> Vec<LossWindow> {
        let windows = self.closed.into_vec().into_iter();
        windows
            .map(|window| loss_window(&window, failures, clock))
            .collect()
    }
}

fn loss_window(window: &Window, failures: &[ListedFailure], clock: Clock) -> LossWindow {
    LossWindow {
        from: clock.at(window.from_ns),
        to: window.to_ns.map(|to_ns| clock.at(to_ns)),
        count: window.count,
        failures: failures
            .iter()
            .map(|listed| (listed.failure.mono_ns, listed.failure.seq))
            .filter(|(at_ns, _)| {
                *at_ns >= window.from_ns && window.to_ns.is_none_or(|to_ns| *at_ns <= to_ns)
            })
            .map(|(_, seq)| seq)
            .collect(),
    }
}
