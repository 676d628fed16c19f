//! When to poll the kernel for a mini-socket: nothing announces that an
//! orphan's FIN_WAIT_2 becomes TIME_WAIT, or that a TIME_WAIT ends.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use super::socket::SocketId;

const MS: u64 = 1_000_000;

/// After an orphan enters FIN_WAIT_2: the peer's FIN mostly follows within a
/// round trip, and waits at worst for `tcp_fin_timeout`.
const FIN_WAIT_2_FIRST_NS: u64 = 100 * MS;
/// Longest time between two polls of an orphan in FIN_WAIT_2.
const FIN_WAIT_2_LONGEST_NS: u64 = 1_000 * MS;
/// After a timer has run out: the kernel is up to two seconds late.
const OVERDUE_NS: u64 = 250 * MS;

/// Where hooks report a mini-socket's end: a poll this long after its time
/// makes up for an event that was lost.
const BEHIND_HOOKS_NS: u64 = 5_000 * MS;

/// The schedule of polls. It has no influence on what the engine concludes, only on
/// which facts come and when.
#[derive(Clone, Debug, Default)]
pub struct PollSchedule {
    due: BTreeSet<(u64, SocketId)>,
}

impl PollSchedule {
    /// When to poll a mini-socket next that entered its state at `since_ns`.
    pub(crate) fn next_poll_ns(
        is_time_wait: bool,
        since_ns: u64,
        expires_at_ns: Option<u64>,
        now_ns: u64,
    ) -> u64 {
        if is_time_wait {
            return match expires_at_ns {
                Some(at) if at > now_ns => at,
                _ => now_ns.saturating_add(OVERDUE_NS),
            };
        }
        let age_ns = now_ns.saturating_sub(since_ns);
        now_ns.saturating_add(age_ns.clamp(FIN_WAIT_2_FIRST_NS, FIN_WAIT_2_LONGEST_NS))
    }

    /// The same where hooks report what becomes of it.
    pub(crate) fn next_poll_behind_hooks_ns(expires_at_ns: Option<u64>, now_ns: u64) -> u64 {
        expires_at_ns
            .unwrap_or(0)
            .max(now_ns)
            .saturating_add(BEHIND_HOOKS_NS)
    }

    pub(crate) fn schedule(&mut self, at_ns: u64, id: SocketId) {
        self.due.insert((at_ns, id));
    }

    /// `None`: nothing is scheduled for it.
    pub(crate) fn cancel(&mut self, at_ns: Option<NonZeroU64>, id: SocketId) {
        if let Some(at_ns) = at_ns {
            self.due.remove(&(at_ns.get(), id));
        }
    }

    /// The next one whose time has come, with that time.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<(u64, SocketId)> {
        let first = *self.due.first()?;
        if first.0 > now_ns {
            return None;
        }
        self.due.remove(&first);
        Some(first)
    }

    /// When the next poll is due.
    #[must_use]
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }
}
