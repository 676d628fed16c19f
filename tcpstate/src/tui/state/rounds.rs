//! The restarts of a test, beside what is seen of them.

use crate::event::{RestartRound, RestartTest, SkippedWay, Way};

/// What came of a test until now, and what it is at.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounds {
    /// The rounds that are over. Its verdict counts once nothing is left.
    pub test: RestartTest,
    /// The round that goes on; `None`: all are over.
    pub current: Option<CurrentRound>,
    /// Rounds of each way.
    pub times: u32,
    /// How many ways there are.
    pub ways: usize,
}

/// A round that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentRound {
    /// How clients and server part.
    pub way: Way,
    /// Which of this way, from 1.
    pub number: u32,
}

/// A row of the panel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Entry<'a> {
    Round(&'a RestartRound),
    Skipped(&'a SkippedWay),
    Current(CurrentRound),
}

impl Rounds {
    /// All rows, the latest last.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::new();
        for way in Way::ALL {
            let rounds = self.test.rounds.iter().filter(|round| round.way == way);
            entries.extend(rounds.map(Entry::Round));
            let skipped = self.test.skipped.iter().filter(|it| it.way == way);
            entries.extend(skipped.map(Entry::Skipped));
        }
        entries.extend(self.current.map(Entry::Current));
        entries
    }

    /// Rows that there will be at most.
    pub(crate) fn planned(&self) -> usize {
        let times = usize::try_from(self.times).unwrap_or(usize::MAX);
        self.ways.saturating_mul(times)
    }
}
