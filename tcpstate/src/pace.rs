//! Work that is done no more often than it costs.

/// How often work may be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Shortest pause, in nanoseconds.
    pub(crate) least_ns: u64,
    /// The pause is so many times the cost.
    pub(crate) factor: u64,
}

impl Limit {
    /// The pause after work of that cost, in nanoseconds.
    #[must_use]
    pub(crate) const fn pause_ns(self, cost_ns: u64) -> u64 {
        let by_cost_ns = cost_ns.saturating_mul(self.factor);
        if by_cost_ns > self.least_ns {
            by_cost_ns
        } else {
            self.least_ns
        }
    }
}

/// When work may be done again; at first at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    next_ns: u64,
}

impl Pace {
    /// Whether it may be done now.
    #[must_use]
    pub(crate) const fn is_due(self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    /// How long nothing may be done yet, in nanoseconds.
    #[must_use]
    pub(crate) const fn left_ns(self, now_ns: u64) -> u64 {
        self.next_ns.saturating_sub(now_ns)
    }

    /// Nothing is done for so long from then on.
    pub(crate) const fn pause(&mut self, from_ns: u64, pause_ns: u64) {
        self.next_ns = from_ns.saturating_add(pause_ns);
    }

    /// Whether it may be done now; if so, it is done, and not again before `every_ns` have
    /// passed.
    pub(crate) const fn take(&mut self, now_ns: u64, every_ns: u64) -> bool {
        let is_due = self.is_due(now_ns);
        if is_due {
            self.pause(now_ns, every_ns);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        least_ns: 100,
        factor: 20,
    };

    #[test]
    fn a_pause_is_the_longer_of_the_least_one_and_a_multiple_of_the_cost() {
        assert_eq!(
            [0, 5, 6].map(|cost_ns| LIMIT.pause_ns(cost_ns)),
            [100, 100, 120]
        );
        assert_eq!(LIMIT.pause_ns(u64::MAX), u64::MAX);
    }

    #[test]
    fn work_is_due_at_first_and_after_each_pause() {
        let mut pace = Pace::default();

        assert!(pace.take(0, 10));
        assert!(!pace.take(9, 10) && pace.take(10, 10));
        assert_eq!((pace.left_ns(12), pace.left_ns(30)), (8, 0));
        pace.pause(10, u64::MAX);
        assert!(!pace.is_due(u64::MAX - 1));
    }
}
